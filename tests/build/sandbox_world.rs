//! The small language of the sandbox's tests: a world with one base layer, specs, runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use builder::executor::sandbox::{
    Cancel, Limits, Outcome, Sandbox, SandboxError, SandboxNetwork, SandboxSpec, Stream,
};

/// A store of our own: a base layer with busybox, and room for uppers.
pub(crate) struct World {
    directory: tempfile::TempDir,
    runs: u32,
}

/// What a command wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) upper: PathBuf,
}

/// The program whose `main` has the hook.
pub(crate) fn executable() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_builder"))
}

/// A runner.
pub(crate) fn sandbox() -> Sandbox {
    Sandbox::new(executable())
}

impl World {
    /// `None`, with a printed reason, for those who cannot make one here: an ordinary user runs all
    /// of this in a user namespace (`sandbox_rungs`).
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: not root; see sandbox_rungs::everything_holds_in_a_user_namespace");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let world = Self { directory, runs: 0 };
        let bin = world.path("base/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        let applets = Command::new("/bin/busybox").arg("--list").output().unwrap();
        for applet in String::from_utf8(applets.stdout).unwrap().lines() {
            if applet != "busybox" {
                symlink("busybox", bin.join(applet)).unwrap();
            }
        }
        fs::create_dir(world.path("base/tmp")).unwrap();
        fs::set_permissions(world.path("base/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        world.file("base/etc/passwd", PASSWD);
        world.file("base/etc/group", GROUP);
        Some(world)
    }

    /// A path of the world.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file and the directories above it.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A shell script on the base layer, with a fresh upper.
    pub(crate) fn spec(&mut self, script: &str) -> SandboxSpec {
        self.runs += 1;
        let run = self.path(&format!("run{}", self.runs));
        for name in ["upper", "work", "scratch"] {
            fs::create_dir_all(run.join(name)).unwrap();
        }
        SandboxSpec {
            driver: builder::executor::sandbox::RootDriver::Overlay,
            shared: Vec::new(),
            lowers: vec![self.path("base")],
            upper: run.join("upper"),
            work: run.join("work"),
            scratch: run.join("scratch"),
            args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec![("PATH".into(), "/bin".into())],
            cwd: "/".into(),
            user: String::new(),
            hostname: "buildkitsandbox".into(),
            hosts: Vec::new(),
            mounts: Vec::new(),
            network: SandboxNetwork::Host,
            insecure: false,
            shm_size: 64 << 20,
            limits: Limits::default(),
            timeout: None,
        }
    }

    /// Runs a script on the base layer.
    pub(crate) fn run(&mut self, script: &str) -> Ran {
        let spec = self.spec(script);
        run(&spec)
    }
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n1000:x:0:0::/:/bin/sh\n\
    app:x:1000:1001::/home/app:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
const GROUP: &str = "root:x:0:\nstaff:x:50:app\napp:x:1001:\nnogroup:x:65534:\n";

/// Runs a spec, which must come to an exit status.
pub(crate) fn run(spec: &SandboxSpec) -> Ran {
    try_run(spec, &Cancel::new().unwrap()).unwrap()
}

/// Runs a spec.
pub(crate) fn try_run(spec: &SandboxSpec, cancel: &Cancel) -> Result<Ran, SandboxError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut output = |stream, bytes: &[u8]| match stream {
        Stream::Stdout => stdout.extend_from_slice(bytes),
        Stream::Stderr => stderr.extend_from_slice(bytes),
    };
    let outcome = sandbox().run(spec, &mut output, cancel)?;
    Ok(Ran {
        outcome,
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
        upper: spec.upper.clone(),
    })
}

/// The error of a spec that must not come to an exit status.
pub(crate) fn error(spec: &SandboxSpec) -> SandboxError {
    try_run(spec, &Cancel::new().unwrap()).unwrap_err()
}

/// Everything below a directory, relative, sorted; directories end in a slash.
pub(crate) fn tree(directory: &Path) -> Vec<String> {
    let mut found: Vec<String> = walkdir::WalkDir::new(directory)
        .min_depth(1)
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(directory).unwrap();
            let slash = if entry.file_type().is_dir() { "/" } else { "" };
            format!("{}{slash}", name.display())
        })
        .collect();
    found.sort();
    found
}
