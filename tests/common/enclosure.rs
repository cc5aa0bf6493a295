//! A control group around a run: every process that comes of it stays in, whoever adopts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{User, skip};

/// A control group without any limits; removed when dropped.
#[derive(Debug)]
pub struct Enclosure(PathBuf);

impl Enclosure {
    /// A new one; `None`, with a printed reason, if none can be made.
    pub fn new() -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !User::is_root() {
            skip("only root can make control groups");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("enclosure-{}-{number}", std::process::id());
        let places = ["unified", "", "pids"].map(|place| Path::new("/sys/fs/cgroup").join(place));
        let made = places
            .into_iter()
            .filter(|place| place.join("cgroup.procs").exists())
            .map(|place| place.join(&name))
            .find(|group| fs::create_dir(group).is_ok());
        if made.is_none() {
            skip("no control group can be made");
        }
        made.map(Self)
    }

    /// A command line that runs another inside.
    pub(super) fn command(&self, user: Option<&User>) -> Command {
        let mut command = Command::new("sh");
        let script = "echo $$ > \"$1\" && shift && exec \"$@\"";
        command.args(["-c", script, "sh"]);
        command.arg(self.0.join("cgroup.procs"));
        if let Some(user) = user {
            let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
            command.args([
                "setpriv",
                "--reuid",
                &uid,
                "--regid",
                &gid,
                "--clear-groups",
            ]);
        }
        command
    }

    /// The processes inside: number, name and state.
    pub fn processes(&self) -> Vec<String> {
        let members = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        let describe = |id: &str| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let lines: Vec<&str> = status.lines().take(3).collect();
            // What a system without a working init never reaps is as good as gone.
            (!status.contains("State:\tZ")).then(|| format!("{id}: {}", lines.join(", ")))
        };
        members.lines().filter_map(describe).collect()
    }

    /// Waits until nobody is left; those who are when time is up.
    pub fn wait_until_empty(&self, longest: Duration) -> Vec<String> {
        let end = Instant::now() + longest;
        loop {
            let left = self.processes();
            if left.is_empty() || Instant::now() > end {
                return left;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
