//! RUN's sandbox on the real kernel, with busybox as the only program of the image.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use builder::executor::sandbox::{
    Cancel, Exit, Limits, Outcome, Sandbox, SandboxError, SandboxNetwork, SandboxSpec, Stream,
};

/// A store of our own: one base layer with busybox, and room for uppers.
struct World {
    directory: tempfile::TempDir,
    next: u32,
}

/// What a command wrote and how it ended.
#[derive(Debug)]
struct Ran {
    outcome: Outcome,
    stdout: String,
    stderr: String,
    upper: PathBuf,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().join("base");
        fs::create_dir_all(base.join("bin")).unwrap();
        fs::copy("/bin/busybox", base.join("bin/busybox")).unwrap();
        for applet in [
            "sh", "cat", "ls", "id", "echo", "grep", "sleep", "stat", "mkdir", "rm",
        ] {
            std::os::unix::fs::symlink("busybox", base.join("bin").join(applet)).unwrap();
        }
        fs::create_dir(base.join("tmp")).unwrap();
        fs::set_permissions(base.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        Self { directory, next: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn spec(&mut self, script: &str) -> SandboxSpec {
        self.next += 1;
        let run = self.path(&format!("run{}", self.next));
        for name in ["upper", "work", "scratch"] {
            fs::create_dir_all(run.join(name)).unwrap();
        }
        SandboxSpec {
            lowers: vec![self.path("base")],
            upper: run.join("upper"),
            work: run.join("work"),
            scratch: run.join("scratch"),
            args: vec!["/bin/sh".into(), "-c".into(), script.into()],
            env: Vec::new(),
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
}

fn sandbox() -> Sandbox {
    Sandbox::new(PathBuf::from(env!("CARGO_BIN_EXE_builder")))
}

fn try_run(spec: &SandboxSpec) -> Result<Ran, SandboxError> {
    let mut outputs: BTreeMap<bool, Vec<u8>> = BTreeMap::new();
    let outcome = sandbox().run(
        spec,
        &mut |stream, bytes| {
            outputs
                .entry(stream == Stream::Stdout)
                .or_default()
                .extend_from_slice(bytes);
        },
        &Cancel::new().unwrap(),
    )?;
    let mut text = |stdout| String::from_utf8(outputs.remove(&stdout).unwrap_or_default()).unwrap();
    Ok(Ran {
        outcome,
        stdout: text(true),
        stderr: text(false),
        upper: spec.upper.clone(),
    })
}

fn run(spec: &SandboxSpec) -> Ran {
    try_run(spec).unwrap()
}

#[test]
fn output_and_exit_code_are_the_commands() {
    let mut world = World::new();
    let ran = run(&world.spec("echo out; echo err >&2; exit 7"));
    assert_eq!(ran.stdout, "out\n");
    assert_eq!(ran.stderr, "err\n");
    assert_eq!(ran.outcome.exit, Exit::Code(7));
}
