//! Build checks, outlines and lists of targets, and source policies, from outside.

use serde_json::Value;

use super::common::{Outcome, Project};

const TWO_FINDINGS: &str = "
    FROM scratch as app
    WORKDIR rel
";

fn said(outcome: &Outcome, text: &str) -> usize {
    outcome.stderr.matches(text).count()
}

#[test]
fn a_build_tells_its_warnings_once_for_all_platforms() {
    let project = Project::new().dockerfile(TWO_FINDINGS);
    let casing = "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)";
    let run = project.build().flag("--platform=linux/amd64,linux/arm64");
    let outcome = run.success();
    outcome.says(" 2 warnings found (use --debug to expand):");
    assert_eq!(said(&outcome, casing), 1, "{outcome}");
    let again = project.build().success();
    again.says(casing).all_cached();
}

#[test]
fn warnings_are_told_also_if_the_build_fails() {
    let project = Project::new().dockerfile(
        "
        FROM scratch as app
        COPY missing /
        ",
    );
    let outcome = project.build().failure(1);
    outcome
        .says("FromAsCasing: ")
        .says("\"/missing\": not found");
    let nowhere = project.build().target("nowhere").failure(1);
    nowhere.says("FromAsCasing: ");
}

#[test]
fn stages_that_are_not_built_are_not_checked() {
    let project = Project::new().dockerfile(
        "
        FROM scratch AS other
        WORKDIR rel
        FROM scratch AS app
        COPY Dockerfile /
        ",
    );
    project
        .build()
        .success()
        .does_not_say("WorkdirRelativePath");
    let check = project.builder(["build", "--check", "context"]);
    check.failure(1).prints("WARNING: WorkdirRelativePath - ");
    let check = project.builder(["build", "--check", "--target=app", "context"]);
    check.success().prints("Check complete, no warnings found.");
}

#[test]
fn findings_fail_a_build_where_the_file_or_an_argument_says_so() {
    let project = Project::new().dockerfile(&format!("# check=error=true\n{}", dedent()));
    let message = "ERROR: failed to build: failed to solve: lint violation found for rules: \
                   FromAsCasing, WorkdirRelativePath";
    project.build().failure(1).says(message);
    let skip = "skip=FromAsCasing,WorkdirRelativePath";
    project
        .build()
        .arg("BUILDKIT_DOCKERFILE_CHECK", skip)
        .success();
    let wrong = project.build().arg("BUILDKIT_DOCKERFILE_CHECK", "loud=1");
    wrong.failure(1).says("invalid check option \"loud\"");
}

fn dedent() -> String {
    super::common::dedent(TWO_FINDINGS)
}

#[test]
fn a_check_prints_what_buildx_prints() {
    let project = Project::new().dockerfile(TWO_FINDINGS);
    let outcome = project.builder(["build", "--check", "context"]).failure(1);
    let page = "https://docs.docker.com/go/dockerfile/rule";
    let ruler = "--------------------";
    let expected = format!(
        "Check complete, 2 warnings have been found!\n\n\
         WARNING: FromAsCasing - {page}/from-as-casing/\n\
         'as' and 'FROM' keywords' casing do not match\n\
         Dockerfile:1\n{ruler}\n   1 | >>> FROM scratch as app\n   2 |     WORKDIR rel\n   3 |     \n{ruler}\n\n\
         WARNING: WorkdirRelativePath - {page}/workdir-relative-path/\n\
         Relative workdir \"rel\" can have unexpected results if the base image changes\n\
         Dockerfile:2\n{ruler}\n   1 |     FROM scratch as app\n   2 | >>> WORKDIR rel\n   3 |     \n{ruler}\n"
    );
    assert_eq!(outcome.stdout, expected, "{outcome}");
    outcome.does_not_say("warnings found");
    let ignored = ["build", "--call=check,ignorestatus=1", "context"];
    assert_eq!(project.builder(ignored).success().stdout, expected);
}

