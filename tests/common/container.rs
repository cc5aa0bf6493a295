//! A container as Docker and Kubernetes start it by default: their capabilities, their seccomp
//! profile, masked paths; no namespaces or mounts can be made in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{User, skip};

/// Docker's 14.
const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// What the container shows of the machine, so that its programs run in it.
const SHOWN: [&str; 7] = ["/bin", "/etc", "/lib", "/lib32", "/lib64", "/sbin", "/usr"];

const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/scsi",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// A way to start containers.
#[derive(Clone, Debug)]
pub struct Container {
    runtime: PathBuf,
    capabilities: Vec<&'static str>,
    /// Whether it has a seccomp profile, and covered paths in /proc and /sys.
    protected: bool,
}

impl Container {
    /// Containers as Docker's default; `None`, with a printed reason, if nothing here starts any.
    pub fn docker_default() -> Option<Self> {
        if !User::is_root() {
            skip("only root can start a container");
            return None;
        }
        let programs = ["/usr/bin/crun", "/usr/sbin/runc", "/usr/bin/runc"].map(Path::new);
        let Some(runtime) = programs.into_iter().find(|path| path.exists()) else {
            skip("neither crun nor runc is installed");
            return None;
        };
        Some(Self {
            runtime: runtime.to_owned(),
            capabilities: CAPABILITIES.to_vec(),
            protected: true,
        })
    }

    /// With all that a remedy of the doctor's gives it: `--cap-add SYS_ADMIN` and `unconfined`.
    pub fn unconfined(mut self) -> Self {
        self.capabilities.push("CAP_SYS_ADMIN");
        self.protected = false;
        self
    }

    /// Without any capability.
    pub fn without_capabilities(mut self) -> Self {
        self.capabilities.clear();
        self
    }

    /// The command that runs a command line in a container that may write to `directory`.
    pub(super) fn command(
        &self,
        directory: &Path,
        words: &[String],
        variables: &[(String, String)],
    ) -> Command {
        let bundle = directory.join("bundle");
        fs::create_dir_all(bundle.join("rootfs")).unwrap();
        let config = self.config(directory, words, variables);
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        // A mixed hierarchy of cgroups is in the way of some runtimes; the container needs none.
        let script = "umount /sys/fs/cgroup/unified 2>/dev/null; \
            case $1 in *crun) set -- \"$1\" --cgroup-manager=disabled \"$2\" \"$3\";; \
            *) set -- \"$1\" \"\" \"$2\" \"$3\";; esac; \
            exec \"$1\" ${2:+\"$2\"} run --bundle \"$3\" \"$4\"";
        let id = format!("builder-test-{}", std::process::id());
        let name = directory
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]);
        command.arg(&self.runtime).arg(bundle);
        command.arg(format!("{id}-{name}"));
        command
    }

    fn config(&self, directory: &Path, words: &[String], variables: &[(String, String)]) -> Value {
        let profile =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/seccomp-docker-default.json");
        let seccomp: Value = serde_json::from_slice(&fs::read(profile).unwrap()).unwrap();
        let env: Vec<String> = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let namespaces: Vec<Value> = ["pid", "ipc", "uts", "mount"]
            .map(|kind| json!({ "type": kind }))
            .to_vec();
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": words,
                "env": env,
                "cwd": directory,
                "capabilities": {
                    "bounding": self.capabilities, "effective": self.capabilities,
                    "permitted": self.capabilities,
                },
            },
            "root": { "path": "rootfs" },
            "hostname": "pod",
            "mounts": mounts(directory),
            "linux": {
                "namespaces": namespaces,
            },
        });
        if self.protected {
            config["linux"]["maskedPaths"] = json!(MASKED);
            config["linux"]["readonlyPaths"] = json!(READ_ONLY);
            config["linux"]["seccomp"] = seccomp;
        }
        config
    }
}

fn mounts(directory: &Path) -> Vec<Value> {
    let mount = |kind: &str, target: &str, options: &str| {
        let options: Vec<&str> = options.split(',').collect();
        json!({ "destination": target, "type": kind, "source": kind, "options": options })
    };
    let mut mounts = vec![
        mount("proc", "/proc", "nosuid,noexec,nodev"),
        mount("tmpfs", "/dev", "nosuid,strictatime,mode=755,size=65536k"),
        mount(
            "devpts",
            "/dev/pts",
            "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620",
        ),
        mount(
            "tmpfs",
            "/dev/shm",
            "nosuid,noexec,nodev,mode=1777,size=65536k",
        ),
        mount("sysfs", "/sys", "nosuid,noexec,nodev,ro"),
        mount("tmpfs", "/tmp", "nosuid,nodev,mode=1777"),
    ];
    let bind = |path: &Path, mode: &str| json!({ "destination": path, "type": "bind", "source": path, "options": ["rbind", mode] });
    let program = Path::new(env!("CARGO_BIN_EXE_builder")).parent().unwrap();
    let shown = SHOWN.map(Path::new);
    let shown = shown
        .into_iter()
        .chain([program, Path::new(env!("CARGO_TARGET_TMPDIR"))]);
    mounts.extend(
        shown
            .filter(|path| path.exists())
            .map(|path| bind(path, "ro")),
    );
    mounts.push(bind(directory, "rw"));
    mounts
}
