//! Help, version, completions and the manual.

use super::common::Project;

const VERBS: [&str; 17] = [
    "build",
    "plan",
    "pull",
    "push",
    "login",
    "logout",
    "images",
    "tag",
    "rm",
    "inspect",
    "history",
    "du",
    "prune",
    "fsck",
    "doctor",
    "completion",
    "version",
];

/// The visible flags of `docker buildx build`.
const DOCKER_FLAGS: [&str; 36] = [
    "--add-host",
    "--allow",
    "--annotation",
    "--attest",
    "--build-arg",
    "--build-context",
    "--builder",
    "--cache-from",
    "--cache-to",
    "--call",
    "--cgroup-parent",
    "--check",
    "--debug",
    "--file",
    "--iidfile",
    "--label",
    "--load",
    "--metadata-file",
    "--network",
    "--no-cache",
    "--no-cache-filter",
    "--output",
    "--platform",
    "--progress",
    "--provenance",
    "--pull",
    "--push",
    "--quiet",
    "--resource",
    "--sbom",
    "--secret",
    "--shm-size",
    "--ssh",
    "--tag",
    "--target",
    "--ulimit",
];

#[test]
fn help_goes_to_standard_output() {
    let project = Project::new();
    for words in [vec!["--help"], vec!["-h"], vec!["build", "--help"]] {
        let outcome = project.builder(words).success();
        assert!(outcome.stdout.contains("Usage: builder"), "{outcome}");
        assert!(outcome.stderr.is_empty(), "{outcome}");
    }
    let help = project.builder(["--help"]).success();
    for verb in VERBS {
        help.prints(&format!("  {verb} "));
        project
            .builder([verb, "--help"])
            .success()
            .prints("Usage: builder");
    }
}

#[test]
fn without_words_help_is_an_error() {
    Project::new()
        .builder([] as [&str; 0])
        .failure(2)
        .says("Usage: builder");
}

#[test]
fn build_has_the_flags_of_docker_in_its_order() {
    let help = Project::new().builder(["build", "--help"]).success().stdout;
    let mut rest = help.as_str();
    for flag in DOCKER_FLAGS.into_iter().filter(|flag| *flag != "--debug") {
        let at = rest
            .find(&format!("{flag} "))
            .or_else(|| rest.find(&format!("{flag}[")));
        let at = at.unwrap_or_else(|| panic!("no {flag} after what comes before it in {help}"));
        rest = &rest[at..];
    }
}

#[test]
fn version_has_a_number_and_a_platform() {
    let project = Project::new();
    let line = project.builder(["version"]).success().stdout;
    assert!(
        line.starts_with("builder 0.") && line.contains("linux/"),
        "{line}"
    );
    project
        .builder(["--version"])
        .success()
        .prints("builder 0.");
}

#[test]
fn completions_know_verbs_and_flags() {
    let project = Project::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = project.builder(["completion", shell]).success();
        script
            .prints("no-cache-filter")
            .prints("metadata-file")
            .prints("prune");
    }
    project
        .builder(["completion", "cmd"])
        .failure(2)
        .says("possible values");
}

#[test]
fn the_manual_has_a_page_for_each_verb() {
    let manual = Project::new().builder(["man"]).success();
    for verb in VERBS {
        manual.prints(&format!("builder\\-{verb}"));
    }
    manual.prints("\\-\\-no\\-cache\\-filter");
}
