//! One Dockerfile for several platforms.

use super::*;

const CROSS: &str = "
    FROM --platform=$BUILDPLATFORM golang AS deps
    RUN go mod download
    FROM deps AS build
    ARG TARGETARCH
    RUN go build
    FROM debian
    COPY --from=build /app /app
    FROM scratch AS data
    COPY data /
";

#[test]
fn steps_that_do_not_depend_on_the_platform_are_shared() {
    let graph = project(CROSS)
        .target("stage-2")
        .platform("linux/amd64")
        .platform("linux/arm64")
        .try_graph();
    assert!(graph.is_err(), "unnamed stages cannot be targeted");
    let both = |target: &str| {
        let file = CROSS.replace("FROM debian\n", "FROM debian AS app\n");
        project(&file)
            .target(target)
            .platform("linux/amd64")
            .platform("linux/arm64")
            .graph()
    };
    let graph = both("app");
    let count = |text: &str| {
        graph
            .steps
            .iter()
            .filter(|step| step.name.contains(text))
            .count()
    };
    assert_eq!(count("go mod download"), 1);
    assert_eq!(count("go build"), 2);
    assert_eq!(count("COPY"), 2);
    assert_eq!(graph.targets.len(), 2);
    // A copy on nothing is the same for all.
    let graph = both("data");
    assert_eq!(graph.steps.len(), 2);
    assert_eq!(graph.targets[0].step, graph.targets[1].step);
    assert_eq!(graph.targets[1].config.architecture, "arm64");
}

#[test]
fn names_say_where_a_step_runs_and_for_what() {
    let file = CROSS.replace("FROM debian\n", "FROM debian AS app\n");
    let graph = project(&file)
        .target("app")
        .platform("linux/arm64")
        .platform("linux/arm/v7")
        .graph();
    let names = |text: &str| {
        let steps = graph.steps.iter().filter(|step| step.name.contains(text));
        steps.map(|step| step.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        names("download"),
        ["[linux/amd64 deps 2/2] RUN go mod download"]
    );
    assert_eq!(
        names("go build"),
        [
            "[linux/amd64->arm64 build 1/1] RUN go build",
            "[linux/amd64->arm/v7 build 1/1] RUN go build"
        ]
    );
}

#[test]
fn the_config_says_the_platform_asked_for_or_the_bases() {
    let file = "FROM --platform=linux/arm64 debian\nCOPY a /\n";
    let implicit = project(file).graph();
    assert_eq!(implicit.targets[0].platform.to_string(), "linux/arm64");
    let asked = project(file).platform("linux/amd64").graph();
    assert_eq!(asked.targets[0].platform.to_string(), "linux/amd64");
    assert_eq!(asked.targets[0].config.architecture, "amd64");
}

#[test]
fn checks_learn_what_needed_stages_stand_on() {
    let graph = project("FROM unused\nFROM odd AS a\nRUN x\nFROM a\n")
        .image("odd", |config| {
            config.architecture = "s390x".to_owned();
            config.config.env.push("A=b".to_owned());
        })
        .platform("linux/amd64")
        .graph();
    let [first, second] = graph.stages.values().collect::<Vec<_>>()[..] else {
        panic!("{:?}", graph.stages);
    };
    let base = first.as_ref().unwrap();
    assert_eq!(base.env, [("A".to_owned(), "b".to_owned())]);
    let (name, pulled, expected) = base.wrong_platform.as_ref().unwrap();
    let found = format!("{name} {pulled} {expected}");
    assert_eq!(found, "odd linux/s390x linux/amd64");
    assert_eq!(*second, None);
}

#[test]
fn windows_images_take_files_but_no_commands() {
    let windows = |lines: &str| {
        project(&format!("FROM nano\n{lines}\n"))
            .image("nano", |config| {
                config.os = "windows".to_owned();
                config.os_version = Some("10.0.20348".to_owned());
            })
            .platform("windows/amd64")
    };
    let error = windows("RUN dir").error();
    assert!(
        error.starts_with("Dockerfile:2: RUN for windows/amd64 is not supported"),
        "{error}"
    );
    let project = windows("WORKDIR C:\\app\nCOPY a b\nCMD x");
    let graph = project.graph();
    let Op::Copy(copy) = &step(&graph, "COPY").op else {
        panic!()
    };
    assert_eq!(copy.destination, "/app/b");
    let config = &graph.targets[0].config;
    assert_eq!(config.config.working_dir, "\\app");
    assert_eq!(config.os_version.as_deref(), Some("10.0.20348"));
    assert_eq!(config.config.cmd.as_ref().unwrap()[0], "cmd");
    assert!(config.config.env.is_empty());
}

#[test]
fn a_platform_may_say_the_version_of_its_system() {
    let file = "ARG TARGETOSVERSION\nFROM --platform=windows(10.0.1)/amd64 nano\n\
                ARG TARGETOSVERSION\nARG TARGETPLATFORM\nLABEL v=$TARGETOSVERSION,$TARGETPLATFORM\n";
    let os = |config: &mut ImageConfig| config.os = "windows".to_owned();
    let graph = project(file).image("nano", os).graph();
    assert_eq!(graph.targets[0].platform.to_string(), "windows/amd64");
    let graph = project(file)
        .image("nano", os)
        .platform("windows(10.0.2)/amd64")
        .graph();
    let config = &graph.targets[0].config;
    assert_eq!(config.os_version.as_deref(), Some("10.0.2"));
    let label = &config.config.labels["v"];
    assert_eq!(label, "10.0.2,windows(10.0.2)/amd64");
}
