//! Words and environments against requests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::cache::remote::RemoteKind;
use crate::cli::args::{Args, Verb};
use crate::clock::Epoch;
use crate::executor::agent::Agent;
use crate::executor::sandbox::Rung;
use crate::export::Destination;
use crate::pipeline::request::{
    AnnotationLevel, CacheUse, ContextSpec, DockerfileSpec, Entitlement, EpochSpec, SecretSource,
};
use crate::reference::Reference;

/// A key of no account: its bytes are 0 to 31.
const ED25519: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f
-----END PRIVATE KEY-----
";

/// The request of `builder build WORDS`, in an environment.
fn ask(words: &[&str], variables: &[(&str, &str)]) -> Result<Asked, CliError> {
    let words = ["builder", "build", "--root=/r"].iter().chain(words);
    let args = Args::read(words.map(Into::into)).unwrap();
    let Verb::Build(build_args) = &args.verb else {
        panic!("not a build");
    };
    build(
        build_args,
        &args.global,
        &Environment::of(variables.iter().copied()),
    )
}

fn request(words: &[&str], variables: &[(&str, &str)]) -> BuildRequest {
    ask(words, variables).unwrap().request
}

fn refusal(words: &[&str], variables: &[(&str, &str)]) -> String {
    ask(words, variables).unwrap_err().to_string()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn contexts_are_directories_addresses_or_standard_input() {
    let of = |word| request(&[word], &[]).context;
    assert_eq!(of("/tmp"), ContextSpec::Directory("/tmp".into()));
    assert_eq!(of("tmp"), ContextSpec::Directory("/tmp".into()));
    assert_eq!(of("-"), ContextSpec::Stdin);
    for url in [
        "https://example.com/x.tar",
        "git@github.com:o/r.git",
        "github.com/o/r#main:sub",
        "ssh://h/r",
    ] {
        assert_eq!(of(url), ContextSpec::Url(url.into()));
    }
    assert_eq!(
        refusal(&["nothing-here"], &[]),
        "unable to prepare context: path \"nothing-here\" not found"
    );
}

#[test]
fn dockerfiles_belong_to_their_context() {
    let of = |words: &[&str]| request(words, &[]).dockerfile;
    assert_eq!(of(&["/tmp"]), DockerfileSpec::Default);
    assert_eq!(
        of(&["-f", "a/D", "/tmp"]),
        DockerfileSpec::Path("/a/D".into())
    );
    assert_eq!(of(&["-f", "a/D", "-"]), DockerfileSpec::Path("a/D".into()));
    assert_eq!(
        of(&["-f", "a/D", "github.com/o/r"]),
        DockerfileSpec::Path("a/D".into())
    );
    assert_eq!(of(&["-f", "-", "/tmp"]), DockerfileSpec::Stdin);
    assert_eq!(
        of(&["-f", "https://h/D", "/tmp"]),
        DockerfileSpec::Url("https://h/D".into())
    );
    assert_eq!(
        refusal(&["-f", "-", "-"], &[]),
        "invalid argument: can't use stdin for both build context and dockerfile"
    );
}

#[test]
fn build_arguments_come_from_the_command_line_or_the_environment() {
    let words = [
        "--build-arg=A=1",
        "--build-arg",
        "B",
        "--build-arg=C",
        "--build-arg=D=",
        "-",
    ];
    let args = request(&words, &[("B", "from env"), ("A", "no")]).build_args;
    assert_eq!(args, map(&[("A", "1"), ("B", "from env"), ("D", "")]));
    let labels = request(&["--label=a", "--label=b=c=d", "--label=a=2", "-"], &[]).labels;
    assert_eq!(labels, map(&[("a", "2"), ("b", "c=d")]));
}

#[test]
fn the_epoch_is_flag_then_argument_then_variable() {
    let variables = [("SOURCE_DATE_EPOCH", "3")];
    let of = |words: &[&str]| {
        let request = request(words, &variables);
        (
            request.epoch,
            request.build_args.get("SOURCE_DATE_EPOCH").cloned(),
        )
    };
    let fixed = |seconds: i64| (EpochSpec::Fixed(Epoch(seconds)), Some(seconds.to_string()));
    assert_eq!(
        of(&["--timestamp=1", "--build-arg=SOURCE_DATE_EPOCH=2", "-"]),
        fixed(1)
    );
    assert_eq!(of(&["--build-arg=SOURCE_DATE_EPOCH=2", "-"]), fixed(2));
    assert_eq!(of(&["-"]), fixed(3));
    assert_eq!(of(&["--timestamp=git", "-"]), (EpochSpec::Git, None));
    assert_eq!(request(&["-"], &[]).epoch, EpochSpec::Base);
    assert_eq!(
        refusal(&["-"], &[("SOURCE_DATE_EPOCH", "soon")]),
        "invalid SOURCE_DATE_EPOCH: soon: write seconds since 1970"
    );
}

#[test]
fn secrets_are_found_before_the_build() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("s");
    fs::write(&file, "x").unwrap();
    let path = file.to_str().unwrap();
    let variables = [
        ("TOKEN", "hush"),
        ("HOME", directory.path().to_str().unwrap()),
    ];
    let of = |text: &str| {
        let asked = ask(&["--secret", text, "-"], &variables).unwrap();
        (
            asked.request.secrets.into_values().next(),
            asked.notices.len(),
        )
    };
    let value = SecretSource::Value(crate::pipeline::request::SecretBytes(b"hush".to_vec()));
    assert_eq!(of("id=TOKEN"), (Some(value.clone()), 0));
    assert_eq!(of("id=a,env=TOKEN"), (Some(value), 0));
    assert_eq!(of("id=a,env=ABSENT"), (None, 1));
    assert_eq!(
        of(&format!("id=a,src={path}")),
        (Some(SecretSource::File(file.clone())), 0)
    );
    assert_eq!(
        of("id=a,src=~/s"),
        (Some(SecretSource::File(file.clone())), 0)
    );
    assert_eq!(
        refusal(&["--secret=id=a,src=/no", "-"], &[]),
        "failed to stat `/no`"
    );
    fs::write(&file, vec![0; 600_000]).unwrap();
    let refused = refusal(&["--secret", &format!("id=a,src={path}"), "-"], &[]);
    assert!(refused.ends_with("too big. max size 500KB"), "{refused}");
    assert!(!format!("{:?}", ask(&["--secret=id=TOKEN", "-"], &variables)).contains("hush"));
}

