//! Limits of memory, processors and processes: a control group for one step, of version 2 or 1.
//!
//! Where none can be made, the step runs without, and a notice says so.

use super::janitor;
use super::spec::{Exit, Limits, Notice};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Microseconds in which a processor's share is counted: the kernel's and Docker's.
const PERIOD_US: u64 = 100_000;

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// The magic number of version 2 in statfs.
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// One limit: the controller, its file and value in both versions.
struct Setting {
    what: &'static str,
    controller: &'static str,
    version2: (&'static str, String),
    version1: Vec<(&'static str, String)>,
}

/// Where groups are made.
struct Place<'a> {
    /// The text of /proc/self/cgroup.
    membership: &'a str,
    name: String,
    /// `--cgroup-parent`
    parent: Option<&'a str>,
    announce: &'a dyn Fn(&Path),
}

/// The groups of one step; removed when dropped.
#[derive(Debug, Default)]
pub(super) struct Cgroup {
    /// One directory of version 2, or one for each controller of version 1.
    pub(super) directories: Vec<PathBuf>,
    /// The file that counts kills for want of memory.
    kills: Option<PathBuf>,
}

impl Cgroup {
    /// Makes the groups that `limits` need; none if there are no limits. `announce` is given the name
    /// of each before it is made.
    pub(super) fn new(limits: &Limits, announce: &dyn Fn(&Path)) -> (Self, Vec<Notice>) {
        let is_version2 = is_version2();
        let mut settings = settings(limits);
        if limits.cgroup_parent.is_some() {
            add_memberships(&mut settings, is_version2);
        }
        if settings.is_empty() {
            return (Self::default(), Vec::new());
        }
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let place = Place {
            membership: &membership,
            name: unique_name(),
            parent: limits.cgroup_parent.as_deref(),
            announce,
        };
        if is_version2 {
            Self::version2(&settings, &place)
        } else {
            Self::version1(&settings, &place)
        }
    }

    fn version2(settings: &[Setting], place: &Place<'_>) -> (Self, Vec<Notice>) {
        let own = own_path(place.membership, "").unwrap_or("/");
        let parents = if let Some(parent) = place.parent {
            vec![below(MOUNT, parent)]
        } else {
            // A group with processes cannot hand controllers to children; its parent may.
            let own = below(MOUNT, own);
            let above = own.parent().filter(|above| above.starts_with(MOUNT));
            let above = above.map(Path::to_owned);
            std::iter::once(own).chain(above).collect()
        };
        let mut failure = io::Error::from_raw_os_error(libc::ENOENT);
        for parent in parents {
            // The one that was named may not be there yet.
            let _ = fs::create_dir_all(&parent);
            for setting in settings.iter().filter(|it| !it.controller.is_empty()) {
                let enable = format!("+{}", setting.controller);
                let _ = fs::write(parent.join("cgroup.subtree_control"), enable);
            }
            let directory = parent.join(&place.name);
            (place.announce)(&directory);
            if let Err(error) = fs::create_dir(&directory) {
                failure = error;
                continue;
            }
            let group = Self {
                kills: Some(directory.join("memory.events")),
                directories: vec![directory.clone()],
            };
            // All of the step dies together, not just the process that asked last.
            let _ = fs::write(directory.join("memory.oom.group"), "1");
            let mut values = settings.iter().map(|setting| &setting.version2);
            let set = values.try_for_each(|(file, value)| match *file {
                "" => Ok(()),
                file => fs::write(directory.join(file), value),
            });
            match set {
                Ok(()) => return (group, Vec::new()),
                Err(error) => failure = error,
            }
        }
        let notices = settings.iter().map(|setting| setting.notice(&failure));
        (Self::default(), notices.collect())
    }

    fn version1(settings: &[Setting], place: &Place<'_>) -> (Self, Vec<Notice>) {
        let mut group = Self::default();
        let mut notices = Vec::new();
        for setting in settings {
            let own = own_path(place.membership, setting.controller);
            let hierarchy = format!("{MOUNT}/{}", setting.controller);
            let directory = below(&hierarchy, place.parent.or(own).unwrap_or("/"));
            let directory = directory.join(&place.name);
            (place.announce)(&directory);
            let made = fs::create_dir_all(&directory);
            if made.is_ok() {
                group.directories.push(directory.clone());
            }
            let set = made.and_then(|()| {
                setting
                    .version1
                    .iter()
                    .try_for_each(|(file, value)| fs::write(directory.join(file), value))
            });
            match set {
                Ok(()) if setting.controller == "memory" => {
                    group.kills = Some(directory.join("memory.oom_control"));
                }
                Ok(()) => (),
                Err(error) => notices.push(setting.notice(&error)),
            }
        }
        (group, notices)
    }

    /// Tells whether a failure was for want of memory, and says so.
    pub(super) fn judge(&self, exit: Exit) -> Exit {
        let failed = !matches!(exit, Exit::Code(0) | Exit::TimedOut);
        if failed && self.has_killed() {
            return Exit::OutOfMemory;
        }
        exit
    }

