//! Images as others see them: skopeo reads them, umoci unpacks them, crun runs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// An OCI layout that a build wrote.
pub(crate) struct Layout {
    path: PathBuf,
}

/// Runs a tool that must be there and must succeed.
pub(crate) fn tool(name: &str, words: &[&str]) -> Output {
    let output = Command::new(name)
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{name} cannot be run ({error}): scripts/test installs it"));
    assert!(
        output.status.success(),
        "{name} {words:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

impl Layout {
    /// The layout in a directory.
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    fn reference(&self) -> String {
        format!("oci:{}:latest", self.path.display())
    }

    /// The config as skopeo reads it.
    pub(crate) fn config(&self) -> Value {
        let output = tool(
            "skopeo",
            &["inspect", "--config", "--raw", &self.reference()],
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Unpacks it with umoci: the bundle's directory.
    pub(crate) fn unpack(&self, bundle: &Path) -> PathBuf {
        let image = format!("{}:latest", self.path.display());
        tool(
            "umoci",
            &["unpack", "--image", &image, bundle.to_str().unwrap()],
        );
        bundle.join("rootfs")
    }

    /// Unpacks it and lists it: path → `kind mode uid gid [target or content]`.
    pub(crate) fn tree(&self, bundle: &Path) -> BTreeMap<String, String> {
        list(&self.unpack(bundle))
    }
}

/// Lists a directory with what matters of each entry.
pub(crate) fn list(root: &Path) -> BTreeMap<String, String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            let metadata = path.symlink_metadata().unwrap();
            let (mode, uid, gid) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            let kind = if metadata.is_dir() {
                pending.push(path);
                format!("dir {mode:o} {uid}:{gid}")
            } else if metadata.is_symlink() {
                format!("link -> {}", std::fs::read_link(&path).unwrap().display())
            } else {
                let content = std::fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&content[..content.len().min(60)]).into_owned();
                format!("file {mode:o} {uid}:{gid} {}", text.trim_end())
            };
            found.insert(name, kind);
        }
    }
    found
}

/// Runs the command of an unpacked bundle with crun, without terminal and own cgroup.
pub(crate) fn run_bundle(bundle: &Path) -> Output {
    let config = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    spec["process"]["terminal"] = Value::from(false);
    std::fs::write(&config, spec.to_string()).unwrap();
    let id = format!(
        "builder-test-{}-{}",
        std::process::id(),
        bundle.display().to_string().len()
    );
    crun(bundle, &id)
        .output()
        .expect("crun is installed by scripts/test")
}

/// `crun run` in a mount namespace of its own: crun refuses hosts with cgroup v1 and v2 side by
/// side, so the v2 part is hidden from it.
pub(crate) fn crun(bundle: &Path, id: &str) -> Command {
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; \
                  exec crun --cgroup-manager=disabled run --bundle \"$0\" \"$1\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .arg(bundle)
        .arg(id);
    command
}
