//! Who asks a supervisor, and doing things with no more rights than they have.

use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::sys::supervise::Call;

/// The user and group that a thread shows in /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    uid: u32,
    gid: u32,
}

impl Asker {
    pub(super) fn of(call: &Call) -> Self {
        // Its effective ids; root's if it may not be looked into.
        let status = rustix::fs::stat(format!("/proc/{}", call.thread));
        status.map_or(Self { uid: 0, gid: 0 }, |status| Self {
            uid: status.st_uid,
            gid: status.st_gid,
        })
    }

    /// Does something with the caller's user and group: without CAP_SYS_PTRACE nobody else may
    /// look into it.
    pub(super) fn as_itself<T>(self, action: impl FnOnce() -> T) -> T {
        if (self.uid, self.gid) == (0, 0) {
            return action();
        }
        let _ = become_user(self.uid, self.gid);
        let done = action();
        become_root();
        done
    }
}

/// All that the kernel asks about when a thread opens or changes a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    effective: CapabilitySet,
    permitted: CapabilitySet,
}

impl Rights {
    /// Those of a process or thread; everybody may read them.
    pub(super) fn of(thread: u32) -> Result<Self, Errno> {
        let status = std::fs::read_to_string(format!("/proc/{thread}/status"));
        Self::of_status(&status.map_err(|_| Errno::SRCH)?).ok_or(Errno::SRCH)
    }

    fn of_status(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        // The fourth is the one for files.
        let id = |key: &str| value(key)?.split_whitespace().nth(3)?.parse().ok();
        let set = |key: &str| {
            let bits = u64::from_str_radix(value(key)?.trim(), 16).ok()?;
            Some(CapabilitySet::from_bits_retain(bits))
        };
        let groups = value("Groups:")?.split_whitespace();
        Some(Self {
            uid: id("Uid:")?,
            gid: id("Gid:")?,
            groups: groups.map(str::parse).collect::<Result<_, _>>().ok()?,
            effective: set("CapEff:")?,
            permitted: set("CapPrm:")?,
        })
    }

    /// Whether the kernel would let who has these look into a process that has those.
    pub(super) fn reach(&self, other: &Self) -> bool {
        self.effective.contains(other.permitted)
    }

    /// Does something with these rights and no others. Other threads keep theirs.
    pub(super) fn act<T>(&self, action: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        let own = rustix::thread::capabilities(None)?;
        let groups =
            nix::unistd::getgroups().map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
        let groups: Vec<Gid> = groups
            .iter()
            .map(|group| Gid::from_raw(group.as_raw()))
            .collect();
        let theirs: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        let done = rustix::thread::set_thread_groups(&theirs)
            .and_then(|()| become_user(self.uid, self.gid))
            .and_then(|()| {
                rustix::thread::set_capabilities(
                    None,
                    CapabilitySets {
                        effective: self.effective & own.permitted,
                        permitted: own.permitted,
                        inheritable: CapabilitySet::empty(),
                    },
                )
            })
            .and_then(|()| action());
        become_root();
        // As it was: a process that comes back to root has all that it is permitted.
        let _ = rustix::thread::set_capabilities(None, own);
        let _ = rustix::thread::set_thread_groups(&groups);
        done
    }
}

/// Takes a user's ids on; root's are kept aside.
fn become_user(uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(uid, uid, Uid::ROOT)
}

fn become_root() {
    let back = rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
        .and_then(|()| rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT));
    debug_assert!(back.is_ok(), "the saved ids are root's");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_rights_there_are() {
        let text = "Name:\tUid: 7\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t9 10 \n\
            CapPrm:\t0000000000000003\nCapEff:\t0000000000000001\n";
        let rights = Rights::of_status(text).unwrap();
        assert_eq!((rights.uid, rights.gid), (4, 8));
        assert_eq!(rights.groups, [9, 10]);
        assert_eq!(rights.effective, CapabilitySet::CHOWN);
        assert!(!rights.reach(&rights), "it has given something up");
        assert_eq!(Rights::of_status("Name:\tx\n"), None);
    }
}
