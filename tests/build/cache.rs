//! What is done once is not done again, and what changed is.

use super::base::Registry;
use super::common::{Project, User};

const TWO_STAGES: &str = "
    FROM busybox AS build
    ARG N
    RUN echo same > /x
    FROM scratch
    COPY --from=build /x /y
";

#[test]
fn a_second_build_runs_nothing_and_gives_the_same_digest() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.file("app.txt", "1").dockerfile(
        "
        FROM busybox
        WORKDIR /srv
        COPY app.txt .
        RUN cat app.txt > copy.txt
        ",
    );
    let first = project.build().tag("x").success();
    first
        .ran("RUN cat app.txt > copy.txt")
        .ran("COPY app.txt .")
        .ran("WORKDIR /srv");
    let second = project.build().tag("x").success();
    second.all_cached();
    assert_eq!(first.digest(), second.digest());
}

#[test]
fn a_changed_file_runs_what_is_above_it_and_nothing_below() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.file("app.txt", "1").dockerfile(
        "
        FROM busybox
        RUN echo below > /below
        COPY app.txt /
        RUN cat app.txt > /above
        ",
    );
    project.build().success();
    project.put("app.txt", "2");
    let outcome = project.build().success();
    outcome.cached("RUN echo below > /below");
    outcome
        .ran("COPY app.txt /")
        .ran("RUN cat app.txt > /above");
}

#[test]
fn touching_a_file_changes_nothing() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project
        .file("app.txt", "1")
        .dockerfile("FROM busybox\nCOPY app.txt /\n");
    let first = project.build().success();
    project.put("app.txt", "2");
    project.build().success().ran("COPY app.txt /");
    project.put("app.txt", "1");
    let third = project.build().success();
    third.all_cached();
    assert_eq!(first.digest(), third.digest());
}

#[test]
fn copy_from_a_rebuilt_stage_with_the_same_bytes_hits() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile(TWO_STAGES);
    let first = project.build().arg("N", "1").success();
    let second = project.build().arg("N", "2").success();
    second
        .ran("RUN echo same > /x")
        .cached("COPY --from=build /x /y");
    assert_eq!(first.digest(), second.digest());
}

#[test]
fn a_run_above_a_step_rebuilt_to_the_same_bytes_hits() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox
        ARG N
        RUN echo same > /x
        RUN cat /x > /y
        ",
    );
    project.build().arg("N", "1").success();
    let second = project.build().arg("N", "2").success();
    // N is in the environment of both, so both run; with the same N nothing does.
    second.ran("RUN echo same > /x");
    project.build().arg("N", "2").success().all_cached();
}

#[test]
fn no_cache_runs_everything_and_its_results_are_used_afterwards() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox
        RUN head -c 8 /dev/urandom | od -x > /random
        ",
    );
    let first = project.build().success();
    let second = project.build().flag("--no-cache").success();
    second.ran("RUN head -c 8 /dev/urandom | od -x > /random");
    assert_ne!(first.digest(), second.digest());
    let third = project.build().success();
    third.all_cached();
    assert_eq!(second.digest(), third.digest());
}

#[test]
fn no_cache_filter_runs_the_named_stage_only() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox AS one
        RUN echo 1 > /one
        FROM busybox AS two
        RUN echo 2 > /two
        FROM scratch
        COPY --from=one /one /
        COPY --from=two /two /
        ",
    );
    project.build().success();
    let outcome = project
        .build()
        .words(["--no-cache-filter", "two"])
        .success();
    // What only a cached COPY reads is not even looked at.
    outcome.never("RUN echo 1 > /one").ran("RUN echo 2 > /two");
}

#[test]
fn an_empty_store_with_a_shared_directory_runs_nothing() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let shared = project.path("shared");
    let project = project.file("a", "1").dockerfile(
        "
        FROM busybox
        COPY a /a
        RUN cat /a > /b
        ",
    );
    let to = format!("type=local,dest={}", shared.display());
    let first = project.build().words(["--cache-to", &to]).success();
    project.forget_store();
    let from = format!("type=local,src={}", shared.display());
    let second = project.build().words(["--cache-from", &from]).success();
    second.cached("RUN cat /a > /b").cached("COPY a /a");
    assert_eq!(first.digest(), second.digest());
}

#[test]
fn two_builders_at_once_run_each_step_once() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let counter = project.path("count");
    std::fs::create_dir(&counter).unwrap();
    let project = project.dockerfile(
        "
        FROM busybox
        RUN sleep 1; echo x > /x
        ",
    );
    let one = project.build().start();
    let two = project.build().start();
    let (one, two) = (one.finish(), two.finish());
    assert_eq!(one.digest(), two.digest());
    let ran = [&one, &two]
        .iter()
        .filter(|outcome| {
            outcome.step("RUN sleep 1; echo x > /x").end == super::common::StepEnd::Done
        })
        .count();
    assert_eq!(ran, 1, "exactly one of two builders runs the step");
}

/// Records are published side by side, and share the empty config
/// and often a layer; each blob has to be there before the first manifest that names it.
#[test]
fn an_empty_store_with_a_shared_repository_runs_and_fetches_nothing() {
    let registry = Registry::start();
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox AS one
        RUN echo same > /x
        FROM busybox AS two
        RUN echo same > /x && true
        FROM busybox AS three
        RUN echo same > /x && :
        FROM busybox AS four
        ENV A=1
        RUN echo same > /x
        FROM busybox
        COPY --from=one /x /1
        COPY --from=two /x /2
        COPY --from=three /x /3
        COPY --from=four /x /4
        RUN cat /1 /2 /3 /4 > /all
        ",
    );
    let cache = format!("type=registry,ref={}/cache", registry.host);
    let first = project.build().words(["--cache-to", &cache]).success();
    first.does_not_say("MANIFEST_BLOB_UNKNOWN");
    project.forget_store();
    let second = project.build().words(["--cache-from", &cache]).success();
    second.all_cached();
    assert_eq!(first.digest(), second.digest());
}

#[test]
fn a_user_with_a_warm_store_does_not_wait_for_himself() {
    let Some(user) = User::with_subuids() else {
        return;
    };
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.owned_by(user).file("a", "a");
    for text in ["one", "two"] {
        let text = format!("FROM busybox\nCOPY a /a\nRUN echo {text} > /b\n");
        project.put("Dockerfile", text);
        project.build().success();
    }
}