#[test]
fn a_check_marks_all_lines_of_an_instruction() {
    let project = Project::new().dockerfile(
        "
        FROM scratch
        COPY \\
            $nope \\
            /
        ",
    );
    let outcome = project.builder(["build", "--check", "context"]).failure(1);
    outcome.prints("Check complete, 1 warning has been found!");
    outcome
        .prints(">>> COPY \\\n")
        .prints(">>>     $nope \\\n")
        .prints(">>>     /\n");
}

#[test]
fn a_check_needs_no_image_and_builds_nothing() {
    let project = Project::new().dockerfile(
        "
        FROM registry.invalid/nothing:1 AS base
        ENV PATH=$PATH:/opt COPY=${FROM_BASE:?missing}
        RUN exit 1
        FROM base
        COPY --from=registry.invalid/other /x /x
        ",
    );
    let outcome = project.builder(["build", "--check", "context"]).success();
    assert_eq!(outcome.stdout, "Check complete, no warnings found.\n");
    outcome.never("RUN exit 1");
}

#[test]
fn a_check_knows_what_is_at_hand() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox
        COPY $PATHH /
        ",
    );
    let run = project.build().without("--progress=plain").flag("--check");
    run.failure(1)
        .prints("Usage of undefined variable '$PATHH' (did you mean $PATH?)");
}

#[test]
fn a_check_tells_what_makes_a_file_unfit() {
    for (dockerfile, message) in [
        ("FROM scratch\nCOPPY a b\n", "unknown instruction"),
        (
            "FROM a AS a\nFROM scratch\nCOPY --from=9 a b\n",
            "invalid stage index 9",
        ),
        ("FROM scratch\nEXPOSE many\n", "many"),
    ] {
        let project = Project::new().dockerfile(dockerfile);
        let outcome = project.builder(["build", "--call=check,ignorestatus=1", "context"]);
        outcome.failure(1).says("ERROR: ").says(message);
        let json = project.builder(["build", "--call=check,format=json", "context"]);
        let json = json.failure(1).json();
        let error = json["buildError"]["message"].as_str().unwrap();
        assert!(error.contains(message), "{json}");
    }
}

#[test]
fn findings_are_json_for_programs() {
    let project = Project::new().dockerfile(TWO_FINDINGS);
    let metadata = project.path("metadata.json");
    let flag = format!("--metadata-file={}", metadata.display());
    let run = project.builder(["build", &flag, "--call=check,format=json", "context"]);
    let json = run.failure(1).json();
    let first = &json["warnings"][0];
    assert_eq!(first["ruleName"], "FromAsCasing");
    assert_eq!(
        first["detail"],
        "'as' and 'FROM' keywords' casing do not match"
    );
    assert_eq!(first["location"]["ranges"][0]["start"]["line"], 1);
    assert_eq!(json["sources"][0]["filename"], "Dockerfile");
    assert_eq!(json["warnings"].as_array().unwrap().len(), 2);
    let told: Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    assert_eq!(told["result.json"], json);
}

#[test]
fn copies_of_ignored_files_are_found() {
    let project = Project::new()
        .file("secret.txt", "x")
        .file(".dockerignore", "*.txt\n")
        .dockerfile(
            "
            FROM scratch
            COPY secret.txt Dockerfile /
            COPY . /
            ",
        );
    let outcome = project.builder(["build", "--check", "context"]).failure(1);
    outcome.prints("Check complete, 1 warning has been found!");
    outcome.prints("Attempting to Copy file \"secret.txt\" that is excluded by .dockerignore");
}

#[test]
fn a_copy_of_all_where_nothing_is_left_is_found() {
    let project = Project::new().dockerfile("FROM scratch\nCOPY . /\n");
    let check = || project.builder(["build", "--check", "context"]);
    for rules in ["*\n", "**\n", "**/*\n"] {
        project.put(".dockerignore", rules);
        let outcome = check().failure(1);
        outcome.prints("Attempting to Copy file \".\" that is excluded by .dockerignore");
    }
    for rules in [".*\n", "*\n!Dockerfile\n", "x\n"] {
        project.put(".dockerignore", rules);
        check().success();
    }
}

