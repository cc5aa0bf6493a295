//! ONBUILD of images that were built before: by this program and by buildah.

use std::collections::BTreeMap;
use std::process::Command;

use super::base::Registry;
use super::image::Layout;
use crate::common::{Outcome, Project, busybox_layout};

/// Triggers that copy from a stage of the child and mount what it shows.
const TRIGGERS: [&str; 8] = [
    "ARG GREETING=hello",
    "WORKDIR /work",
    "COPY --chown=7:8 input.txt ./",
    "COPY --from=tools /made /from-stage",
    "COPY --from=busybox /etc/passwd /from-image",
    "RUN --mount=type=bind,from=tools,source=/made,target=/mnt/made cat /mnt/made > /from-mount",
    "RUN --mount=type=cache,target=/cache --mount=type=secret,id=token \
     cat /run/secrets/token > /cache/token && wc -c < /cache/token > /from-secret",
    "RUN echo $GREETING from $(pwd) > /from-run",
];

/// A child of an image with triggers.
fn child(base: &str) -> Option<Project> {
    let busybox = busybox_layout()?;
    let project = Project::new()
        .flag(&format!(
            "--build-context=busybox=oci-layout://{}",
            busybox.display()
        ))
        .flag(&format!("--build-context=parent={base}"))
        .file("input.txt", "input\n")
        .dockerfile(
            "
            FROM busybox AS tools
            RUN echo tool > /made
            FROM parent AS child
            COPY input.txt /own
            FROM child
            RUN echo last > /last
            ",
        );
    std::fs::write(project.path("token"), "hush\n").unwrap();
    let secret = format!("--secret=id=token,src={}", project.path("token").display());
    Some(project.flag(&secret))
}

fn build(project: &Project) -> (Outcome, Layout, BTreeMap<String, String>) {
    let (layout, bundle) = (project.path("layout"), project.path("bundle"));
    for path in [&layout, &bundle] {
        drop(std::fs::remove_dir_all(path));
    }
    let spec = format!("type=oci,dest={},tar=false", layout.display());
    let built = project.build().tag("x").arg("GREETING", "good day");
    let built = built.output_to(&spec).success();
    project.is_sound();
    let layout = Layout::at(&layout);
    let tree = layout.tree(&bundle);
    (built, layout, tree)
}

/// What the triggers do, whoever made the image that has them.
fn triggers_are_pulled(base: &str) {
    let Some(project) = child(base) else {
        return;
    };
    let (built, layout, tree) = build(&project);
    for (path, entry) in [
        ("work/input.txt", "file 644 7:8 input"),
        ("from-stage", "file 644 0:0 tool"),
        ("from-mount", "file 644 0:0 tool"),
        ("from-secret", "file 644 0:0 5"),
        ("from-run", "file 644 0:0 good day from /work"),
        ("own", "file 644 0:0 input"),
        ("last", "file 644 0:0 last"),
    ] {
        assert_eq!(tree.get(path).map(String::as_str), Some(entry), "{tree:#?}");
    }
    assert!(tree["from-image"].starts_with("file 644 0:0 root:x:0:0"));
    assert!(!tree.contains_key("cache/token") && !tree.contains_key("mnt/made"));
    // They are pulled once: neither the child nor what stands on it has them.
    let config = layout.config();
    assert_eq!(config["config"].get("OnBuild"), None, "{config}");
    assert_eq!(config["config"]["WorkingDir"], "/work");
    let history = config["history"].to_string();
    assert_eq!(history.matches("/from-mount").count(), 1, "{history}");
    built.ran(&format!("ONBUILD {}", TRIGGERS[3]));
    build(&project).0.all_cached();
}

#[test]
fn triggers_of_an_image_of_ours_are_pulled() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let mut text = "FROM busybox\n".to_owned();
    for trigger in TRIGGERS {
        text.extend(["ONBUILD ", trigger, "\n"]);
    }
    let project = project.dockerfile(&text);
    let base = project.path("base");
    let spec = format!("type=oci,dest={},tar=false", base.display());
    project.build().tag("parent").output_to(&spec).success();
    let config = Layout::at(&base).config();
    assert_eq!(config["config"]["OnBuild"], serde_json::json!(TRIGGERS));
    triggers_are_pulled(&format!("oci-layout://{}", base.display()));
}

#[test]
fn triggers_of_an_image_of_buildah_are_pulled() {
    let Some(busybox) = busybox_layout() else {
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let buildah = |words: &[&str]| {
        let mut command = Command::new("buildah");
        for (flag, name) in [("--root", "root"), ("--runroot", "run")] {
            command.arg(flag).arg(place.path().join(name));
        }
        command.arg("--storage-driver=vfs").args(words);
        let output = command.output().expect("scripts/test installs buildah");
        assert!(output.status.success(), "buildah {words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let container = buildah(&["from", &format!("oci:{}:latest", busybox.display())]);
    for trigger in TRIGGERS {
        // The flag is a list of comma-separated values.
        buildah(&["config", "--onbuild", &format!("\"{trigger}\""), &container]);
    }
    // Triggers are Docker's: OCI's own config has no word for them.
    buildah(&["commit", "--quiet", "--format=docker", &container, "parent"]);
    let registry = Registry::start();
    let name = format!("{}/parent:latest", registry.host);
    let target = format!("docker://{name}");
    buildah(&["push", "--quiet", "--tls-verify=false", "parent", &target]);
    triggers_are_pulled(&format!("docker-image://{name}"));
}

#[test]
fn a_trigger_that_fails_is_told_with_its_image() {
    let Some(busybox) = busybox_layout() else {
        return;
    };
    let context = |name: &str, path: &std::path::Path| {
        format!("--build-context={name}=oci-layout://{}", path.display())
    };
    for (trigger, words) in [
        ("RUN exit 7", "exit code: 7"),
        ("COPY --from=tools /none /x", "/none"),
        ("COPY gone /x", "gone"),
        ("RUN --mount=type=secret,id=token,required true", "token"),
    ] {
        let parent = Project::new().flag(&context("busybox", &busybox));
        let parent = parent.dockerfile(&format!("FROM busybox\nONBUILD {trigger}\n"));
        let base = parent.path("base");
        let spec = format!("type=oci,dest={},tar=false", base.display());
        parent.build().tag("parent").output_to(&spec).success();
        let child = Project::new().flag(&context("parent", &base));
        let child = child.flag(&context("busybox", &busybox));
        let child = child.dockerfile("FROM busybox AS tools\nFROM parent\nRUN true\n");
        let refused = child.build().failure(1);
        refused.says(words).says("Dockerfile:2").never("RUN true");
    }
}
