//! Bad input for every flag: exit code 2 for words, 1 for what they name, and a message that
//! names the flag.

use std::fs;

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
    (
        &["--platform=arm46"],
        "\"arm46\": unknown operating system or architecture: invalid argument",
    ),
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
    (&["--add-host=a:"], "invalid host a:"),
    (&["--allow=device="], "unknown entitlement device="),
    (
        &["--annotation=manifest[x/y/z/q]:a=b"],
        "invalid annotation type \"manifest[x/y/z/q]\"",
    ),
    (&["--attest="], "must be a key=value pair"),
    (
        &["--attest=type=provenance,mode=max"],
        "a provenance attestation is not supported",
    ),
    (&["--build-arg="], "invalid key-value pair \"\""),
    (&["--build-context="], "invalid context value"),
    (&["--build-context==x"], "invalid context name"),
    (&["--builder"], "a value is required for '--builder"),
    (&["--cache-from="], "--cache-from"),
    (&["--cache-from=type=local"], "--cache-from"),
    (&["--cache-from=type=registry"], "--cache-from"),
    (
        &["--cache-from=type=s3"],
        "the cache type `s3` is not supported",
    ),
    (
        &["--cache-to=type=inline"],
        "the cache type `inline` is not supported",
    ),
    (&["--cache-to=type=local,dest=x,mode=most"], "--cache-to"),
    (
        &["--call=check,format=yaml"],
        "unexpected key 'format' in 'format=yaml'",
    ),
    (
        &["--cgroup-parent"],
        "a value is required for '--cgroup-parent",
    ),
    (&["--check=maybe"], "'maybe'"),
    (&["--cpu-period=0", "--cpu-quota=5"], "0 is not a period"),
    (&["--cpu-period=x"], "--cpu-period"),
    (&["--cpu-quota=x"], "--cpu-quota"),
    (&["--cpus=-1"], "failed to parse `-1` as a number"),
    (&["--cpus=0"], "failed to parse `0` as a number"),
    (&["--debug=maybe"], "'maybe'"),
    (&["--explain=maybe"], "'maybe'"),
    (&["--file"], "a value is required for '--file"),
    (&["--iidfile"], "a value is required for '--iidfile"),
    (&["--isolation="], "unknown isolation ``"),
    (&["--jobs=many"], "--jobs"),
    (&["--label="], "invalid key-value pair \"\""),
    (&["--load=maybe"], "'maybe'"),
    (&["--memory=-1"], "invalid size: '-1'"),
    (
        &["--metadata-file"],
        "a value is required for '--metadata-file",
    ),
    (
        &["--network=none:x"],
        "network mode \"none:x\" not supported",
    ),
    (&["--no-cache=maybe"], "'maybe'"),
    (
        &["--no-cache-filter"],
        "a value is required for '--no-cache-filter",
    ),
    (
        &["--output=type=local"],
        "output type `local` needs dest=PATH",
    ),
    (
        &["--output=type=image,push=maybe"],
        "output attribute `push` cannot be `maybe`",
    ),
    (
        &["--output=type=tar,dest=x,push=true"],
        "output type `tar` has no attribute `push`",
    ),
    (
        &["--output=type=oci,compression-level=fast"],
        "compression-level",
    ),
    (
        &["--output=type=image,name=A B"],
        "invalid value for --output: invalid tag \"A B\"",
    ),
    (
        &["--output=type=local,dest=x,mode=move"],
        "output attribute `mode` cannot be `move`: it is copy or delete",
    ),
    (
        &["--output=type=local,dest=/tmp,mode=delete"],
        "--allow=buildx.local.delete",
    ),
    (
        &["--output=type=local,dest=.,mode=delete"],
        "--allow=buildx.local.delete",
    ),
    (
        &["--output=type=local,dest=new/../..,mode=delete"],
        "--allow=buildx.local.delete",
    ),
    (&["--output=type=oci,dest=\"x"], "--output"),
    (&["--pids-limit=x"], "--pids-limit"),
    (&["--platform="], "invalid platform ``"),
    (&["--platform=linux/amd64,"], "invalid platform ``"),
    (&["--policy="], "a build policy is not supported"),
    (&["--progress="], "--progress"),
    (&["--pull=often"], "'often'"),
    (&["--push=maybe"], "'maybe'"),
    (&["--quiet=maybe"], "'maybe'"),
    (&["--registry-mirror=a b"], "--registry-mirror"),
    (&["--resource=memory"], "must be a key=value pair"),
    (&["--resource=memory=lots"], "invalid size: 'lots'"),
    (&["--root"], "a value is required for '--root"),
    (
        &["--sbom=generator=x"],
        "an SBOM attestation is not supported",
    ),
    (&["--secret="], "must be a key=value pair"),
    (
        &["--secret=id=x,mode=1"],
        "unexpected key 'mode' in 'mode=1'",
    ),
    (&["--shm-size=-1"], "invalid size: '-1'"),
    (&["--step-timeout=-5s"], "invalid duration '-5s'"),
    (&["--tag="], "invalid tag \"\""),
    (
        &["--tag=a@sha256:0000000000000000000000000000000000000000000000000000000000000000"],
        "--tag",
    ),
    (&["--target"], "a value is required for '--target"),
    (&["--timestamp=-1"], "invalid SOURCE_DATE_EPOCH: -1"),
    (
        &["--ulimit=nofile=-2"],
        "invalid ulimit argument: nofile=-2",
    ),
    (&["--ulimit=nofile=x"], "invalid ulimit argument: nofile=x"),
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
    let mut wrong = Vec::new();
    for (words, message) in BAD_VALUES {
        let refused = project.builder(["build", "."]).words(*words).run();
        if refused.code != 2 || !refused.stderr.contains(message) {
            wrong.push(format!("{words:?} should say {message}:\n{refused}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
    refused(&["--ssh=k=/dev/null", "."], "failed to parse /dev/null");
    refused(
        &["--ssh==/dev/null", "."],
        "agent config for ID: \"default\"",
    );
    refused(&["--ssh=", "."], "make sure SSH_AUTH_SOCK is set");
    refused(&["--authfile=/no/such", "."], "failed to stat `/no/such`");
    refused(&["--ca-file=/no/such", "."], "failed to stat `/no/such`");
    refused(
        &["--build-context=x=/no/such", "."],
        "failed to get build context x: `/no/such`",
    );
    refused(
        &["--build-context=x=/dev/null", "."],
        "failed to get build context x: `/dev/null`",
    );
    refused(&["Dockerfile"], "path \"Dockerfile\" not found");
    refused(&["--ssh=default", "."], "make sure SSH_AUTH_SOCK is set");
    project
        .builder(["build", "-f-", "-"])
        .failure(2)
        .says("can't use stdin for both");
    project.builder(["build"]).failure(2).says("PATH | URL | -");
    project
        .builder(["build", ""])
        .failure(2)
        .says("please specify build context");
}

/// Words whose fault is found by the build itself, its exit code, and what must be said. `{file}` is
/// a file below which nothing can be, `{home}` a directory with something in it.
const BAD_NAMES: &[(&[&str], i32, &str)] = &[
    (
        &["--target=none"],
        1,
        "target stage \"none\" could not be found",
    ),
    (&["--file=none"], 1, "failed to read dockerfile: open"),
    (&["--file={home}"], 1, "failed to read dockerfile"),
    (&["--file=-"], 1, "the Dockerfile cannot be empty"),
    (&["--push"], 1, "tag is needed when pushing to registry"),
    (
        &["--output=type=registry"],
        1,
        "tag is needed when pushing to registry",
    ),
    (&["--iidfile={file}/x"], 3, "failed to write"),
    (&["--metadata-file={file}/x"], 3, "failed to write"),
    (&["--output=type=local,dest={file}/x"], 3, "plain"),
    (&["--output=type=tar,dest={file}/x"], 3, "plain"),
    (&["--output=type=oci,tar=false,dest={home}"], 1, "home"),
    (&["--cache-to=type=local,dest={file}/x"], 3, "plain"),
    (&["--root={file}/x"], 3, "plain"),
    (&["--timestamp=git"], 1, "the context has no git commit"),
    (
        &[
            "--platform=linux/amd64,linux/arm64",
            "--output=type=docker,dest={file}.tar",
        ],
        1,
        "linux/amd64",
    ),
];

#[test]
fn what_a_build_finds_out_is_told_with_its_name() {
    let project = Project::new().dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    let file = project.path("plain").display().to_string();
    fs::write(&file, "x").unwrap();
    fs::write(project.home().join("kept"), "x").unwrap();
    let home = project.home().display().to_string();
    for (words, code, message) in BAD_NAMES {
        let insert = |word: &&str| word.replace("{file}", &file).replace("{home}", &home);
        let refused = project
            .build()
            .words(words.iter().map(insert))
            .failure(*code);
        refused.says(message).does_not_say("panicked");
    }
    // Sources of a cache that are not there are no reason not to build.
    let cold = format!("--cache-from=type=local,src={file}/x");
    project.build().flag(&cold).success().says("not found");
}

#[test]
fn every_flag_is_refused_in_some_form() {
    let help = Project::new().builder(["build", "--help"]).success().stdout;
    let flags = help.split_whitespace().filter_map(|word| {
        let name = word.strip_prefix("--")?;
        let end = name.find(|c: char| !(c.is_ascii_lowercase() || c == '-'));
        Some(format!("--{}", &name[..end.unwrap_or(name.len())]))
    });
    let source = include_str!("flags.rs");
    // Words that any text is good for.
    let free = ["--help", "--print", "--net", "--insecure-registry"];
    let missing: Vec<String> = flags
        .filter(|flag| !free.contains(&flag.as_str()))
        .filter(|flag| !source.contains(&format!("\"{flag}")))
        .collect();
    assert!(missing.is_empty(), "never given wrongly: {missing:?}");
}

#[test]
fn what_a_script_leaves_empty_is_nothing() {
    let project = Project::new().dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    for flag in [
        "allow",
        "annotation",
        "output",
        "file",
        "target",
        "call",
        "network",
    ] {
        project.build().flag(&format!("--{flag}=")).success();
    }
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
