//! Mistakes in Dockerfiles, told in BuildKit's words.

use super::*;
use std::sync::Arc;

/// Files and the beginning of what is said about them.
const MISTAKES: &[(&str, &str)] = &[
    (
        "FROM ${X}",
        "Dockerfile:1: base name (${X}) should not be blank",
    ),
    (
        "FROM --platform=$X debian",
        "Dockerfile:1: empty platform value from expression $X",
    ),
    (
        "FROM --platform=a/b/c/d debian",
        "Dockerfile:1: failed to parse platform a/b/c/d: invalid platform",
    ),
    (
        "FROM Debian",
        "Dockerfile:1: failed to parse stage name \"Debian\": invalid reference format: repository name",
    ),
    (
        "FROM debian\nCOPY --from=3 a b",
        "Dockerfile:2: invalid stage index 3",
    ),
    ("FROM debian\nCOPY --from=$X a b", "Dockerfile:2: "),
    (
        "FROM debian AS a\nCOPY --from=a x y",
        "Dockerfile:2: circular dependency detected on stage: a",
    ),
    (
        "FROM debian AS a\nCOPY --from=b x y\nFROM debian AS b\nCOPY --from=a x y",
        "Dockerfile:4: circular dependency detected on stage: a",
    ),
    (
        "FROM debian\nEXPOSE 99999",
        "Dockerfile:2: invalid containerPort: 99999",
    ),
    (
        "FROM debian\nSTOPSIGNAL SIGNOPE",
        "Dockerfile:2: invalid signal: SIGNOPE",
    ),
    (
        "FROM debian\nVOLUME [\"\"]",
        "Dockerfile:2: VOLUME specified can not be an empty string",
    ),
    (
        "FROM debian\nCOPY --chmod=999 a b",
        "Dockerfile:2: invalid chmod parameter: '999'. it should be octal string and between 0 and 07777",
    ),
    (
        "FROM debian\nCOPY https://h/x /",
        "Dockerfile:2: source can't be a URL for COPY (use ADD)",
    ),
    (
        "FROM debian\nCOPY git@h:x.git /",
        "Dockerfile:2: source can't be a git ref for COPY (use ADD)",
    ),
    (
        "FROM debian\nADD --checksum=sha256:0 https://h/x /",
        "Dockerfile:2: invalid checksum digest format",
    ),
    (
        "FROM debian\nADD --checksum=sha256:0 x /",
        "Dockerfile:2: checksum requires HTTP(S) or Git sources",
    ),
    (
        "FROM debian\nCOPY --link --chown=app a b",
        "Dockerfile:2: --chown=app with --link: invalid user index: -1",
    ),
    (
        "FROM debian\nRUN --mount=type=bind,target=/ x",
        "Dockerfile:2: invalid mount target \"/\"",
    ),
    (
        "FROM debian\nRUN x\nENV A=${B:?needed}",
        "Dockerfile:3: failed to process",
    ),
    (
        "FROM missing",
        "failed to resolve image `missing` (Dockerfile:1): missing: not found",
    ),
    (
        "FROM debian AS build\nFROM missing-build",
        "failed to resolve image `missing-build` (Dockerfile:2): missing-build: not found",
    ),
];

#[test]
fn mistakes_are_told_in_buildkits_words_with_their_place() {
    for (file, expected) in MISTAKES {
        let error = project(file).error();
        assert!(error.starts_with(expected), "{file}\n{error}");
    }
}

#[test]
fn a_stage_must_come_before_its_users() {
    let file =
        "FROM debian AS a\nCOPY --from=b x y\nRUN --mount=from=b,target=/m x\nFROM debian AS b\n";
    assert_eq!(
        project(file).target("a").error(),
        "Dockerfile:2: cannot copy from stage \"b\", it needs to be defined before current stage \"a\"\n\
         Dockerfile:3: cannot mount from stage \"b\" to \"/m\", stage needs to be defined before current command"
    );
}

