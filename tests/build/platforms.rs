//! Images of several platforms: what is shared, what is emulated, what is refused.

use std::fs;

use super::base::busybox_for;
use super::image::{Layout, run_bundle, tool};
use crate::common::{Project, User, skip};

/// A cross-built image: one stage for the machine that builds, one for each that is built for.
const DOCKERFILE: &str = "
    FROM --platform=$BUILDPLATFORM busybox AS tools
    RUN uname -m > /built-on

    FROM scratch
    ARG TARGETARCH
    COPY busybox-${TARGETARCH} /bin/busybox
    RUN [\"/bin/busybox\", \"sh\", \"-c\", \"/bin/busybox uname -m > /machine\"]
    COPY --from=tools /built-on /
    CMD [\"/bin/busybox\", \"cat\", \"/machine\"]
";

/// A project with a busybox of this processor and one of arm64; `None` where commands of arm64
/// cannot run, and the reason is printed.
fn cross_project() -> Option<Project> {
    let emulator = fs::read_to_string("/proc/sys/fs/binfmt_misc/qemu-aarch64");
    if std::env::consts::ARCH != "x86_64" || !emulator.is_ok_and(|text| text.starts_with("enabled"))
    {
        skip("needs qemu-user-static in binfmt_misc on amd64: scripts/test installs it");
        return None;
    }
    let mut project = Project::with_busybox()?.dockerfile(DOCKERFILE);
    for (architecture, path) in [
        ("amd64", "/bin/busybox".into()),
        ("arm64", busybox_for("arm64")),
    ] {
        let name = format!("busybox-{architecture}");
        project = project
            .file(&name, fs::read(path).unwrap())
            .mode(&name, 0o755);
    }
    Some(project)
}

#[test]
fn commands_of_another_processor_run_through_an_emulator() {
    let Some(project) = cross_project() else {
        return;
    };
    let layout = project.path("layout");
    let spec = format!("type=oci,dest={},tar=false", layout.display());
    let built = project
        .build()
        .words(["--platform=linux/amd64,linux/arm64", "--tag=cross"])
        .output_to(&spec)
        .success();
    // What is not for one platform is done once, and where the builder runs.
    let shared = "[linux/amd64 tools 2/2] RUN uname -m > /built-on";
    built
        .ran(shared)
        .never("[linux/arm64 tools 2/2] RUN uname -m > /built-on");
    for (architecture, machine) in [("amd64", "x86_64\n"), ("arm64", "aarch64\n")] {
        let single = project.path(architecture);
        let source = format!("oci:{}:latest", layout.display());
        let target = format!("oci:{}:latest", single.display());
        let wanted = format!("--override-arch={architecture}");
        tool("skopeo", &[&wanted, "copy", &source, &target]);
        let image = Layout::at(&single);
        assert_eq!(image.config()["architecture"], architecture);
        let bundle = project.path(&format!("bundle-{architecture}"));
        let root = image.unpack(&bundle);
        assert_eq!(fs::read_to_string(root.join("machine")).unwrap(), machine);
        assert_eq!(
            fs::read_to_string(root.join("built-on")).unwrap(),
            "x86_64\n"
        );
        let output = run_bundle(&bundle);
        assert_eq!(String::from_utf8_lossy(&output.stdout), machine);
    }
    project.is_sound();
}

#[test]
fn an_emulated_command_gives_users_the_same_image() {
    let (Some(project), Some(user)) = (cross_project(), User::with_subuids()) else {
        return;
    };
    let words = ["--platform=linux/arm64", "--tag=cross"];
    let digest = project.build().words(words).success().digest();
    let Some(other) = cross_project() else {
        return;
    };
    let other = other.owned_by(user);
    assert_eq!(other.build().words(words).success().digest(), digest);
}

#[test]
fn a_processor_without_emulator_is_named_with_what_to_install() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile("FROM scratch\nCOPY . /\nRUN [\"/bin/true\"]\n");
    let refused = project.build().flag("--platform=linux/vax").failure(3);
    refused
        .says("Dockerfile:3")
        .says("vax")
        .says("qemu-user-static");
}
