//! `chown`, noted.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::{Notes, Noting, descriptor, device, low};
use crate::executor::sandbox::seccomp::Owning;
use crate::executor::sandbox::user::Identity;
use crate::sys::supervise::{Answer, Call};
use crate::tree::{
    OWNER_NOTE, SPECIAL_OWNER_NOTE, owner_note, owner_of_note, special_owner_note,
    special_owner_of_note,
};

/// "Leave it as it is" for chown(2).
const KEEP: u32 = u32::MAX;

impl Notes {
    /// Notes the owner that a call gives a file.
    pub(super) fn change_owner(&self, call: &Call, number: u32) -> Result<Answer, Errno> {
        let owning = Owning::HERE;
        let [first, second, third, fourth, fifth, _] = call.args;
        let (place, owner) = if number == owning.fchown {
            let place = self.processes.number(call, descriptor(first));
            (place, (low(second), low(third)))
        } else if number == owning.chown || number == owning.lchown {
            let follow = number == owning.chown;
            let place = self.processes.named(call, libc::AT_FDCWD, first, follow);
            (place, (low(second), low(third)))
        } else {
            let place = self.processes.at(call, first, second, fifth);
            (place, (low(third), low(fourth)))
        };
        let file = place?.open()?;
        self.still_waiting(call)?;
        if !self.may_give(owner) {
            return Err(Errno::PERM);
        }
        // What has no note was made by the command's user, or by root before.
        let maker = if self.is_user() {
            (self.identity.uid, self.identity.gid)
        } else {
            (0, 0)
        };
        note(&file, owner, maker)?;
        self.are_any.set(true);
        Ok(Answer::Value(0))
    }

    /// Whether the command runs as a user other than root, whom only we tell from root.
    pub(super) fn is_user(&self) -> bool {
        self.noting == Noting::Owners && self.identity.uid != 0
    }

    /// Root gives files to anybody; users only to themselves and their groups.
    fn may_give(&self, (uid, gid): (u32, u32)) -> bool {
        let Identity {
            uid: own,
            gid: group,
            groups,
            ..
        } = &self.identity;
        let is_own = uid == KEEP || uid == *own;
        let is_group = gid == KEEP || gid == *group || groups.contains(&gid);
        !self.is_user() || is_own && is_group
    }
}

/// Whether something is neither a file nor a directory, and is noted in another way.
pub(super) fn is_special(file: &OwnedFd) -> Result<bool, Errno> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    Ok(!matches!(kind, FileType::RegularFile | FileType::Directory))
}

/// The owner that is noted of a file.
pub(super) fn noted(file: &OwnedFd) -> Option<(u32, u32)> {
    let path = path_of(file);
    let mut value = [0; 64];
    match rustix::fs::getxattr(&path, OWNER_NOTE, &mut value[..]) {
        Ok(length) => owner_of_note(&value[..length]),
        Err(_) if is_special(file).ok()? => {
            let length = rustix::fs::getxattr(path, SPECIAL_OWNER_NOTE, &mut value[..]).ok()?;
            special_owner_of_note(&value[..length])
        }
        Err(_) => None,
    }
}

/// Notes a new owner of a file that was `maker`'s if nothing is noted.
fn note(file: &OwnedFd, (uid, gid): (u32, u32), maker: (u32, u32)) -> Result<(), Errno> {
    let old = noted(file).unwrap_or(maker);
    // It comes up into the upper directory and loses its set-id bits and capabilities, the note of
    // a special file among them, as with a real change.
    let (root_user, root_group) = (Some(Uid::ROOT), Some(Gid::ROOT));
    rustix::fs::chownat(file, c"", root_user, root_group, AtFlags::EMPTY_PATH)?;
    let chosen = |new, old| if new == KEEP { old } else { new };
    let new = (chosen(uid, old.0), chosen(gid, old.1));
    let path = path_of(file);
    let flags = XattrFlags::empty();
    if is_special(file)? {
        if new == (0, 0) && !hands_group_on(file) {
            return Ok(());
        }
        let note = special_owner_note(new);
        return match rustix::fs::setxattr(&path, SPECIAL_OWNER_NOTE, &note, flags) {
            // A pipe or a socket without a name: it is in no layer, whoever it belongs to.
            Err(Errno::OPNOTSUPP) => Ok(()),
            noted => noted,
        };
    }
    if new == (0, 0) && device::noted(file).is_none() && !hands_group_on(file) {
        return match rustix::fs::removexattr(&path, OWNER_NOTE) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno),
        };
    }
    rustix::fs::setxattr(&path, OWNER_NOTE, &owner_note(new), flags)
}

/// Whether what is in the directory of a file gets that directory's group if nothing is noted of it.
fn hands_group_on(file: &OwnedFd) -> bool {
    let parent = std::fs::read_link(path_of(file)).ok();
    let parent = parent.as_deref().and_then(Path::parent);
    let state = parent.and_then(|parent| rustix::fs::lstat(parent).ok());
    state.is_some_and(|state| Mode::from_raw_mode(state.st_mode).contains(Mode::SGID))
}

/// The name of an open file, also if it was opened as a place only.
pub(super) fn path_of(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
