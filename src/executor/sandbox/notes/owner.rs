//! `chown`, noted.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, XattrFlags};
use rustix::io::Errno;

use super::credentials::KEEP;
use super::{Notes, descriptor, device, low};
use crate::executor::sandbox::seccomp::Owning;
use crate::sys::supervise::{Answer, Call};
use crate::tree::{
    OWNER_NOTE, SPECIAL_OWNER_NOTE, note_of_owner, owner_of_note, special_owner_of_note,
};

impl Notes {
    /// Notes the owner that a call gives a file.
    pub(super) fn change_owner(&self, call: &Call, number: u32) -> Result<Answer, Errno> {
        let owning = Owning::HERE;
        let [first, second, third, fourth, fifth, _] = call.args;
        let (place, owner) = if number == owning.fchown {
            let place = self.processes.number(call, descriptor(first));
            (place, (low(second), low(third)))
        } else if number == owning.chown || number == owning.lchown {
            let place = if number == owning.chown {
                self.processes.followed(call, libc::AT_FDCWD, first)
            } else {
                self.processes.named(call, libc::AT_FDCWD, first, false)
            };
            (place, (low(second), low(third)))
        } else {
            let flags = AtFlags::from_bits_retain(low(fifth));
            let place = if flags.intersects(AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW) {
                self.processes.at(call, first, second, fifth)
            } else {
                self.processes.followed(call, descriptor(first), second)
            };
            (place, (low(third), low(fourth)))
        };
        let file = place?.open()?;
        self.still_waiting(call)?;
        let old = noted(&file).unwrap_or((0, 0));
        if !self.people.of(call.thread).may_give(old, owner) {
            return Err(Errno::PERM);
        }
        give(&file, old, owner)?;
        self.are_any.set(true);
        Ok(Answer::Value(0))
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

/// Notes the new owner of a file that was `old`'s.
fn give(file: &OwnedFd, old: (u32, u32), (uid, gid): (u32, u32)) -> Result<(), Errno> {
    // It comes up into the upper directory and loses its set-id bits and capabilities, the note of
    // a special file among them, as with a real change.
    let (root_user, root_group) = (Some(Uid::ROOT), Some(Gid::ROOT));
    rustix::fs::chownat(file, c"", root_user, root_group, AtFlags::EMPTY_PATH)?;
    let chosen = |new, old| if new == KEEP { old } else { new };
    write(file, (chosen(uid, old.0), chosen(gid, old.1)))
}

/// Notes the owner of a file.
pub(super) fn write(file: &OwnedFd, owner: (u32, u32)) -> Result<(), Errno> {
    let path = path_of(file);
    let is_special = is_special(file)?;
    let is_device = !is_special && device::noted(file).is_some();
    if owner == (0, 0) && !is_device && !hands_group_on(file) {
        // A change of owner took the note of a special file away already.
        return match rustix::fs::removexattr(&path, OWNER_NOTE) {
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
            removed => removed,
        };
    }
    let (attribute, note) = note_of_owner(is_special, owner);
    match rustix::fs::setxattr(&path, attribute, &note, XattrFlags::empty()) {
        // A pipe or a socket without a name: it is in no layer, whoever it belongs to.
        Err(Errno::OPNOTSUPP) if is_special => Ok(()),
        noted => noted,
    }
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
