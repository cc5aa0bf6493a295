//! Bad input for every flag: exit code 2 for words, 1 for what they name, and a message that
//! names the flag.

use super::common::Project;

/// Words after `build`, and what must be said.
const BAD_VALUES: &[(&[&str], &str)] = &[
    (&["--add-host=x"], "'--add-host <HOST:IP>': invalid host x"),
    (&["--add-host=x:1.2.3"], "invalid host x:1.2.3"),
    (&["--allow=everything"], "unknown entitlement everything"),
    (
        &["--annotation=x"],
        "invalid annotation \"x\", expected key=value format",
    ),
    (
        &["--annotation=layer:x=y"],
        "unknown annotation type \"layer\"",
    ),
    (
        &["--attest=type=sbom"],
        "an SBOM attestation is not supported",
    ),
    (&["--build-arg==x"], "invalid key-value pair \"=x\""),
    (
        &["--build-context=x"],
        "invalid context value: x, expected key=value",
    ),
    (&["--build-context=a b=x"], "invalid context name a b"),
    (
        &["--cache-from=type=floppy"],
        "--cache-from: unknown cache type `floppy`",
    ),
    (
        &["--cache-to=type=gha"],
        "the cache type `gha` is not supported yet",
    ),
    (&["--cache-to=type=local"], "--cache-to"),
    (&["--call=convertllb"], "unsupported method \"convertllb\""),
    (&["--check", "--call=check"], "cannot be used with"),
    (
        &["--cpus=none"],
        "failed to parse `none` as a number of processors",
    ),
    (&["--cpus=1", "--cpu-quota=5"], "conflicting options"),
    (&["--isolation=hyperv"], "unknown isolation `hyperv`"),
    (&["--jobs=0"], "--jobs"),
    (&["--label==x"], "invalid key-value pair \"=x\""),
    (&["--memory=lots"], "invalid size: 'lots'"),
    (
        &["--network=bridge"],
        "network mode \"bridge\" not supported",
    ),
    (
        &["--no-cache", "--no-cache-filter=x"],
        "cannot be used with",
    ),
    (&["--output=type=zip"], "invalid value for --output: "),
    (
        &["--output=type=oci", "-o-"],
        "multiple outputs configured to write to stdout",
    ),
    (&["--output=type=oci,compression=rar"], "--output"),
    (&["--platform=a/b/c/d"], "invalid platform `a/b/c/d`"),
    (&["--policy=filename=x"], "a build policy is not supported"),
    (
        &["--progress=loud"],
        "invalid value 'loud' for '--progress <MODE>'",
    ),
    (&["--progress=tty"], "failed to get console"),
    (&["--progress=plain", "--quiet"], "cannot be used with"),
    (
        &["--provenance=mode=max"],
        "a provenance attestation is not supported",
    ),
    (
        &["--provenance"],
        "a provenance attestation is not supported",
    ),
    (&["--resource=disk=1"], "unexpected key 'disk' in 'disk=1'"),
    (&["--sbom=true"], "an SBOM attestation is not supported"),
    (
        &["--secret=x"],
        "invalid field 'x' must be a key=value pair",
    ),
    (&["--secret=src=x"], "secret missing ID"),
    (
        &["--secret=id=x,type=vault"],
        "unsupported secret type \"vault\"",
    ),
    (&["--shm-size=1x"], "invalid size: '1x'"),
    (&["--ssh==x"], "missing id"),
    (&["--step-timeout=soon"], "invalid duration 'soon'"),
    (
        &["--tag=A B"],
        "invalid tag \"A B\": invalid reference format",
    ),
    (&["--tag=me/Upper"], "must be lowercase"),
    (
        &["--timestamp=yesterday"],
        "invalid SOURCE_DATE_EPOCH: yesterday",
    ),
    (&["--ulimit=nofile"], "invalid ulimit argument: nofile"),
    (&["--ulimit=files=1"], "invalid ulimit type: files"),
    (
        &["--ulimit=nofile=2:1"],
        "ulimit soft limit must be less than or equal to hard limit: 2 > 1",
    ),
    (
        &["--cach-from=x"],
        "a similar argument exists: '--cache-from'",
    ),
    (&["--no-such-flag"], "unexpected argument '--no-such-flag'"),
    (&["second-context"], "unexpected argument"),
];

#[test]
fn every_bad_value_is_a_usage_error_that_names_it() {
    let project = Project::new().dockerfile("FROM scratch");
    for (words, message) in BAD_VALUES {
        let build = project.builder(["build"]).words(*words).flag(".");
        build.failure(2).says(message);
    }
}

#[test]
fn what_the_words_name_must_be_there() {
    let project = Project::new().dockerfile("FROM scratch");
    let refused = |words: &[&str], message: &str| {
        project
            .builder(["build"])
            .words(words)
            .failure(1)
            .says(message);
    };
    refused(
        &["nowhere"],
        "ERROR: unable to prepare context: path \"nowhere\" not found",
    );
    refused(
        &["--secret=id=x,src=/no/such", "."],
        "failed to stat `/no/such`",
    );
    refused(&["--ssh=k=/no/such", "."], "failed to open /no/such");
    refused(&["--ssh=default", "."], "make sure SSH_AUTH_SOCK is set");
    project
        .builder(["build", "-f-", "-"])
        .failure(2)
        .says("can't use stdin for both");
    project.builder(["build"]).failure(2).says("PATH | URL | -");
}

#[test]
fn bad_variables_are_named() {
    let project = Project::new().dockerfile("FROM scratch");
    for (name, value) in [
        ("BUILDKIT_PROGRESS", "loud"),
        ("DOCKER_DEFAULT_PLATFORM", "a/b/c/d"),
        ("SOURCE_DATE_EPOCH", "soon"),
        ("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", "policy.json"),
    ] {
        let build = project.builder(["build", "."]).env(name, value);
        build.failure(2).says(name);
    }
}

#[test]
fn an_unknown_verb_gets_a_suggestion() {
    Project::new()
        .builder(["biuld", "."])
        .failure(2)
        .says("similar subcommand");
}

#[test]
fn nothing_is_made_by_a_command_that_is_refused() {
    let project = Project::new().dockerfile("FROM scratch");
    let store = project.path("never");
    let root = format!("--root={}", store.display());
    project
        .builder(["build", &root, "--network=bridge", "."])
        .failure(2);
    assert!(!store.exists());
}
