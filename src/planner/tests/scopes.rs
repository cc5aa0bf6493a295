//! Which variables an instruction sees, and what time it is there.

use super::*;

/// The environment of the RUN that says `run`, without PATH and SOURCE_DATE_EPOCH.
fn env(project: &Project) -> String {
    let graph = project.graph();
    let Op::Run(run) = &step(&graph, "RUN run").op else {
        panic!("not a RUN");
    };
    let shown = run
        .env
        .iter()
        .filter(|variable| !["PATH", "SOURCE_DATE_EPOCH"].contains(&variable.name()));
    shown.map(Variable::line).collect::<Vec<_>>().join(" ")
}

#[test]
fn variables_are_seen_where_the_reference_says() {
    for (file, expected) in [
        ("ARG G=1\nFROM debian\nRUN run", ""),
        ("ARG G=1\nFROM debian\nARG G\nRUN run", "G=1"),
        ("ARG G=1\nFROM debian\nARG G=2\nRUN run", "G=2"),
        ("FROM debian\nARG A\nRUN run", ""),
        ("FROM debian\nARG A=\nRUN run", "A="),
        ("FROM debian\nARG X=d\nRUN run", "X=given"),
        ("ARG X=global\nFROM debian\nARG X\nRUN run", "X=given"),
        (
            "FROM debian\nARG A=1 B=$A C=$D D=4\nRUN run",
            "A=1 B=1 C= D=4",
        ),
        ("FROM debian\nENV A=1\nENV A=2 B=$A\nRUN run", "A=2 B=1"),
        ("FROM debian\nARG A=arg\nENV A=env\nRUN run", "A=env"),
        ("FROM debian\nENV A=env\nARG A=arg\nRUN run", "A=arg"),
        ("FROM debian AS a\nARG A=1\nFROM a\nRUN run", "A=1"),
        ("FROM debian\nRUN run\nARG A=1", ""),
        (
            "FROM debian\nARG TARGETARCH\nARG TARGETVARIANT\nRUN run",
            "TARGETARCH=amd64 TARGETVARIANT=",
        ),
        (
            "FROM debian AS app\nARG TARGETSTAGE\nRUN run",
            "TARGETSTAGE=app",
        ),
        (
            "FROM debian\nARG TARGETSTAGE\nRUN run",
            "TARGETSTAGE=default",
        ),
        (
            "FROM debian\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nRUN run",
            "",
        ),
        (
            "FROM debian\nENV A=\"a b\" \nENV C='$A' D=\"$A\"\nRUN run",
            "A=a b C=$A D=a b",
        ),
    ] {
        let project = project(file).arg("X", "given").arg("unused", "1");
        assert_eq!(env(&project), expected, "{file}");
    }
}

#[test]
fn from_sees_global_and_predefined_arguments() {
    let project = project(
        "
        ARG V=12
        ARG N=debian:${V}
        FROM --platform=$BUILDPLATFORM $N
        RUN run
        ",
    )
    .arg("V", "13");
    project.graph();
    assert_eq!(project.asked(), ["debian:13 linux/amd64"]);
}

#[test]
fn proxies_reach_the_command_but_neither_key_nor_history() {
    let plain = project("FROM debian\nRUN run");
    let proxied = project("FROM debian\nRUN run")
        .proxy("http_proxy", "p")
        .arg("NO_PROXY", "n");
    assert_eq!(plain.history(), proxied.history());
    let keys = |project: &Project| {
        project
            .plan()
            .steps
            .iter()
            .map(|step| step.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&plain), keys(&proxied));
    let graph = proxied.graph();
    let Op::Run(run) = &step(&graph, "RUN run").op else {
        panic!("not a RUN");
    };
    let names = run.proxies.iter().map(|(name, _)| name.as_str());
    assert_eq!(
        set(names),
        set(["http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"])
    );
    let declared = project("FROM debian\nARG HTTP_PROXY\nRUN run").arg("HTTP_PROXY", "p");
    assert_eq!(env(&declared), "HTTP_PROXY=p");
}

#[test]
fn the_epoch_comes_from_the_base_unless_it_is_fixed() {
    const BASE: i64 = 1_704_164_645;
    for (file, arg, policy, expected) in [
        ("FROM debian\nRUN run", None, None, BASE),
        ("FROM scratch\nCOPY a /\nRUN run", None, None, 0),
        (
            "FROM debian AS a\nFROM scratch\nCOPY --from=a /x /\nRUN run",
            None,
            None,
            BASE,
        ),
        ("FROM debian\nRUN run", Some("7"), Some(8), 7),
        (
            "ARG SOURCE_DATE_EPOCH=5\nFROM debian\nRUN run",
            None,
            Some(8),
            8,
        ),
        (
            "ARG SOURCE_DATE_EPOCH=5\nFROM debian\nRUN run",
            None,
            None,
            5,
        ),
        (
            "ARG SOURCE_DATE_EPOCH=5\nFROM debian\nRUN run",
            Some(""),
            None,
            BASE,
        ),
    ] {
        let mut project = project(file);
        if let Some(value) = arg {
            project = project.arg("SOURCE_DATE_EPOCH", value);
        }
        if let Some(policy) = policy {
            project = project.epoch(policy);
        }
        let graph = project.graph();
        let run = step(&graph, "RUN run");
        assert_eq!(run.epoch, Epoch(expected), "{file} {arg:?} {policy:?}");
        let Op::Run(op) = &run.op else { panic!() };
        let seen = op
            .env
            .iter()
            .find(|seen| seen.name() == "SOURCE_DATE_EPOCH");
        assert_eq!(seen.unwrap().value(), expected.to_string());
        let target = &graph.targets[0];
        assert_eq!(target.config.created, Some(Epoch(expected).rfc3339()));
        assert!(
            !target
                .config
                .config
                .env
                .iter()
                .any(|pair| pair.contains("EPOCH"))
        );
    }
}

#[test]
fn a_base_without_a_time_has_the_epoch_zero() {
    for created in [None, Some("0001-01-01T00:00:00Z"), Some("never")] {
        let graph = project("FROM base\nRUN run")
            .image("base", |config| config.created = created.map(str::to_owned))
            .graph();
        assert_eq!(graph.targets[0].epoch, Epoch(0), "{created:?}");
    }
}

#[test]
fn a_set_source_date_epoch_is_left_alone() {
    let graph = project("FROM debian\nENV SOURCE_DATE_EPOCH=3\nRUN run").graph();
    let Op::Run(run) = &step(&graph, "RUN run").op else {
        panic!()
    };
    let seen: Vec<_> = run
        .env
        .iter()
        .filter(|variable| variable.name() == "SOURCE_DATE_EPOCH")
        .collect();
    assert_eq!(seen, [&Variable::new("SOURCE_DATE_EPOCH", "3")]);
}
