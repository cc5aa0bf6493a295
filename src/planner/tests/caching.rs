//! What is found in the cache, and what a miss is explained by.

use super::*;

const FILE: &str = "
    FROM debian AS build
    COPY src /src
    RUN make
    FROM alpine
    WORKDIR /app
    COPY --from=build /out /app
    RUN finish
";

#[test]
fn a_new_project_is_built_from_the_ground() {
    assert_eq!(
        project(FILE).verdicts(),
        [
            "build COPY src /src",
            "build RUN make",
            "build WORKDIR /app",
            "build COPY --from=build /out /app",
            "build RUN finish"
        ]
    );
}

#[test]
fn a_built_project_needs_nothing_but_its_last_stage() {
    assert_eq!(
        project(FILE).build().verdicts(),
        [
            "cached WORKDIR /app",
            "cached COPY --from=build /out /app",
            "cached RUN finish"
        ]
    );
}

#[test]
fn the_cache_is_not_asked_about_what_nobody_needs() {
    let project = project(FILE).build();
    *project.world.probed.lock().unwrap() = 0;
    let plan = project.plan();
    assert_eq!(*project.world.probed.lock().unwrap(), 3);
    let make = step(&plan.graph, "RUN make").id;
    assert!(!plan.step(make).is_needed());
}

#[test]
fn a_changed_source_file_leaves_what_follows_undetermined() {
    let project = project(FILE).build().file("src", "changed");
    assert_eq!(
        project.verdicts(),
        [
            "build COPY src /src",
            "undetermined RUN make",
            "cached WORKDIR /app",
            "undetermined COPY --from=build /out /app",
            "undetermined RUN finish"
        ]
    );
}

#[test]
fn a_changed_command_is_built_and_what_copies_from_it_waits() {
    let project = project(FILE).build().rewritten("RUN make", "RUN make -j2");
    assert_eq!(
        project.verdicts(),
        [
            "cached COPY src /src",
            "build RUN make -j2",
            "cached WORKDIR /app",
            "undetermined COPY --from=build /out /app",
            "undetermined RUN finish"
        ]
    );
}

#[test]
fn a_base_with_other_labels_but_the_same_layers_keeps_everything() {
    let base = |label: &str| {
        let label = label.to_owned();
        move |config: &mut ImageConfig| {
            config.config.labels.insert("v".to_owned(), label);
        }
    };
    let project = project("FROM base\nRUN x\n")
        .image("base", base("1"))
        .build();
    assert_eq!(
        project.image("base", base("2")).verdicts(),
        ["cached RUN x"]
    );
}

#[test]
fn a_run_on_known_layers_hits_by_content() {
    let project = project("FROM debian\nRUN one\nRUN two\n").build();
    // Only the content key of the second RUN is known: its definition stood on something else.
    let plan = project.plan();
    let (one, two) = (&plan.steps[1], step(&plan.graph, "RUN two"));
    let Verdict::Cached(below) = &one.verdict else {
        panic!()
    };
    let Op::Run(run) = &two.op else { panic!() };
    let chain = [plan.graph.steps[0].clone(), plan.graph.steps[1].clone()];
    let Op::Image(image) = &chain[0].op else {
        panic!()
    };
    let chain = [image.layers[0].diff_id, below.diff_id];
    let material = key::run_content(two, run, &chain, &key::Selections::default());
    let content = record(two, material, DiffId(Digest::of(b"two")));
    let definition = plan.steps[2].key;
    project.world.records.lock().unwrap().remove(&definition);
    assert_eq!(project.verdicts(), ["cached RUN one", "build RUN two"]);
    project.world.put(key::operation(&two.op).key(), content);
    assert_eq!(project.verdicts(), ["cached RUN one", "cached RUN two"]);
}

