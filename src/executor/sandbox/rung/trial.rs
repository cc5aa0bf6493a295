//! Trying the rungs, and remembering what was found.

use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::error::SandboxError;
use super::super::parent::Sandbox;
use super::super::spec::{Limits, RootDriver, Rung, SandboxNetwork, SandboxSpec};
use super::enter::{self, Again};
use super::ladder::{Ladder, NOT_ROOT, Standing, Verdict};
use super::remedy;
use crate::failure::Explain as _;

/// The first argument of a process that tries a sandbox; then the directory to try it in.
pub(in super::super) const TRIAL: &str = "__builder-sandbox-trial";

/// Counts up whenever a trial means something else than before.
const VERSION: u32 = 3;

/// A trial that takes longer is a failure.
const TIME_MAX: Duration = Duration::from_secs(20);

/// What is remembered.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    version: u32,
    circumstances: String,
    ladder: Ladder,
}

/// Tells which rungs work for this user with a store in `store`, an existing, writable directory.
///
/// The first call tries (some 20 ms); later ones in the same circumstances read a small file. Only
/// good news is remembered: while nothing works, every call tries, so that a remedy helps at once.
pub fn probe(store: &Path, executable: &Path) -> Ladder {
    let file = memory_file(store);
    let circumstances = circumstances();
    let remembered = fs::read(&file)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Memory>(&bytes).ok())
        .filter(|memory| memory.version == VERSION && memory.circumstances == circumstances);
    if let Some(memory) = remembered {
        return memory.ladder;
    }
    let ladder = probe_anew(store, executable);
    if ladder.best(true) != Rung::None {
        let memory = Memory {
            version: VERSION,
            circumstances,
            ladder,
        };
        remember(&file, &memory);
        return memory.ladder;
    }
    ladder
}

/// As [`probe`], but always tries every rung that makes sense for this user: for `builder doctor`.
pub fn probe_anew(store: &Path, executable: &Path) -> Ladder {
    let is_root = rustix::process::geteuid().is_root();
    let not_tried = |reason: &str| Standing::NotTried {
        reason: reason.to_owned(),
    };
    let not_root = || Standing::Fails {
        reason: NOT_ROOT.to_owned(),
        remedies: Vec::new(),
    };
    let again = |rung| try_again(rung, store, executable);
    let mut root = if is_root {
        try_root(store, executable, RootDriver::Overlay)
    } else {
        not_root()
    };
    // Root of a container may make no namespaces, but a user namespace perhaps, and hand its ids on.
    let (range, single) = if root == Standing::Works {
        let needless = not_tried("root does not need it");
        (needless.clone(), needless)
    } else {
        let range = again(Rung::UserRange);
        let single = match (is_root, &range) {
            (true, Standing::Works) => not_tried("root has more ids"),
            _ => again(Rung::UserSingle),
        };
        (range, single)
    };
    let has_namespaces = [&range, &single].contains(&&Standing::Works);
    if let (true, Standing::Fails { remedies, .. }) = (has_namespaces, &mut root) {
        // Nothing would be gained.
        remedies.clear();
    }
    let chroot = match is_root {
        true if super::super::has_single_id() => Standing::Fails {
            reason: "root has one id here, and files may belong to others".to_owned(),
            remedies: Vec::new(),
        },
        true => try_root(store, executable, RootDriver::Directory),
        false => Standing::Fails {
            reason: NOT_ROOT.to_owned(),
            remedies: remedy::for_user(has_namespaces),
        },
    };
    let verdict = |rung, standing| Verdict { rung, standing };
    Ladder {
        verdicts: vec![
            verdict(Rung::Root, root),
            verdict(Rung::UserRange, range),
            verdict(Rung::UserSingle, single),
            verdict(Rung::Chroot, chroot),
        ],
    }
}

fn try_root(store: &Path, executable: &Path, driver: RootDriver) -> Standing {
    match trial(store, executable, driver) {
        Ok(()) => Standing::Works,
        Err(error) => Standing::Fails {
            reason: explain(&error),
            remedies: match driver {
                RootDriver::Overlay => remedy::for_sandbox(&error),
                RootDriver::Directory => remedy::for_chroot(&error),
            },
        },
    }
}

