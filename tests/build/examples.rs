//! The examples, end to end: built, pushed, pulled by skopeo, unpacked by umoci, run by crun.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::base::{Registry, get};
use super::common::{Project, User};
use super::image::{Layout, crun, run_bundle, tool};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

/// A project whose context is a copy of an example.
fn project_of(name: &str) -> Project {
    let mut project = Project::new();
    for entry in std::fs::read_dir(example(name)).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        project = project.file(&file, std::fs::read(&path).unwrap());
    }
    project
}

fn with_busybox(project: Project) -> Project {
    let program = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let project = project.file("busybox", program);
    project.mode("busybox", 0o755)
}

fn layout_of(project: &Project) -> Layout {
    let path = project.path("layout");
    let spec = format!("type=oci,dest={},tar=false", path.display());
    project.build().tag("example").output_to(&spec).success();
    Layout::at(&path)
}

#[test]
fn hello_says_hello() {
    let project = with_busybox(project_of("hello"));
    let layout = layout_of(&project);
    assert_eq!(layout.config()["config"]["User"], "nobody");
    let bundle = project.path("bundle");
    layout.unpack(&bundle);
    let output = run_bundle(&bundle);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with("hello from a Linux container"),
        "{output:?}"
    );
}

#[test]
fn hello_is_the_same_image_for_root_and_for_a_user() {
    let Some(user) = User::with_subuids() else {
        return;
    };
    let as_root = with_busybox(project_of("hello")).build().success().digest();
    let project = with_busybox(project_of("hello")).owned_by(user);
    assert_eq!(project.build().success().digest(), as_root);
}

#[test]
fn a_python_web_application_answers() {
    let registry = Registry::with_debian();
    let project = project_of("python-web");
    let base = format!("{}/debian:bookworm", registry.host);
    let name = format!("{}/web:1", registry.host);
    // The machine's own authorities: CI may sit behind a proxy that has one.
    let ca = "id=ca,src=/etc/ssl/certs/ca-certificates.crt";
    let build = || {
        project
            .build()
            .arg("BASE", &base)
            .words(["--secret", ca])
            .tag(&name)
    };
    let first = build().flag("--push").success();
    let again = build().flag("--push").success();
    again.all_cached();
    assert_eq!(first.digest(), again.digest());

    let copy = project.path("pulled");
    let source = format!("docker://{name}");
    let target = format!("oci:{}:latest", copy.display());
    tool(
        "skopeo",
        &["copy", "--src-tls-verify=false", &source, &target],
    );
    let layout = Layout::at(&copy);
    assert_eq!(layout.config()["config"]["User"], "app");
    let bundle = project.path("bundle");
    let rootfs = layout.unpack(&bundle);
    assert!(rootfs.join("srv/app/app.py").exists());
    assert!(
        !rootfs.join("srv/app/Dockerfile").exists(),
        ".dockerignore holds"
    );
    assert_eq!(answer_of(&bundle), "hello from uid 1000");
}

/// Runs the bundle on the host's network until it answers.
fn answer_of(bundle: &Path) -> String {
    let config = bundle.join("config.json");
    let mut spec: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    spec["process"]["terminal"] = false.into();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    spec["process"]["env"]
        .as_array_mut()
        .unwrap()
        .push(format!("PORT={port}").into());
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    std::fs::write(&config, spec.to_string()).unwrap();
    let id = format!("builder-web-{}", std::process::id());
    let mut child = crun(bundle, &id).stdin(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    let answer = loop {
        match get(&format!("127.0.0.1:{port}")) {
            Ok(text) if !text.is_empty() => break text,
            _ if started.elapsed() > Duration::from_secs(30) => break String::new(),
            _ => std::thread::yield_now(),
        }
    };
    drop(Command::new("crun").args(["kill", &id, "KILL"]).status());
    drop(child.wait());
    answer
        .rsplit_once('.')
        .map_or(answer.clone(), |(text, _)| text.to_owned())
}

#[test]
fn a_compiled_program_is_alone_in_its_image() {
    let registry = Registry::with_debian();
    let project = project_of("c-static");
    let layout = project.path("layout");
    let base = format!("{}/debian:bookworm", registry.host);
    let spec = format!("type=oci,dest={},tar=false", layout.display());
    project
        .build()
        .arg("BASE", &base)
        .tag("hello")
        .output_to(&spec)
        .success();
    let layout = Layout::at(&layout);
    let bundle = project.path("bundle");
    let tree = layout.tree(&bundle);
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["hello"]);
    let output = run_bundle(&bundle);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "hello from a static binary"
    );
}
