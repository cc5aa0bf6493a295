//! The image config and history that instructions lead to.

use super::*;

#[test]
fn history_is_written_as_buildkit_writes_it() {
    for (line, expected) in [
        ("RUN echo  hi", "RUN /bin/sh -c echo  hi # buildkit"),
        ("RUN [\"a\", \"b c\"]", "RUN a b c # buildkit"),
        (
            "SHELL [\"/bin/bash\", \"-c\"]\nRUN x",
            "RUN /bin/bash -c x # buildkit",
        ),
        ("ARG A=1 B\nRUN x", "RUN |2 A=1 B= /bin/sh -c x # buildkit"),
        ("ARG A=1 B", "ARG A=1 B"),
        ("COPY a b /c/", "COPY a b /c/ # buildkit"),
        ("COPY --link --exclude=x a .", "COPY a . # buildkit"),
        (
            "ADD --chown=1:2 --chmod=644 a b",
            "ADD --chown=1:2 --chmod=644 a b # buildkit",
        ),
        (
            "COPY --parents a/./b /",
            "COPY --parents a/./b / # buildkit",
        ),
        ("COPY <<EOF a /d/\nx\nEOF", "COPY a <<EOF /d/ # buildkit"),
        ("ENV A=\"b c\" D=e", "ENV A=b c D=e"),
        ("LABEL a=b c=\"d e\"", "LABEL a=b c=d e"),
        ("CMD [\"a\", \"b\"]", "CMD [\"a\" \"b\"]"),
        ("CMD a \"b\"", "CMD [\"/bin/sh\" \"-c\" \"a \\\"b\\\"\"]"),
        ("ENTRYPOINT []", "ENTRYPOINT []"),
        ("WORKDIR a/../b", "WORKDIR /b"),
        ("WORKDIR /", "WORKDIR /"),
        (
            "EXPOSE 80 53/udp 8000-8001",
            "EXPOSE [53/udp 80/tcp 8000/tcp 8001/tcp]",
        ),
        ("VOLUME /a /b", "VOLUME [/a /b]"),
        ("USER app:app", "USER app:app"),
        ("STOPSIGNAL SIGINT", "STOPSIGNAL SIGINT"),
        ("SHELL [\"a\", \"b\"]", "SHELL [a b]"),
        ("MAINTAINER Me <me@x>", "MAINTAINER Me <me@x>"),
        (
            "HEALTHCHECK --interval=30s --retries=3 CMD curl x",
            "HEALTHCHECK &{[\"CMD-SHELL\" \"curl x\"] \"30s\" \"0s\" \"0s\" \"0s\" '\\x03'}",
        ),
        (
            "HEALTHCHECK NONE",
            "HEALTHCHECK &{[\"NONE\"] \"0s\" \"0s\" \"0s\" \"0s\" '\\x00'}",
        ),
        (
            "RUN <<EOF\necho a\necho b\nEOF",
            "RUN /bin/sh -c echo a\necho b\n # buildkit",
        ),
        (
            "RUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF",
            "RUN /bin/sh -c /dev/pipes/EOF # buildkit",
        ),
        (
            "RUN cat <<A 3<<B\na\nA\nb\nB",
            "RUN /bin/sh -c cat <<A 3<<B\na\nA\nb\nB # buildkit",
        ),
    ] {
        let history = project(&format!("FROM debian\n{line}\n")).history();
        assert_eq!(history.last().map(String::as_str), Some(expected), "{line}");
    }
}

#[test]
fn only_instructions_that_write_files_have_layers() {
    let graph = project(
        "
        FROM debian
        ENV A=b
        RUN x
        WORKDIR /w
        WORKDIR /
        COPY a /
        CMD x
        ONBUILD RUN y
        ",
    )
    .graph();
    let target = &graph.targets[0];
    let empty: Vec<bool> = target
        .history
        .iter()
        .map(|(entry, _)| entry.empty_layer)
        .collect();
    assert_eq!(empty, [true, false, false, true, false, true]);
    for (entry, made) in &target.history {
        assert_eq!(made.is_none(), entry.empty_layer);
        assert_eq!(entry.comment.as_deref(), Some("buildkit.dockerfile.v0"));
        assert_eq!(entry.created, target.config.created);
    }
    // The base's history stays in front.
    assert_eq!(target.base_history().len(), 1);
    assert_eq!(graph.chain(target.step).len(), 4);
    assert_eq!(target.config.history.len(), 7);
    assert_eq!(
        target.config.history[0].created_by.as_deref(),
        Some("ADD debian")
    );
}