#[test]
fn agents_are_sockets_or_keys() {
    let directory = tempfile::tempdir().unwrap();
    let agent = directory.path().join("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&agent).unwrap();
    let agent = agent.to_str().unwrap();
    let key = directory.path().join("key");
    fs::write(&key, ED25519).unwrap();
    let named = format!("--ssh=k={agent}");
    let ssh = request(&["--ssh=default", &named, "-"], &[("SSH_AUTH_SOCK", agent)]).ssh;
    for id in ["default", "k"] {
        assert!(matches!(&ssh[id], Agent::Socket(path) if path == Path::new(agent)));
    }
    let many = format!("{named},{agent}");
    let both = format!("--ssh=k={},{agent}", key.display());
    for (flag, reason) in [
        (many.as_str(), "only single socket allowed"),
        (&both, "invalid combination of keys and sockets"),
        ("--ssh=k=/dev/null", "failed to parse /dev/null"),
        ("--ssh=k=/nokey", "failed to open /nokey"),
        ("--ssh=k=/", "failed to open /"),
    ] {
        let error = ask(&[flag, "-"], &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to convert agent config for ID: \"k\""
        );
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), reason);
    }
    assert_eq!(
        refusal(&[&named, &named, "-"], &[]),
        "duplicate agent ID \"k\""
    );
    let one = format!("--ssh=k={}", key.display());
    let keys = &request(&[&one, "-"], &[]).ssh["k"];
    assert!(matches!(keys, Agent::Keys(ring) if !ring.is_empty()));
    assert_eq!(format!("{keys:?}"), "Keys(Keyring { keys: 1, .. })");
    assert_eq!(
        refusal(&["--ssh=default", "-"], &[]),
        "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"
    );
}

