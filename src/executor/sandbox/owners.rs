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
use crate::sys;
use crate::sys::supervise::{self, Answer, Call};
use crate::tree::{OWNER_NOTE, owner_note, owner_of_note};

/// "Leave it as it is" for chown(2).
const KEEP: u32 = u32::MAX;

/// Answers the next call of a command that runs as `identity`.
pub(super) fn serve(listener: BorrowedFd<'_>, identity: (u32, u32)) {
    let Ok(call) = supervise::receive(listener) else {
        return;
    };
    let answer = match reply(listener, &call, identity) {
        Ok(answer) => answer,
        Err(errno) => Answer::Errno(errno.raw_os_error()),
    };
    // A caller that was killed meanwhile needs no answer.
    let _ = supervise::answer(listener, &call, answer);
}

fn reply(listener: BorrowedFd<'_>, call: &Call, identity: (u32, u32)) -> Result<Answer, Errno> {
    let owning = Owning::HERE;
    let number = u32::try_from(call.number).map_err(|_| Errno::NOSYS)?;
    if owning.users.contains(&number) {
        return Ok(Answer::Value(identity.0.into()));
    }
    if owning.groups.contains(&number) {
        return Ok(Answer::Value(identity.1.into()));
    }
    if let Some(position) = owning.all.iter().position(|all| *all == number) {
        let id = [identity.0, identity.1][position];
        #[expect(
            clippy::host_endian_bytes,
            reason = "the memory of a process of this machine"
        )]
        let id = id.to_ne_bytes();
        for address in &call.args[..3] {
            memory::write(call, *address, &id).ok_or(Errno::FAULT)?;
        }
        return Ok(Answer::Value(0));
    }
    let changes = [owning.chown, owning.fchown, owning.lchown, owning.fchownat];
    if !changes.contains(&number) {
        // Whatever goes wrong here goes wrong in the call itself, with the right error.
        return Ok(tell(listener, call, number).unwrap_or(Answer::Continue));
    }
    let (file, (uid, gid)) = change(call, number)?;
    if !supervise::is_waiting(listener, call) {
        return Err(Errno::INTR);
    }
    note(&file, uid, gid)?;
    Ok(Answer::Value(0))
}

/// Tells the state of a file whose owner is noted; `None` if it is what the kernel says.
fn tell(listener: BorrowedFd<'_>, call: &Call, number: u32) -> Option<Answer> {
    let owning = Owning::HERE;
    let [first, second, third, fourth, fifth, _] = call.args;
    let (file, buffer, mask) = if number == owning.fstat {
        (open_number(call, descriptor(first)).ok()?, second, None)
    } else if number == owning.stat || number == owning.lstat {
        let nofollow = number == owning.lstat;
        (
            named(call, libc::AT_FDCWD, first, nofollow).ok()?,
            second,
            None,
        )
    } else if number == owning.newfstatat {
        (at(call, first, second, fourth).ok()?, third, None)
    } else {
        (
            at(call, first, second, third).ok()?,
            fifth,
            Some(low(fourth)),
        )
    };
    let owner = noted(&file)?;
    let bytes = match mask {
        None => sys::status::stat(&file, owner),
        Some(mask) => sys::status::statx(&file, mask, owner),
    };
    let bytes = bytes.ok()?;
    if !supervise::is_waiting(listener, call) {
        return None;
    }
    memory::write(call, buffer, &bytes)?;
    Some(Answer::Value(0))
}

/// The owner that is noted of a file.
fn noted(file: &OwnedFd) -> Option<(u32, u32)> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(path, OWNER_NOTE, &mut value[..]).ok()?;
    owner_of_note(&value[..length])
}

/// Notes a new owner.
fn note(file: &OwnedFd, uid: u32, gid: u32) -> Result<(), Errno> {
    // It comes up into the upper directory and loses its set-id bits as with a real change.
    let (root_user, root_group) = (Some(Uid::ROOT), Some(Gid::ROOT));
    rustix::fs::chownat(file, c"", root_user, root_group, AtFlags::EMPTY_PATH)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Ok(());
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let old = noted(file).unwrap_or((0, 0));
    let chosen = |new, old| if new == KEEP { old } else { new };
    let new = (chosen(uid, old.0), chosen(gid, old.1));
    if new == (0, 0) {
        return match rustix::fs::removexattr(&path, OWNER_NOTE) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno),
        };
    }
    rustix::fs::setxattr(&path, OWNER_NOTE, &owner_note(new), XattrFlags::empty())
}

/// The file that a call changes, and to whom.
fn change(call: &Call, number: u32) -> Result<(OwnedFd, (u32, u32)), Errno> {
    let owning = Owning::HERE;
    let [first, second, third, fourth, fifth, _] = call.args;
    if number == owning.fchown {
        let file = open_number(call, descriptor(first))?;
        return Ok((file, (low(second), low(third))));
    }
    if number == owning.chown || number == owning.lchown {
        let nofollow = number == owning.lchown;
        let file = named(call, libc::AT_FDCWD, first, nofollow)?;
        return Ok((file, (low(second), low(third))));
    }
    Ok((at(call, first, second, fifth)?, (low(third), low(fourth))))
}

/// An argument of 32 bits.
fn low(argument: u64) -> u32 {
    u32::try_from(argument & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// An argument that is a descriptor, or `AT_FDCWD`.
fn descriptor(argument: u64) -> i32 {
    low(argument).cast_signed()
}

/// The file of a call with a directory, a path and flags.
fn at(call: &Call, directory: u64, path: u64, flags: u64) -> Result<OwnedFd, Errno> {
    let flags = AtFlags::from_bits_retain(low(flags));
    let is_empty = flags.contains(AtFlags::EMPTY_PATH)
        && (path == 0 || memory::read_path(call, path).is_some_and(|path| path.is_empty()));
    if is_empty {
        return open_number(call, descriptor(directory));
    }
    let nofollow = flags.contains(AtFlags::SYMLINK_NOFOLLOW);
    named(call, descriptor(directory), path, nofollow)
}

/// The file of a path in the caller's memory.
fn named(call: &Call, directory: i32, path: u64, nofollow: bool) -> Result<OwnedFd, Errno> {
    let path = memory::read_path(call, path).ok_or(Errno::FAULT)?;
    if path.is_empty() {
        return Err(Errno::NOENT);
    }
    open(call, directory, &path, nofollow)
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