const OUTLINED: &str = "
    # VERSION of the tool
    ARG VERSION=1.2
    ARG TAG=x$VERSION
    ARG UNUSED=1
    FROM registry.invalid/image:${TAG} AS other
    RUN --mount=type=secret,id=token,required --mount=type=ssh true
    ARG VERSION
    FROM scratch AS unneeded
    ARG NOBODY=1
    # app is the result
    FROM scratch AS app
    # user who owns it
    ARG user=me
    ARG TARGETARCH
    COPY --from=other / /
";

#[test]
fn an_outline_lists_what_the_target_takes() {
    let project = Project::new().dockerfile(OUTLINED);
    let outline = ["build", "--call=outline", "context"];
    let outcome = project.builder(outline).success();
    assert_eq!(
        outcome.stdout,
        "TARGET:      app\nDESCRIPTION: is the result\n\n\
         BUILD ARG   VALUE   DESCRIPTION\nVERSION     1.2     of the tool\nTAG         x1.2\nuser        me      who owns it\n\n\
         SECRET   REQUIRED\ntoken    true\n\n\
         SSH       REQUIRED\ndefault\n\n"
    );
    let given = project.builder(outline).arg("VERSION", "2").success();
    given
        .prints("\nVERSION     2\n")
        .prints("\nTAG         x2\n");
    let other = ["build", "--call=outline", "--target=unneeded", "context"];
    let other = project.builder(other).success();
    assert_eq!(
        other.stdout,
        "TARGET: unneeded\n\nBUILD ARG   VALUE   DESCRIPTION\nNOBODY      1\n\n"
    );
}

#[test]
fn an_outline_is_json_for_programs() {
    let project = Project::new().dockerfile(OUTLINED);
    let run = project.builder(["build", "--call=outline,format=json", "context"]);
    let json = run.success().json();
    assert_eq!(json["name"], "app");
    assert_eq!(json["args"][0]["name"], "VERSION");
    assert_eq!(json["args"][0]["location"]["ranges"][0]["start"]["line"], 2);
    assert_eq!(json["secrets"][0]["required"], true);
    assert_eq!(json["ssh"][0]["name"], "default");
}

#[test]
fn targets_are_listed() {
    let project = Project::new().dockerfile(OUTLINED);
    let outcome = project
        .builder(["build", "--call=targets", "context"])
        .success();
    assert_eq!(
        outcome.stdout,
        "TARGET        DESCRIPTION\nother\nunneeded\napp (default) is the result\n"
    );
    let run = project.builder(["build", "--call=targets,format=json", "context"]);
    let json = run.success().json();
    assert_eq!(json["targets"][0]["base"], "registry.invalid/image:${TAG}");
    assert_eq!(json["targets"][2]["default"], true);
    let none = project.builder(["build", "--call=outline", "--target=none", "context"]);
    none.failure(1)
        .says("target stage \"none\" could not be found");
}

#[test]
fn a_policy_denies_and_converts_sources() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let layout = |project: &Project| {
        let flags = format!("{:?}", project.build());
        let at = flags.find("oci-layout://").unwrap();
        flags[at..].split('"').next().unwrap().to_owned()
    };
    let place = layout(&project);
    let project = project.dockerfile("FROM example.invalid/tool:1\nCOPY Dockerfile /\n");
    let policy = |action: &str, selector: &str, to: &str| {
        let update = format!(r#","updates":{{"identifier":"{to}"}}"#);
        let update = if to.is_empty() { "" } else { &update };
        let rule = format!(
            r#"{{"rules":[{{"action":"{action}","selector":{{"identifier":"{selector}"}}{update}}}]}}"#
        );
        std::fs::write(project.path("policy.json"), rule).unwrap();
        let variable = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY";
        project
            .build()
            .env(variable, project.path("policy.json").to_str().unwrap())
    };
    policy("CONVERT", "docker-image://example.invalid/tool:*", &place).success();
    let denied = "source `docker-image://example.invalid/tool:1` denied by policy";
    policy("DENY", "docker-image://example.invalid/*", "")
        .failure(1)
        .says(denied);
    project.put("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    policy("DENY", "local://*", "")
        .failure(1)
        .says("`local://context` denied by policy");
    policy("DENY", "https://*", "").success();
    policy("BLESS", "*", "")
        .failure(2)
        .says("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY");
}
