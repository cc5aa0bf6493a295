//! Owners where there is only one id: `chown` succeeds, and the owner is noted in an attribute of
//! the file, from which the layer takes it.
//!
//! The note goes wherever the file goes: through renames, other names, and overlay's copies. Only
//! files and directories can have one.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags};
use rustix::io::Errno;

use super::memory;
use super::seccomp::Owning;
use crate::sys::supervise::{self, Answer, Call};
use crate::tree::{OWNER_NOTE, owner_note, owner_of_note};

/// "Leave it as it is" for chown(2).
const KEEP: u32 = u32::MAX;

/// Answers the next call.
pub(super) fn serve(listener: BorrowedFd<'_>) {
    let Ok(call) = supervise::receive(listener) else {
        return;
    };
    let answer = match record(listener, &call) {
        Ok(()) => Answer::Value(0),
        Err(errno) => Answer::Errno(errno.raw_os_error()),
    };
    // A caller that was killed meanwhile needs no answer.
    let _ = supervise::answer(listener, &call, answer);
}

/// What a call changes, and to whom.
struct Change {
    file: OwnedFd,
    uid: u32,
    gid: u32,
}

fn record(listener: BorrowedFd<'_>, call: &Call) -> Result<(), Errno> {
    let change = change(call)?;
    if !supervise::is_waiting(listener, call) {
        return Err(Errno::INTR);
    }
    let file = &change.file;
    // It comes up into the upper directory and loses its set-id bits as with a real change.
    let (root_user, root_group) = (Some(Uid::ROOT), Some(Gid::ROOT));
    rustix::fs::chownat(file, c"", root_user, root_group, AtFlags::EMPTY_PATH)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Ok(());
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut value = [0; 64];
    let noted = match rustix::fs::getxattr(&path, OWNER_NOTE, &mut value[..]) {
        Ok(length) => owner_of_note(&value[..length]),
        Err(_) => None,
    };
    let old = noted.unwrap_or((0, 0));
    let chosen = |new, old| if new == KEEP { old } else { new };
    let new = (chosen(change.uid, old.0), chosen(change.gid, old.1));
    if new == (0, 0) {
        return match rustix::fs::removexattr(&path, OWNER_NOTE) {
            Ok(()) | Err(Errno::NODATA) => Ok(()),
            Err(errno) => Err(errno),
        };
    }
    rustix::fs::setxattr(&path, OWNER_NOTE, &owner_note(new), XattrFlags::empty())
}

fn change(call: &Call) -> Result<Change, Errno> {
    let owning = Owning::HERE;
    let number = u32::try_from(call.number).map_err(|_| Errno::NOSYS)?;
    let [first, second, third, fourth, fifth, _] = call.args;
    let id = |argument: u64| u32::try_from(argument & u64::from(u32::MAX)).unwrap_or(KEEP);
    let directory = |argument: u64| id(argument).cast_signed();
    let change = |file, uid, gid| {
        Ok(Change {
            file,
            uid: id(uid),
            gid: id(gid),
        })
    };
    if number == owning.fchown {
        return change(open_number(call, directory(first))?, second, third);
    }
    if number == owning.chown || number == owning.lchown {
        let path = memory::read_path(call, first).ok_or(Errno::FAULT)?;
        let nofollow = number == owning.lchown;
        return change(open(call, libc::AT_FDCWD, &path, nofollow)?, second, third);
    }
    let path = memory::read_path(call, second).ok_or(Errno::FAULT)?;
    let flags = AtFlags::from_bits_retain(id(fifth));
    if path.is_empty() {
        if !flags.contains(AtFlags::EMPTY_PATH) {
            return Err(Errno::NOENT);
        }
        return change(open_number(call, directory(first))?, third, fourth);
    }
    let nofollow = flags.contains(AtFlags::SYMLINK_NOFOLLOW);
    change(
        open(call, directory(first), &path, nofollow)?,
        third,
        fourth,
    )
}

/// Opens what the caller calls by a number.
fn open_number(call: &Call, number: i32) -> Result<OwnedFd, Errno> {
    let path = if number == libc::AT_FDCWD {
        format!("/proc/{}/cwd", call.thread)
    } else {
        format!("/proc/{}/fd/{number}", call.thread)
    };
    rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        match errno {
            Errno::NOENT => Errno::BADF,
            other => other,
        }
    })
}

/// Opens what the caller calls by a path, in its root.
fn open(call: &Call, directory: i32, path: &[u8], nofollow: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OFlags::PATH | OFlags::CLOEXEC;
    if nofollow {
        flags |= OFlags::NOFOLLOW;
    }
    if path.starts_with(b"/") {
        let root = format!("/proc/{}/root", call.thread);
        let root = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let resolve = ResolveFlags::IN_ROOT;
        return rustix::fs::openat2(root, path, flags, Mode::empty(), resolve);
    }
    let base = open_number(call, directory)?;
    rustix::fs::openat(base.as_fd(), path, flags, Mode::empty())
}