fn try_again(rung: Rung, store: &Path, executable: &Path) -> Standing {
    let again = Again {
        helper: executable.to_owned(),
        program: executable.to_owned(),
        args: vec!["builder".into(), TRIAL.into(), store.into()],
    };
    let mut child = match enter::start(rung, &again, Stdio::piped()) {
        Ok(child) => child,
        Err(error) => {
            return Standing::Fails {
                reason: explain(&error),
                remedies: error.hints(),
            };
        }
    };
    let mut bytes = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // Our own words: a verdict fits easily.
        let _ = stdout.take(1 << 20).read_to_end(&mut bytes);
    }
    let _ = child.wait();
    match serde_json::from_slice::<Option<SandboxError>>(&bytes) {
        Ok(None) => Standing::Works,
        Ok(Some(error)) => Standing::Fails {
            reason: explain(&error),
            remedies: remedy::for_sandbox_of_user(&error),
        },
        Err(_) => Standing::Fails {
            reason: "the trial ended without a verdict".to_owned(),
            remedies: Vec::new(),
        },
    }
}

/// An error with its causes in one line.
fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// The trial inside of a user namespace: prints the verdict as JSON for [`try_again`].
pub(in super::super) fn trial_main() -> ExitCode {
    use std::io::Write as _;
    let Some(store) = std::env::args_os().nth(2) else {
        return ExitCode::FAILURE;
    };
    let verdict = trial(
        Path::new(&store),
        Path::new("/proc/self/exe"),
        RootDriver::Overlay,
    )
    .err();
    match serde_json::to_vec(&verdict) {
        Ok(bytes) if std::io::stdout().write_all(&bytes).is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Makes a whole sandbox in `store`, with an overlay and all, but starts no command in it.
fn trial(store: &Path, executable: &Path, driver: RootDriver) -> Result<(), SandboxError> {
    let directory = tempfile::Builder::new()
        .prefix(".trial-")
        .tempdir_in(store)
        .map_err(|error| SandboxError::Open {
            path: store.to_owned(),
            source: error.into(),
        })?;
    let make = |name: &str| {
        let path = directory.path().join(name);
        fs::create_dir(&path).map_err(|error| SandboxError::Open {
            path: path.clone(),
            source: error.into(),
        })?;
        Ok(path)
    };
    let spec = SandboxSpec {
        driver,
        shared: Vec::new(),
        lowers: match driver {
            RootDriver::Overlay => vec![make("lower")?],
            RootDriver::Directory => Vec::new(),
        },
        upper: make("upper")?,
        work: make("work")?,
        scratch: make("scratch")?,
        args: Vec::new(),
        env: Vec::new(),
        cwd: "/".to_owned(),
        user: String::new(),
        hostname: "trial".to_owned(),
        hosts: Vec::new(),
        mounts: Vec::new(),
        network: SandboxNetwork::Host,
        insecure: false,
        shm_size: 1 << 20,
        limits: Limits::default(),
        timeout: Some(TIME_MAX),
    };
    Sandbox::new(executable.to_owned()).try_out(&spec)?;
    Ok(())
}

fn memory_file(store: &Path) -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    store.join(format!("isolation-{user}.json"))
}

/// Writes the memory; whoever cannot write it tries again next time.
fn remember(file: &Path, memory: &Memory) {
    let (Ok(bytes), Some(parent)) = (serde_json::to_vec(memory), file.parent()) else {
        return;
    };
    let written = tempfile::NamedTempFile::new_in(parent).and_then(|mut temporary| {
        use std::io::Write as _;
        temporary.write_all(&bytes)?;
        temporary.persist(file).map_err(|error| error.error)
    });
    drop(written);
}

/// Everything on which the verdict may depend and that can change between two builds: the boot,
/// who we are and what confines us, settings, ranges. A dozen small reads.
fn circumstances() -> String {
    let read = |path: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let mut text = read("/proc/sys/kernel/random/boot_id");
    if let Ok(namespace) = fs::read_link("/proc/self/ns/user") {
        let _ = write!(text, " {}", namespace.display());
    }
    for line in read("/proc/self/status").lines() {
        let key = line.split(':').next().unwrap_or("");
        if ["Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"].contains(&key) {
            let _ = write!(text, " {}", line.split_whitespace().collect::<String>());
        }
    }
    for path in [
        "/proc/self/attr/current",
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "/proc/sys/kernel/unprivileged_userns_clone",
        "/proc/sys/user/max_user_namespaces",
    ] {
        let _ = write!(text, " {}", read(path));
    }
    for path in ["/etc/subuid", "/etc/subgid", "/usr/bin/newuidmap"] {
        if let Ok(status) = fs::metadata(path) {
            let (mode, size) = (status.mode(), status.size());
            let _ = write!(
                text,
                " {mode:o}-{size}-{}.{}",
                status.mtime(),
                status.mtime_nsec()
            );
        }
    }
    text
}