    /// Whether the kernel has killed something here for want of memory.
    pub(super) fn has_killed(&self) -> bool {
        let text = self.kills.as_ref().map(fs::read_to_string);
        matches!(text, Some(Ok(text)) if kills(&text) > 0)
    }
}

impl Drop for Cgroup {
    /// Removes the groups. Their processes are gone, but the kernel may still be counting them off.
    fn drop(&mut self) {
        for directory in &self.directories {
            janitor::remove(directory);
        }
    }
}

impl Setting {
    /// No limit: to be in the group that `--cgroup-parent` names is all.
    fn membership(controller: &'static str) -> Self {
        Self {
            what: "",
            controller,
            version2: ("", String::new()),
            version1: Vec::new(),
        }
    }

    fn notice(&self, error: &io::Error) -> Notice {
        let why = error.to_string();
        if self.version1.is_empty() {
            return Notice::NotInGroup { why };
        }
        Notice::NotLimited {
            what: self.what.to_owned(),
            why,
        }
    }
}

fn settings(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        let bytes = bytes.to_string();
        settings.push(Setting {
            what: "memory",
            controller: "memory",
            version2: ("memory.max", bytes.clone()),
            version1: vec![("memory.limit_in_bytes", bytes)],
        });
    }
    if let Some(milli) = limits.cpus_milli {
        // The kernel refuses less than a millisecond of a period.
        let quota = (milli.saturating_mul(PERIOD_US) / 1000).max(1000);
        settings.push(Setting {
            what: "processors",
            controller: "cpu",
            version2: ("cpu.max", format!("{quota} {PERIOD_US}")),
            version1: vec![
                ("cpu.cfs_period_us", PERIOD_US.to_string()),
                ("cpu.cfs_quota_us", quota.to_string()),
            ],
        });
    }
    if let Some(count) = limits.pids_max {
        settings.push(Setting {
            what: "processes",
            controller: "pids",
            version2: ("pids.max", count.to_string()),
            version1: vec![("pids.max", count.to_string())],
        });
    }
    settings
}

/// What puts a step into the group that was named, whatever its limits are: in version 1 each
/// controller has groups of its own.
fn add_memberships(settings: &mut Vec<Setting>, is_version2: bool) {
    let controllers: &[&str] = match is_version2 {
        true if settings.is_empty() => &[""],
        true => &[],
        false => &["memory", "cpu", "pids"],
    };
    for controller in controllers {
        if settings.iter().all(|known| known.controller != *controller) {
            settings.push(Setting::membership(controller));
        }
    }
}

fn is_version2() -> bool {
    rustix::fs::statfs(MOUNT).is_ok_and(|status| status.f_type == CGROUP2_MAGIC)
}

/// A name that no other step on this machine has.
fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("builder-{}-{number}", std::process::id())
}

/// The group that this process is in, by /proc/self/cgroup: of a controller of version 1, or of
/// version 2 if `controller` is empty.
fn own_path<'a>(membership: &'a str, controller: &str) -> Option<&'a str> {
    membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        controllers
            .split(',')
            .any(|name| name == controller)
            .then_some(path)
    })
}

/// `path`, absolute, below `root`; parts that would leave it are dropped.
fn below(root: &str, path: &str) -> PathBuf {
    let parts = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."));
    parts.fold(PathBuf::from(root), |path, part| path.join(part))
}

/// The number after `oom_kill` in memory.events or memory.oom_control.
fn kills(text: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_is_read_in_both_versions() {
        let hybrid = "12:pids:/user.slice\n4:cpu,cpuacct:/a\n0::/user.slice/session-1.scope\n";
        assert_eq!(own_path(hybrid, "pids"), Some("/user.slice"));
        assert_eq!(own_path(hybrid, "cpu"), Some("/a"));
        assert_eq!(own_path(hybrid, ""), Some("/user.slice/session-1.scope"));
        assert_eq!(own_path(hybrid, "memory"), None);
    }

    #[test]
    fn groups_stay_below_the_mount() {
        assert_eq!(below("/c", "/a/b"), PathBuf::from("/c/a/b"));
        assert_eq!(below("/c", "../../x/./y/"), PathBuf::from("/c/x/y"));
        assert_eq!(below("/c", "/"), PathBuf::from("/c"));
    }

    #[test]
    fn kills_are_counted() {
        assert_eq!(kills("low 0\noom 3\noom_kill 2\noom_group_kill 1\n"), 2);
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"), 1);
        assert_eq!(kills(""), 0);
    }

    #[test]
    fn limits_become_the_kernels_units() {
        let limits = Limits {
            memory_bytes: Some(1 << 20),
            cpus_milli: Some(1500),
            pids_max: Some(9),
            ..Limits::default()
        };
        let written: Vec<String> = settings(&limits)
            .iter()
            .map(|setting| format!("{}={}", setting.version2.0, setting.version2.1))
            .collect();
        assert_eq!(
            written,
            ["memory.max=1048576", "cpu.max=150000 100000", "pids.max=9"]
        );
        assert!(settings(&Limits::default()).is_empty());
    }
}