#[test]
fn run_options_are_gathered() {
    let run = request(
        &[
            "--add-host=a:1.2.3.4",
            "--add-host=b:host-gateway",
            "--ulimit=nofile=1:2",
            "--ulimit=nofile=3",
            "--shm-size=64m",
            "-m",
            "1g",
            "--cpus=1.5",
            "--jobs=3",
            "--step-timeout=90s",
            "--isolation=chroot",
            "--network=none",
            "--cgroup-parent=/x",
            "-",
        ],
        &[],
    )
    .run;
    assert_eq!(
        run.add_hosts,
        [
            ("a".to_owned(), Some("1.2.3.4".parse().unwrap())),
            ("b".to_owned(), None)
        ]
    );
    assert_eq!(run.ulimits, [("nofile".to_owned(), 3, 3)]);
    assert_eq!(
        (run.shm_size, run.memory_bytes),
        (Some(64 << 20), Some(1 << 30))
    );
    assert_eq!((run.cpus_milli, run.jobs), (Some(1500), Some(3)));
    assert_eq!(run.step_timeout.map(|time| time.as_secs()), Some(90));
    assert_eq!(run.isolation, Some(Rung::Chroot));
    assert_eq!(run.cgroup_parent.as_deref(), Some("/x"));
    let of = |words: &[&str]| request(words, &[]).run.cpus_milli;
    assert_eq!(of(&["--cpu-quota=50000", "-"]), Some(500));
    assert_eq!(
        of(&["--resource=cpu-quota=50000", "--cpu-period=25000", "-"]),
        Some(2000)
    );
    assert!(ask(&["--cpus=1", "--cpu-quota=1", "-"], &[]).is_err());
    assert!(ask(&["--cpu-quota=1", "--cpu-period=0", "-"], &[]).is_err());
}

#[test]
fn what_has_no_effect_is_told() {
    let words = [
        "--squash",
        "-c",
        "5",
        "--resource=cpuset-cpus=0",
        "--builder=x",
        "--rm",
        "--compress",
        "-",
    ];
    let notices = ask(&words, &[]).unwrap().notices;
    assert_eq!(notices.len(), 4, "{notices:?}");
    assert!(ask(&["-"], &[("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", "p.json")]).is_err());
}

#[test]
fn platforms_are_listed_once_or_come_from_the_environment() {
    let of = |words: &[&str], variable: &str| -> Vec<String> {
        let platforms = request(words, &[("DOCKER_DEFAULT_PLATFORM", variable)]).platforms;
        platforms.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        of(
            &[
                "--platform=linux/amd64,linux/x86_64",
                "--platform=arm64",
                "-"
            ],
            "linux/386"
        ),
        ["linux/amd64", "linux/arm64"]
    );
    assert_eq!(
        of(&["-"], "linux/386,linux/arm"),
        ["linux/386", "linux/arm/v7"]
    );
    assert!(of(&["-"], "").is_empty());
    assert!(refusal(&["-"], &[("DOCKER_DEFAULT_PLATFORM", "a/b/c/d")]).contains("a/b/c/d"));
}

#[test]
fn named_contexts_have_absolute_paths() {
    let words = [
        "--build-context=a=tmp",
        "--build-context=b=docker-image://alpine",
        "--build-context=c=oci-layout://dir:tag",
        "--build-context=d=git@h:r",
        "--build-context=Alpine=/usr",
        "-",
    ];
    assert_eq!(
        request(&words, &[]).named_contexts,
        map(&[
            ("a", "/tmp"),
            ("alpine", "/usr"),
            ("b", "docker-image://alpine"),
            ("c", "oci-layout:///dir:tag"),
            ("d", "git@h:r"),
        ])
    );
}

#[test]
fn shorthands_of_outputs_are_spelled_out() {
    let of = |words: &[&str]| {
        let words = ["builder", "build"].iter().chain(words).chain(["-"].iter());
        let Verb::Build(args) = Args::read(words.map(Into::into)).unwrap().verb else {
            panic!("not a build");
        };
        output::specs(&args)
    };
    assert!(of(&[]).is_empty());
    assert_eq!(of(&["--push"]), ["type=registry"]);
    assert_eq!(of(&["--load"]), ["type=docker"]);
    assert_eq!(
        of(&["--push", "-o", "type=image,name=x"]),
        ["type=image,name=x,push=true"]
    );
    assert_eq!(of(&["--push", "-o", "type=registry"]), ["type=registry"]);
    assert_eq!(of(&["--push", "-o", "dir"]), ["dir", "type=registry"]);
    assert_eq!(
        of(&["--load", "-o", "type=docker,dest=x.tar"]),
        ["type=docker,dest=x.tar", "type=docker"]
    );
    assert_eq!(of(&["--load", "-o", "type=docker"]), ["type=docker"]);
}