#[test]
fn all_findings_of_a_build_are_told_at_once() {
    let error = project("FROM debian\nEXPOSE x\nSTOPSIGNAL y\nRUN ok\n").error();
    assert_eq!(error.lines().count(), 2, "{error}");
}

#[test]
fn a_target_that_is_not_there_gets_a_suggestion() {
    let project = project("FROM debian AS release\n").target("relaese");
    assert_eq!(
        project.error(),
        "target stage \"relaese\" could not be found (did you mean `release`?)"
    );
    let numbered = self::project("FROM debian\n").target("0");
    assert_eq!(numbered.error(), "target stage \"0\" could not be found");
}

#[test]
fn what_is_not_supported_is_named() {
    for (file, expected) in [
        (
            "# syntax=example.com/other:1\nFROM debian",
            "syntax `example.com/other:1` is not supported",
        ),
        (
            "# syntax=example.com/mydocker/dockerfile:1\nFROM debian",
            "syntax `example.com/mydocker/dockerfile:1` is not supported",
        ),
        (
            "FROM debian\nRUN x",
            "named context `debian` has the value `target:x`",
        ),
    ] {
        let error = project(file).context("debian", "target:x").error();
        assert!(error.starts_with(expected), "{error}");
    }
    for ours in [
        "docker/dockerfile:1",
        "docker/dockerfile:1-labs",
        "docker/dockerfile-upstream:master",
        "mirror.gcr.io/docker/dockerfile:1",
        "public.ecr.aws/docker/dockerfile",
        "registry.corp:5000/proxy/docker/dockerfile-upstream:master",
        "docker.io/docker/dockerfile:1.7@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        project(&format!("# syntax={ours}\nFROM debian")).graph();
    }
    for (value, expected) in [
        (
            "context",
            "SOURCE_DATE_EPOCH=context asks for the time of a source",
        ),
        ("12x", "invalid SOURCE_DATE_EPOCH: 12x"),
        ("-5", "invalid SOURCE_DATE_EPOCH: -5"),
    ] {
        let error = project("FROM debian")
            .arg("SOURCE_DATE_EPOCH", value)
            .error();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn triggers_are_shown_where_they_are_wrong() {
    let error = project("FROM node\nRUN x\n")
        .image("node", |config| {
            config.config.on_build = vec!["EXPOSE 99999".to_owned()];
        })
        .error();
    assert_eq!(error, "ONBUILD of node:1: invalid containerPort: 99999");
}

#[test]
fn a_missing_file_of_the_context_is_told_with_its_step() {
    let project = project("FROM debian\nCOPY missing /\n");
    let source = Arc::new(SourceFile::new("Dockerfile", project.dockerfile.as_str()));
    let failure = plan(project.graph(), &source, &project.world, &project.world).unwrap_err();
    assert_eq!(told(&failure), "missing: not found");
    let Failure::Placed { source, span, .. } = failure else {
        panic!("no place")
    };
    assert_eq!(&source.text[span.start..span.end], "COPY missing /");
}

#[test]
fn texts_that_grow_without_bound_are_refused() {
    let doubling: String = (0..40).map(|_| "ENV A=$A$A\n").collect();
    let error = project(&format!("FROM debian\nENV A=1234567890\n{doubling}")).error();
    assert!(error.contains("is longer than"), "{error}");
    let big = format!("ENV A={}\nENV B={}\n", "x".repeat(60_000), "$A".repeat(16));
    let mut labels = String::new();
    let mut stages = String::new();
    for n in 0..80 {
        let _ = writeln!(labels, "LABEL l{n}=$B");
        let _ = writeln!(stages, "FROM s{n} AS s{}", n + 1);
    }
    for rest in [labels, stages] {
        let error = project(&format!("FROM debian AS s0\n{big}{rest}")).error();
        assert!(
            error.contains("expands to more than 64 MiB"),
            "{error:.200}"
        );
    }
}