#[test]
fn no_cache_builds_all_and_a_filter_builds_its_stage() {
    let all = project(FILE).build().no_cache(NoCache::All);
    assert!(
        all.verdicts()
            .iter()
            .all(|verdict| verdict.starts_with("build"))
    );
    let filtered = project(FILE)
        .build()
        .no_cache(NoCache::Stages(vec!["BUILD".to_owned()]));
    assert_eq!(
        filtered.verdicts(),
        [
            "build COPY src /src",
            "build RUN make",
            "cached WORKDIR /app",
            "undetermined COPY --from=build /out /app",
            "undetermined RUN finish"
        ]
    );
}

#[test]
fn a_linked_copy_hits_on_a_base_that_is_built_anew() {
    let file = "FROM debian\nRUN one\nCOPY --link a /\n";
    let project = project(file).build().rewritten("RUN one", "RUN other");
    assert_eq!(
        project.verdicts(),
        ["build RUN other", "cached COPY --link a /"]
    );
}

#[test]
fn a_linked_copy_does_not_care_whether_its_base_is_fresh() {
    let file = "FROM debian AS base\nRUN one\nFROM base\nCOPY --link a /\n";
    let project = project(file)
        .build()
        .no_cache(NoCache::Stages(vec!["base".to_owned()]));
    assert_eq!(
        project.verdicts(),
        ["build RUN one", "cached COPY --link a /"]
    );
}

#[test]
fn misses_are_explained_by_what_changed() {
    let file = "
        FROM debian
        ARG V=1
        ENV KEEP=x
        COPY src /src
        RUN --network=none make
    ";
    for (from, to, expected) in [
        (
            "ENV KEEP=x",
            "ENV KEEP=y",
            "variable KEEP changed from \"x\" to \"y\"",
        ),
        ("V=1", "V=2", "variable V changed from \"1\" to \"2\""),
        (
            "ENV KEEP=x",
            "ENV KEEP=x NEW=z",
            "variable NEW is new: \"z\"",
        ),
        ("ARG V=1\n", "", "variable V is no longer set"),
        (
            "--network=none ",
            "",
            "its network changed from \"none\" to the default",
        ),
        (
            "ENV KEEP=x",
            "ENV KEEP=x\nUSER app",
            "its user changed from the default to \"app\"",
        ),
        (
            "RUN --network=none make",
            "RUN other",
            "this command was never run before",
        ),
        (
            "FROM debian",
            "FROM alpine",
            "the layers of the base image changed",
        ),
    ] {
        let project = project(file).build().rewritten(from, to);
        assert_eq!(project.reasons()[0], expected, "{to}");
    }
}

#[test]
fn misses_below_are_named() {
    let project = project(FILE).build().file("src", "changed");
    assert_eq!(
        project.reasons(),
        [
            "the files that it takes changed",
            "it stands on `[build 2/3] COPY src /src`, which is built anew",
            "what it copies from changed: `[build 3/3] RUN make`",
            "it stands on `[stage-1 3/4] COPY --from=build /out /app`, which is built anew"
        ]
    );
    let project = self::project(FILE).build().no_cache(NoCache::All);
    assert_eq!(set(project.reasons()), set(["caching is off for it"]));
    let project = self::project("FROM debian\nRUN x\n").build();
    project.world.forget_layers();
    assert_eq!(
        project.reasons(),
        ["its earlier result is no longer in the cache"]
    );
}

#[test]
fn inline_files_do_not_open_the_context() {
    let project = project("FROM debian\nCOPY <<missing /\nx\nmissing\n");
    assert_eq!(project.verdicts(), ["build COPY <<missing /"]);
}

#[test]
fn plans_print_in_four_forms() {
    let project = project(FILE)
        .build()
        .rewritten("RUN finish", "RUN echo \"<a|b>\"");
    let plan = project.plan();
    let source = SourceFile::new("Dockerfile", project.dockerfile.as_str());
    let reasons = explain(&plan, &project.world);
    insta::assert_snapshot!("text", plan.text(&reasons));
    insta::assert_snapshot!("dot", plan.dot());
    insta::assert_snapshot!("mermaid", plan.mermaid());
    let json = plan.json(&source, &reasons);
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&json).unwrap());
}