#[test]
fn the_rest_is_taken_as_it_is() {
    let asked = ask(
        &[
            "-t",
            "a",
            "-t",
            "a:latest",
            "-t",
            "b:1",
            "--target=t",
            "--no-cache-filter=x,y",
            "--no-cache-filter=z",
            "--pull",
            "--allow=network.host",
            "--allow=device=x",
            "--annotation=index:k=v",
            "--iidfile=i",
            "--metadata-file=/m",
            "--explain",
            "-",
        ],
        &[("BUILDX_METADATA_WARNINGS", "1")],
    )
    .unwrap();
    let request = asked.request;
    let tags: Vec<String> = request.tags.iter().map(Reference::familiar).collect();
    assert_eq!(tags, ["a:latest", "b:1"]);
    assert_eq!(request.target.as_deref(), Some("t"));
    assert_eq!(
        request.cache_use,
        CacheUse::Except(vec!["x".into(), "y".into(), "z".into()])
    );
    assert!(request.pull && request.explain && asked.metadata_warnings);
    assert!(request.allow.contains(&Entitlement::NetworkHost) && request.allow.len() == 2);
    assert_eq!(request.annotations[0].level, AnnotationLevel::Index);
    assert_eq!(asked.iidfile.as_deref(), Some(Path::new("/i")));
    assert_eq!(request.root, Path::new("/r"));
}

#[test]
fn outputs_have_absolute_paths_and_one_stream() {
    let dest = |spec: &str| {
        let outputs = request(&["-o", spec, "-"], &[]).outputs;
        outputs[0].dest.clone()
    };
    assert_eq!(dest("out"), Some(Destination::Path("/out".into())));
    assert_eq!(
        dest("type=oci,dest=x.tar"),
        Some(Destination::Path("/x.tar".into()))
    );
    assert_eq!(dest("-"), Some(Destination::Stdout));
    let refused = refusal(&["-o", "-", "-o", "type=oci", "-"], &[]);
    assert!(
        refused.contains("multiple outputs configured to write to stdout"),
        "{refused}"
    );
    assert!(refusal(&["-o", "type=zip", "-"], &[]).starts_with("invalid value for --output: "));
}

#[test]
fn caches_have_absolute_directories() {
    let request = request(
        &[
            "--cache-from=type=local,src=a",
            "--cache-to=type=local,dest=/b",
            "--cache-from=h/x,h/y",
            "-",
        ],
        &[],
    );
    let directories: Vec<_> = request
        .cache_from
        .iter()
        .chain(&request.cache_to)
        .map(|spec| &spec.kind)
        .collect();
    assert!(
        matches!(directories[0], RemoteKind::Local { directory } if directory == Path::new("/a"))
    );
    assert!(
        matches!(directories[3], RemoteKind::Local { directory } if directory == Path::new("/b"))
    );
    assert!(refusal(&["--cache-to=type=floppy", "-"], &[]).contains("unknown cache type `floppy`"));
}

#[test]
fn registries_are_reached_as_docker_and_podman_reach_them() {
    let words = [
        "--authfile=etc/passwd",
        "--insecure-registry=r:5000",
        "--registry-mirror=https://m/x",
        "--registry-mirror=quay.io=http://q",
        "-",
    ];
    let variables = [
        ("HOME", "/h"),
        ("XDG_RUNTIME_DIR", "/run/u"),
        ("https_proxy", "http://p"),
        ("DOCKER_AUTH_CONFIG", "{}"),
    ];
    let options = request(&words, &variables).registry;
    let files = [
        "/etc/passwd",
        "/h/.docker/config.json",
        "/run/u/containers/auth.json",
        "/h/.config/containers/auth.json",
    ]
    .map(PathBuf::from);
    assert_eq!(options.auth_files, files);
    assert_eq!(
        options.login_file.as_deref(),
        Some(Path::new("/etc/passwd"))
    );
    assert_eq!(
        options
            .mirrors
            .iter()
            .map(|rule| rule.prefix.as_str())
            .collect::<Vec<_>>(),
        ["docker.io", "quay.io"]
    );
    assert!(options.mirrors[1].mirrors[0].insecure && !options.mirrors[0].mirrors[0].insecure);
    assert!(
        options.inline_auth.is_some()
            && options.proxy.https.is_some()
            && options.proxy.http.is_none()
    );
    assert!(ask(&["--registry-mirror==x", "-"], &[]).is_err());
    assert!(ask(&["--ca-file=/no/such", "-"], &[]).is_err());
}

#[test]
fn an_insecure_output_makes_its_registries_insecure() {
    let hosts = |words: &[&str]| request(words, &[]).registry.insecure;
    let named = "-otype=image,name=lab.example:5000/x,registry.insecure=true";
    assert_eq!(hosts(&[named, "-"]), ["lab.example:5000"]);
    let tagged = [
        "-tlab.example/x",
        "-otype=registry,registry.insecure=true",
        "-",
    ];
    assert_eq!(hosts(&tagged), ["lab.example"]);
    assert!(hosts(&["-tlab.example/x", "-otype=registry", "-"]).is_empty());
}
