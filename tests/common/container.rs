//! Containers as Docker, podman, CRI-O and Kubernetes start them by default: their capabilities, their
//! seccomp profiles, masked paths.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{User, skip};

/// Docker's 14; containerd gives Kubernetes the same.
const DOCKER: [&str; 14] = [
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

/// Those of Docker's that podman does not give.
const NOT_PODMAN: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW"];

/// Those of podman's that CRI-O does not give.
const NOT_CRI_O: [&str; 2] = ["CAP_SETFCAP", "CAP_SYS_CHROOT"];

/// Where the store is in a container without a volume.
const STORE: &str = "/store";

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

/// A seccomp profile: a file of the test data, and calls that are refused besides.
#[derive(Clone, Debug)]
struct Profile {
    file: &'static str,
    refused: &'static [&'static str],
}

/// A way to start containers.
#[derive(Clone, Debug)]
pub struct Container {
    runtime: PathBuf,
    capabilities: Vec<&'static str>,
    profile: Option<Profile>,
    /// Whether paths in /proc and /sys are covered.
    is_covered: bool,
    user: Option<User>,
    /// The ids of its user namespace: inside, outside, how many; it has none of its own if empty.
    ids: Vec<[u32; 3]>,
    /// Whether its root is an overlay with the store in it.
    has_own_store: bool,
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
            capabilities: DOCKER.to_vec(),
            profile: Some(Profile {
                file: "seccomp-docker-default.json",
                refused: &[],
            }),
            is_covered: true,
            user: None,
            ids: Vec::new(),
            has_own_store: false,
        })
    }

    /// As podman's default.
    pub fn podman_default() -> Option<Self> {
        let mut podman = Self::docker_default()?.without(&NOT_PODMAN);
        podman.profile = Some(Profile {
            file: "seccomp-podman-default.json",
            refused: &[],
        });
        Some(podman)
    }

    /// As CRI-O's default: podman's profile without `unshare`.
    pub fn cri_o_default() -> Option<Self> {
        let mut cri_o = Self::podman_default()?.without(&NOT_CRI_O);
        cri_o.profile = Some(Profile {
            file: "seccomp-podman-default.json",
            refused: &["unshare"],
        });
        Some(cri_o)
    }

    /// As Kubernetes' default: no profile at all.
    pub fn kubernetes_default() -> Option<Self> {
        let mut pod = Self::docker_default()?;
        pod.profile = None;
        Some(pod)
    }

    /// With all that a remedy of the doctor's gives it: `--cap-add SYS_ADMIN` and `unconfined`.
    pub fn unconfined(mut self) -> Self {
        self.capabilities.push("CAP_SYS_ADMIN");
        self.profile = None;
        self.is_covered = false;
        self
    }

    /// With one capability more.
    pub fn with(mut self, capability: &'static str) -> Self {
        self.capabilities.push(capability);
        self
    }

    /// Without some capabilities.
    pub fn without(mut self, names: &[&str]) -> Self {
        self.capabilities.retain(|name| !names.contains(name));
        self
    }

    /// Without any capability.
    pub fn without_capabilities(mut self) -> Self {
        self.capabilities.clear();
        self
    }

    /// As an ordinary user of the container.
    pub fn for_user(mut self, user: &User) -> Self {
        self.user = Some(user.clone());
        self
    }

    /// Started by an ordinary user: root of a user namespace with these ids (inside, outside, how many).
    pub fn with_ids(mut self, ids: &[[u32; 3]]) -> Self {
        self.ids = ids.to_vec();
        self
    }

    /// Without a volume: the store is on the container's own root, an overlay.
    pub fn with_own_store(mut self) -> Self {
        self.has_own_store = true;
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
        self.make_root(&bundle);
        let config = self.config(directory, words, variables);
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        // A mixed hierarchy of cgroups is in the way of some runtimes; the container needs none.
        let script = "umount /sys/fs/cgroup/unified 2>/dev/null; \
            if test -d \"$3/upper\"; then cd \"$3\" && \
            mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work rootfs || exit 1; fi; \
            case $1 in *crun) set -- \"$1\" --cgroup-manager=disabled \"$2\" \"$3\";; \
            *) set -- \"$1\" \"\" \"$2\" \"$3\";; esac; \
            exec \"$1\" ${2:+\"$2\"} run --bundle \"$4\" \"$3\"";
        let id = format!("builder-test-{}", std::process::id());
        let name = directory
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]);
        command.arg(&self.runtime).arg(format!("{id}-{name}"));
        command.arg(bundle);
        command
    }

    /// Makes the container's root, or its layers; they are its own root's.
    fn make_root(&self, bundle: &Path) {
        let (uid, gid) = match (&self.user, self.ids.first()) {
            (Some(user), _) => (user.uid, user.gid),
            (None, Some([_, outside, _])) => (*outside, *outside),
            (None, None) => (0, 0),
        };
        let layers = ["rootfs", "lower", "lower/store", "upper", "work"];
        let count = if self.has_own_store { layers.len() } else { 1 };
        for name in &layers[..count] {
            let path = bundle.join(name);
            fs::create_dir_all(&path).unwrap();
            if *name == "lower/store" || !self.ids.is_empty() {
                chown(&path, Some(uid), Some(gid)).unwrap();
            }
        }
    }

    fn config(&self, directory: &Path, words: &[String], variables: &[(String, String)]) -> Value {
        let mut variables = variables.to_vec();
        if self.has_own_store {
            variables.retain(|(name, _)| name != "BUILDER_ROOT");
            variables.push(("BUILDER_ROOT".to_owned(), STORE.to_owned()));
        }
        let env: Vec<String> = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut kinds = vec!["pid", "ipc", "uts", "mount"];
        if !self.ids.is_empty() {
            kinds.push("user");
        }
        let namespaces: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        let own: &[&str] = match self.user {
            Some(_) => &[],
            None => &self.capabilities,
        };
        let user = self
            .user
            .as_ref()
            .map_or((0, 0), |user| (user.uid, user.gid));
        let mut config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": user.0, "gid": user.1 },
                "args": words,
                "env": env,
                "cwd": directory,
                "capabilities": {
                    "bounding": self.capabilities, "effective": own, "permitted": own,
                },
            },
            "root": { "path": "rootfs" },
            "hostname": "pod",
            "mounts": mounts(directory),
            "linux": {
                "namespaces": namespaces,
            },
        });
        if !self.ids.is_empty() {
            let map = self.ids.iter().map(|[inside, outside, count]| {
                json!({ "containerID": inside, "hostID": outside, "size": count })
            });
            let map: Vec<Value> = map.collect();
            config["linux"]["uidMappings"] = json!(map);
            config["linux"]["gidMappings"] = json!(map);
        }
        if self.is_covered {
            config["linux"]["maskedPaths"] = json!(MASKED);
            config["linux"]["readonlyPaths"] = json!(READ_ONLY);
        }
        if let Some(profile) = &self.profile {
            let has_chroot = self.capabilities.contains(&"CAP_SYS_CHROOT");
            config["linux"]["seccomp"] = profile.read(has_chroot);
        }
        config
    }
}

impl Profile {
    /// The profile as a runtime gives it to a container with that capability, or without.
    fn read(&self, has_chroot: bool) -> Value {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
        let mut profile: Value =
            serde_json::from_slice(&fs::read(data.join(self.file)).unwrap()).unwrap();
        for rule in profile["syscalls"].as_array_mut().unwrap() {
            let names = rule["names"].as_array_mut().unwrap();
            let is_refused =
                |name: &str| self.refused.contains(&name) || (name == "chroot" && !has_chroot);
            names.retain(|name| !is_refused(name.as_str().unwrap()));
        }
        profile
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
    // Not what the runtime mounts in the bundle there: a second, uncovered /proc.
    mounts.push(json!({ "destination": directory, "type": "bind", "source": directory, "options": ["bind", "rw"] }));
    mounts
}
