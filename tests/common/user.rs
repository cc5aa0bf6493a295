//! Users to run as.

use std::fs;
use std::os::unix::fs::lchown;
use std::path::Path;

use super::skip;

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Number.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
}

impl User {
    /// Whether tests run as root, so that they may run the program as others.
    pub fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// An ordinary user with a range of subordinate ids and newuidmap at hand; `None`, with a
    /// printed reason, if this machine has none or tests do not run as root.
    pub fn with_subuids() -> Option<Self> {
        if !Path::new("/usr/bin/newuidmap").exists() {
            skip("newuidmap is not installed");
            return None;
        }
        Self::find(true, "no user has subordinate ids")
    }

    /// An ordinary user without subordinate ids; `None`, with a printed reason, if tests do not
    /// run as root.
    pub fn without_subuids() -> Option<Self> {
        Self::find(false, "every user has subordinate ids")
    }

    fn find(with_range: bool, reason: &str) -> Option<Self> {
        if !Self::is_root() {
            skip("only root can run as another user");
            return None;
        }
        let ranges = fs::read_to_string("/etc/subuid").unwrap_or_default();
        let has_range = |user: &Self| {
            let owners = ranges.lines().filter_map(|line| line.split(':').next());
            owners
                .into_iter()
                .any(|owner| owner == user.name || owner == user.uid.to_string())
        };
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let mut users = users
            .lines()
            .filter_map(Self::of_line)
            .filter(|user| user.uid != 0);
        // From the end: people and nobody come after the system's own users.
        let found = users.rfind(|user| has_range(user) == with_range);
        if found.is_none() {
            skip(reason);
        }
        found
    }

    /// A line of passwd(5).
    fn of_line(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self { name, uid, gid })
    }

    /// Gives a path to this user.
    pub(super) fn own(&self, path: &Path) {
        lchown(path, Some(self.uid), Some(self.gid)).unwrap();
    }
}