#[test]
fn entrypoint_resets_an_inherited_cmd_only() {
    for (file, cmd) in [
        ("FROM base\nENTRYPOINT [\"e\"]", None),
        ("FROM base\nCMD [\"own\"]\nENTRYPOINT [\"e\"]", Some("own")),
        ("FROM base\nENTRYPOINT [\"e\"]\nCMD [\"own\"]", Some("own")),
        (
            "FROM base AS a\nCMD [\"own\"]\nFROM a\nENTRYPOINT [\"e\"]",
            None,
        ),
        ("FROM base", Some("inherited")),
        ("FROM base\nCMD []", None),
    ] {
        let project = project(file).image("base", |config| {
            config.config.cmd = Some(vec!["inherited".to_owned()]);
        });
        let found = project.graph().targets.remove(0).config.config.cmd;
        assert_eq!(found, cmd.map(|cmd| vec![cmd.to_owned()]), "{file}");
    }
}

#[test]
fn what_is_inherited_from_an_image() {
    let config = project("FROM base\nENV B=2 A=3\nLABEL y=2\n")
        .label("y", "command line")
        .image("base", |config| {
            config.author = Some("author".to_owned());
            config.os_version = Some("1.2".to_owned());
            let inner = &mut config.config;
            inner.env = vec!["A=1".to_owned(), "PATH=/p".to_owned()];
            inner.user = "app".to_owned();
            inner.working_dir = "/srv/".to_owned();
            inner.labels.insert("x".to_owned(), "1".to_owned());
            inner.stop_signal = Some("SIGINT".to_owned());
            inner.shell = Some(vec!["/bin/ash".to_owned(), "-c".to_owned()]);
            inner.extra.insert("StopTimeout".to_owned(), 5.into());
        })
        .config();
    insta::assert_snapshot!(serde_json::to_string_pretty(&config).unwrap());
}

#[test]
fn scratch_has_a_path_and_a_directory() {
    let config = project("FROM scratch\nCOPY a /\n").config();
    insta::assert_snapshot!(serde_json::to_string_pretty(&config).unwrap());
}

#[test]
fn a_workdir_is_owned_by_the_user_and_joined_to_the_former() {
    let graph = project("FROM debian\nUSER app\nWORKDIR a\nWORKDIR ../b/./c\n").graph();
    let found: Vec<_> = graph
        .steps
        .iter()
        .filter_map(|step| match &step.op {
            Op::Workdir(workdir) => Some((workdir.path.as_str(), workdir.user.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(found, [("/a", "app"), ("/b/c", "app")]);
}

#[test]
fn copies_know_where_they_go() {
    for (line, destination, directory) in [
        ("COPY a b", "/w/b", false),
        ("COPY a b/", "/w/b", true),
        ("COPY a .", "/w", true),
        ("COPY a \"\"", "/w", true),
        ("COPY a /x/..", "/", true),
        ("COPY a $D/c", "/d/c", false),
    ] {
        let graph = project(&format!("FROM debian\nENV D=/d\nWORKDIR /w\n{line}\n")).graph();
        let Op::Copy(copy) = &step(&graph, "COPY").op else {
            panic!()
        };
        let found = (copy.destination.as_str(), copy.destination_is_directory);
        assert_eq!(found, (destination, directory), "{line}");
    }
}

#[test]
fn link_means_nothing_beside_chmod() {
    for (flags, link) in [
        ("--link", true),
        ("--link --chmod=600", false),
        ("--link --chown=1", true),
    ] {
        let graph = project(&format!("FROM debian\nCOPY {flags} a /\n")).graph();
        let Op::Copy(copy) = &step(&graph, "COPY").op else {
            panic!()
        };
        assert_eq!(copy.link, link, "{flags}");
    }
}

#[test]
fn add_tells_archives_urls_and_repositories_apart() {
    let graph = project(
        "
        FROM debian
        ADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 https://h/f.tgz /a/
        ADD --keep-git-dir=true https://h/r.git#main /b
        ADD --unpack=false x.tar /c
        ADD --unpack https://h/g.tgz /d
        ",
    )
    .graph();
    let ops: Vec<_> = graph
        .steps
        .iter()
        .filter_map(|step| match &step.op {
            Op::Copy(copy) => Some(format!("{:?} {:?}", copy.unpack, copy.inputs)),
            _ => None,
        })
        .collect();
    insta::assert_snapshot!(ops.join("\n"));
}

#[test]
fn heredocs_are_files_and_expanded_unless_quoted() {
    let graph =
        project("FROM debian\nENV A=x\nCOPY <<one <<'two' /d/\n$A \"q\"\none\n$A\ntwo\n").graph();
    let Op::Copy(copy) = &step(&graph, "COPY").op else {
        panic!()
    };
    let files: Vec<_> = copy
        .inputs
        .iter()
        .map(|input| match input {
            CopyInput::Inline { name, data } => (name.as_str(), str::from_utf8(data).unwrap()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(files, [("one", "x \"q\"\n"), ("two", "$A\n")]);
}
