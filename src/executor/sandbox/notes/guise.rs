//! Doing something as a caller: with its ids, its groups and its capabilities.

use nix::unistd::{setfsgid, setfsuid};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySets, capabilities, set_capabilities, set_thread_groups};

use super::caller::Caller;

/// For as long as it lives, this thread is to file systems what a caller is.
#[derive(Debug)]
pub(super) struct Guise {
    own: CapabilitySets,
    groups: Vec<Gid>,
    uid: Uid,
    gid: Gid,
}

impl Guise {
    /// Puts it on.
    pub(super) fn of(caller: &Caller) -> Result<Self, Errno> {
        let guise = Self {
            own: capabilities(None)?,
            groups: rustix::process::getgroups()?,
            uid: rustix::process::geteuid(),
            gid: rustix::process::getegid(),
        };
        let groups: Vec<Gid> = caller.groups.iter().copied().map(Gid::from_raw).collect();
        if groups != guise.groups {
            change_groups(&groups)?;
        }
        let (uid, gid) = caller.owner;
        setfsgid(gid.into());
        setfsuid(uid.into());
        // The change of user took some away.
        let effective = caller.capabilities & guise.own.permitted;
        let CapabilitySets {
            permitted,
            inheritable,
            ..
        } = guise.own;
        let sets = CapabilitySets {
            effective,
            permitted,
            inheritable,
        };
        set_capabilities(None, sets)?;
        Ok(guise)
    }
}

impl Drop for Guise {
    fn drop(&mut self) {
        // First what allows the rest.
        let _ = set_capabilities(None, self.own);
        setfsuid(self.uid.as_raw().into());
        setfsgid(self.gid.as_raw().into());
        let _ = set_capabilities(None, self.own);
        let _ = change_groups(&self.groups);
    }
}

/// Changes the other groups of this thread; with a single id there are none to choose from.
fn change_groups(groups: &[Gid]) -> Result<(), Errno> {
    match set_thread_groups(groups) {
        Err(Errno::PERM) if super::super::rootfs::has_single_id() => Ok(()),
        changed => changed,
    }
}
