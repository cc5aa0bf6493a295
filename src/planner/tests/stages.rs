//! Stages, targets, named contexts and triggers.

use super::*;

fn names(project: &Project) -> Vec<String> {
    let graph = project.graph();
    graph.steps.into_iter().map(|step| step.name).collect()
}

#[test]
fn only_stages_that_the_target_needs_are_planned() {
    let project = project(
        "
        FROM missing AS broken
        RUN never
        FROM debian AS tools
        RUN tools
        FROM scratch
        COPY --from=tools /x /x
        ",
    );
    assert_eq!(
        set(names(&project)
            .iter()
            .map(|name| name.split('@').next().unwrap())),
        set([
            "[tools 1/2] FROM docker.io/library/debian:latest",
            "[tools 2/2] RUN tools",
            "FROM scratch",
            "[stage-2 1/1] COPY --from=tools /x /x",
        ])
    );
    assert_eq!(project.asked(), ["debian linux/amd64"]);
}

#[test]
fn a_single_stage_is_not_named_and_numbers_are_aligned() {
    let mut runs = String::new();
    for n in 0..10 {
        let _ = writeln!(runs, "RUN echo {n}");
    }
    let project = project(&format!("FROM debian AS base\n{runs}WORKDIR /\n"));
    let names = names(&project);
    assert!(
        names[0].starts_with("[ 1/12] FROM docker.io/library/debian"),
        "{names:?}"
    );
    assert_eq!(names[10], "[11/12] RUN echo 9");
}

#[test]
fn targets_are_found_in_any_case_and_the_last_of_equal_names_wins() {
    let file = "
        FROM debian AS Build
        RUN one
        FROM debian AS build
        RUN two
        FROM debian
        RUN three
    ";
    for (target, text) in [(Some("BUILD"), "RUN two"), (None, "RUN three")] {
        let mut project = project(file);
        project.target = target.map(str::to_owned);
        let graph = project.graph();
        assert_eq!(text_of(graph.step(graph.targets[0].step)), text);
    }
}

#[test]
fn from_looks_names_up_as_written_but_copy_in_any_case() {
    let project = project(
        "
        FROM debian AS build
        RUN make
        FROM build AS child
        RUN more
        FROM scratch
        COPY --from=BUILD /a /
        COPY --from=1 /b /
        ",
    );
    let graph = project.graph();
    let copies: Vec<_> = graph
        .steps
        .iter()
        .filter(|step| text_of(step).starts_with("COPY"))
        .collect();
    assert_eq!(text_of(graph.step(copies[0].reads[0])), "RUN make");
    assert_eq!(text_of(graph.step(copies[1].reads[0])), "RUN more");
}

#[test]
fn a_later_stage_in_from_is_an_image() {
    let project = project("FROM later AS a\nFROM debian AS later\n").target("a");
    project.graph();
    assert_eq!(project.asked(), ["later linux/amd64"]);
}

#[test]
fn images_are_asked_for_once() {
    let project = project(
        "
        FROM debian AS a
        RUN a
        FROM debian
        COPY --from=debian /x /
        COPY --from=a /y /
        RUN --mount=from=debian,target=/m true
        ",
    );
    let graph = project.graph();
    assert_eq!(project.asked(), ["debian linux/amd64"]);
    let images = graph
        .steps
        .iter()
        .filter(|step| matches!(step.op, Op::Image(_)));
    assert_eq!(images.count(), 1);
}

#[test]
fn equal_stages_are_one() {
    let graph = project(
        "
        FROM debian AS a
        RUN same
        FROM debian AS b
        RUN same
        FROM scratch
        COPY --from=a /x /1
        COPY --from=b /x /2
        ",
    )
    .graph();
    let runs = graph
        .steps
        .iter()
        .filter(|step| matches!(step.op, Op::Run(_)));
    assert_eq!(runs.count(), 1);
}

#[test]
fn named_contexts_replace_images_stages_and_sources() {
    let project = project(
        "
        FROM debian:12 AS build
        RUN make
        FROM alpine
        COPY --from=build /a /
        COPY --from=assets /b /
        RUN --mount=from=debian:12,target=/m true
        ",
    )
    .context("build", "../built")
    .context("alpine", "docker-image://busybox:1")
    .context("assets", "./assets")
    .context("debian:12::linux/amd64", "oci-layout://layout:tag");
    let graph = project.graph();
    assert_eq!(
        set(project.asked()),
        set([
            "docker-image://busybox:1 linux/amd64",
            "oci-layout://layout:tag linux/amd64"
        ])
    );
    let Op::Copy(copy) = &step(&graph, "COPY --from=assets").op else {
        panic!("{graph:?}");
    };
    assert_eq!(
        copy.from,
        super::super::op::Source::Context("assets".to_owned())
    );
    assert!(
        !graph
            .steps
            .iter()
            .any(|step| step.name.contains("RUN make"))
    );
}

#[test]
fn a_context_of_files_can_be_a_base() {
    let graph = project("FROM files\nRUN ls\n")
        .context("files", "./dir")
        .graph();
    let names: Vec<_> = graph.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["FROM scratch", "[1/2] FROM files", "[2/2] RUN ls"]);
    assert_eq!(graph.targets[0].history.len(), 2);
}

#[test]
fn triggers_of_an_image_run_first_and_bring_their_stages() {
    let project = project(
        "
        FROM debian AS assets
        RUN assets
        FROM node AS app
        RUN app
        ",
    )
    .image("node", |config| {
        config.config.on_build = vec![
            "COPY --from=assets /a /a".to_owned(),
            "RUN npm install".to_owned(),
            "ENV A=b".to_owned(),
        ];
    });
    let graph = project.graph();
    let names: Vec<_> = graph
        .steps
        .iter()
        .map(|step| text_of(step).to_owned())
        .collect();
    assert!(names.contains(&"RUN assets".to_owned()), "{names:?}");
    assert_eq!(
        step(&graph, "ONBUILD COPY").name,
        "[app 2/5] ONBUILD COPY --from=assets /a /a"
    );
    let config = &graph.targets[0].config.config;
    assert!(config.on_build.is_empty());
    assert!(config.env.contains(&"A=b".to_owned()));
}

#[test]
fn triggers_of_a_stage_run_in_its_children_only() {
    let graph = project(
        "
        FROM debian AS base
        ONBUILD RUN trigger
        FROM base AS child
        RUN child
        FROM child
        RUN grandchild
        ",
    )
    .graph();
    let names: Vec<_> = graph
        .steps
        .iter()
        .skip(1)
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "[child 1/2] ONBUILD RUN trigger",
            "[child 2/2] RUN child",
            "[stage-2 1/1] RUN grandchild"
        ]
    );
}

#[test]
fn thousands_of_stages_need_no_deep_stack() {
    let mut file = "FROM scratch AS s0\n".to_owned();
    for n in 1..5000 {
        let _ = writeln!(file, "FROM s{} AS s{n}", n - 1);
    }
    assert_eq!(project(&file).graph().steps.len(), 1);
}
