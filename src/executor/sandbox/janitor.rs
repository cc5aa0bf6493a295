//! Removes control groups whose builder was killed: a directory outlives the process that made it.
//!
//! One process a build, started with the first group. It is told the name of each group before that
//! is made, and waits for the end of the builder; what is still there then, it removes.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{message, outer};

/// The first argument of the janitor.
pub(super) const JANITOR: &str = "__builder-sandbox-janitor";

/// How often, and how long apart, it tries: members of a group die a moment after the builder.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// The builder's side.
#[derive(Debug, Default)]
pub(super) struct Janitor(Mutex<Option<Process>>);

#[derive(Debug)]
struct Process {
    child: Child,
    control: Option<UnixStream>,
}

impl Janitor {
    /// Tells it of a group that is about to be made. Without a janitor, groups of a killed builder
    /// stay; nothing else is different.
    pub(super) fn tell(&self, executable: &Path, group: &Path) {
        let mut process = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if process.is_none() {
            *process = Process::start(executable).ok();
        }
        if let Some(control) = process.as_ref().and_then(|it| it.control.as_ref()) {
            let _ = message::send(control, &group);
        }
    }
}

impl Process {
    fn start(executable: &Path) -> std::io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        let child = Command::new(executable)
            .arg(JANITOR)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            child,
            control: Some(control),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.control.take());
        let _ = self.child.wait();
    }
}

/// The janitor's whole life.
pub(super) fn janitor_main() -> ExitCode {
    let Ok(control) = outer::take_control() else {
        return ExitCode::FAILURE;
    };
    let _ = rustix::thread::set_name(c"builder-janitor");
    // Ctrl-C is for the builder.
    let _ = rustix::process::setsid();
    let mut groups = Vec::new();
    while let Ok(Some(group)) = message::receive::<PathBuf>(&control) {
        groups.push(group);
    }
    for group in groups {
        remove(&group);
    }
    ExitCode::SUCCESS
}

/// Removes a group as soon as it has no members.
pub(super) fn remove(group: &Path) {
    for _ in 0..TRIES {
        match std::fs::remove_dir(group) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => std::thread::sleep(PAUSE),
            _ => return,
        }
    }
}
