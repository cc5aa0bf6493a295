//! The two builders: ours, and Debian's buildah.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::case::Case;
use super::common::{User, busybox_layout, copy_program};
use super::tree::{self, Tree};

/// Later than the times of archive members, so that those survive, and not an old time itself.
const EPOCH: &str = "1700000000";

/// An end of a build: what it made, or what it said.
pub(crate) type Built = Result<(Tree, Value), String>;

/// What is in force for all builds of a test.
#[derive(Debug)]
pub(crate) struct Bench {
    directory: tempfile::TempDir,
    base: PathBuf,
}

impl Bench {
    /// Makes a directory with a store for each builder. Panics if this machine lacks what
    /// `scripts/test` installs.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("builder-diff-")
            .tempdir()
            .unwrap();
        let base = busybox_layout().expect("install busybox-static (scripts/test does)");
        for name in ["store", "contexts", "layouts", "home", "peer"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory, base }
    }

    /// The OCI layout of the base image.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// A path of it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Lets a user own everything.
    pub(crate) fn give(&self, user: &User) {
        use std::os::unix::fs::{PermissionsExt, lchown};
        for entry in walkdir::WalkDir::new(self.directory.path()) {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions();
            lchown(entry.path(), Some(user.uid), Some(user.gid)).unwrap();
            if !entry.path_is_symlink() {
                // A change of owner takes the set-id bits away.
                fs::set_permissions(entry.path(), mode).unwrap();
            }
        }
        let permissions = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.directory.path(), permissions).unwrap();
    }

    /// Builds with us; leaves an OCI layout.
    pub(crate) fn ours(&self, case: &Case, user: Option<&User>) -> Result<tree::Image, String> {
        let program = Path::new(env!("CARGO_BIN_EXE_builder"));
        let mut command = match user {
            None => Command::new(program),
            Some(user) => {
                let copy = self.path("builder");
                copy_program(&copy);
                let mut command = Command::new(copy);
                command.uid(user.uid).gid(user.gid);
                command
            }
        };
        let context = self.path("contexts").join(&case.name);
        let layout = self.path("layouts").join(&case.name);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .env("HOME", self.path("home"))
            .env("BUILDER_ROOT", self.path("store"));
        command.env("SOURCE_DATE_EPOCH", EPOCH);
        command
            .args(["build", "--progress=plain", "-f"])
            .arg(context.join(&case.dockerfile_name));
        command.arg(format!(
            "--build-context=busybox=oci-layout://{}",
            self.base.display()
        ));
        let dest = layout.display();
        command.arg(format!(
            "--output=type=oci,dest={dest},tar=false,compression=uncompressed"
        ));
        command
            .args(words(&case.flags.0, &context))
            .arg(&context)
            .current_dir(self.path("home"));
        let output = command.output().unwrap();
        if output.status.success() {
            Ok(tree::of_layout(&layout))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn buildah(&self) -> Command {
        let mut command = Command::new("buildah");
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .env("HOME", self.path("home"))
            .env("TMPDIR", self.path("home"));
        command.arg("--root").arg(self.path("peer/root"));
        command
            .arg("--runroot")
            .arg(self.path("peer/run"))
            .args(["--storage-driver", "vfs"]);
        command.current_dir(self.path("home"));
        command
    }

    /// Gives the peer the base image under the name that the Dockerfiles use.
    pub(crate) fn prepare_peer(&self) {
        let run = |words: &[&str]| {
            let output = self.buildah().args(words).output();
            let output = output.unwrap_or_else(|error| {
                panic!("buildah cannot be run ({error}): install it (scripts/test does)")
            });
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "buildah {words:?} failed:\n{stderr}"
            );
            String::from_utf8(output.stdout).unwrap()
        };
        let image = run(&["pull", "-q", &format!("oci:{}:latest", self.base.display())]);
        run(&["tag", image.trim(), "localhost/busybox:latest"]);
    }

    /// Builds with buildah; what it made is read out of its storage.
    pub(crate) fn peer(&self, case: &Case) -> Built {
        let context = self.path("contexts").join(&case.name);
        let mut command = self.buildah();
        command.args([
            "bud",
            "-q",
            "--layers=false",
            "--format=docker",
            "--isolation=chroot",
        ]);
        command.arg("--identity-label=false");
        command
            .args(["--pull-never", "-f"])
            .arg(context.join(&case.dockerfile_name));
        command.args(words(&case.flags.1, &context)).arg(&context);
        let output = command.output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let stdout = String::from_utf8(output.stdout).unwrap();
        let id = stdout.lines().last().unwrap().trim().to_owned();
        let root = self.path("peer/root");
        let images = fs::read(root.join("vfs-images/images.json")).unwrap();
        let images: Value = serde_json::from_slice(&images).unwrap();
        let image = images
            .as_array()
            .unwrap()
            .iter()
            .find(|image| image["id"] == id.as_str());
        let layer = image.unwrap()["layer"].as_str().map(str::to_owned);
        let tree = layer.map(|layer| tree::of_directory(&root.join("vfs/dir").join(layer)));
        Ok((
            tree.unwrap_or_default(),
            config(&root.join("vfs-images").join(id)),
        ))
    }
}

/// The config among the data of an image: the only object with a `rootfs`.
fn config(directory: &Path) -> Value {
    fs::read_dir(directory)
        .unwrap()
        .filter_map(|entry| serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).ok())
        .find(|value: &Value| value.get("rootfs").is_some())
        .expect("a config")
}

fn words(flags: &[String], context: &Path) -> Vec<String> {
    let context = context.to_str().unwrap();
    flags
        .iter()
        .map(|flag| flag.replace("{context}", context))
        .collect()
}
