//! What is told of files by paths of /proc, where /proc is an ordinary directory: their state, whether they
//! may be opened, and what file system they are on.

use std::os::fd::OwnedFd;

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use super::asker::Rights;
use super::reopen;
use crate::executor::sandbox::seccomp::Looking;
use crate::sys::status::{self, Told};
use crate::sys::supervise::{Call, low};

/// What is to be told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Look {
    /// stat(2), into a buffer.
    State { buffer: u64 },
    /// statx(2): these fields, into a buffer.
    States { mask: u32, buffer: u64 },
    /// access(2): whether all of these may be done.
    Access(Access),
    /// statfs(2), into a buffer.
    FileSystem { buffer: u64 },
}

/// The address of the path that a call names, and what it wants to know; `None` if it is another call, does
/// not follow links, or begins at a descriptor.
pub(super) fn asked(call: &Call) -> Option<(u64, Look)> {
    let here = Looking::HERE;
    let number = u32::try_from(call.number).ok()?;
    let [first, second, third, fourth, fifth, _] = call.args;
    let follows = |flags: u64| {
        let unfollowed = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
        !AtFlags::from_bits_retain(low(flags)).intersects(unfollowed)
    };
    let access = |mode: u64| Look::Access(Access::from_bits_truncate(low(mode)));
    let (path, look) = if number == here.stat {
        return Some((first, Look::State { buffer: second }));
    } else if number == here.statfs {
        return Some((first, Look::FileSystem { buffer: second }));
    } else if number == here.access {
        return Some((first, access(second)));
    } else if number == here.newfstatat && follows(fourth) {
        (second, Look::State { buffer: third })
    } else if number == here.statx && follows(third) {
        let (mask, buffer) = (low(fourth), fifth);
        (second, Look::States { mask, buffer })
    } else if number == here.faccessat || (number == here.faccessat2 && follows(fourth)) {
        (second, access(third))
    } else {
        return None;
    };
    (low(first).cast_signed() == libc::AT_FDCWD).then_some((path, look))
}

impl Look {
    /// What is told of a file, and the address where the caller wants it; nothing if the answer is yes.
    /// `writable`: whether this file is ever opened to write.
    pub(super) fn tell(
        self,
        found: &OwnedFd,
        writable: bool,
        rights: &Rights,
    ) -> Result<Option<(u64, Vec<u8>)>, Errno> {
        let raw = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let as_it_is = || -> Result<Told, Errno> {
            let state = rustix::fs::fstat(found)?;
            let (owner, device) = ((state.st_uid, state.st_gid), None);
            Ok(Told { owner, device })
        };
        let (buffer, bytes) = match self {
            Self::State { buffer } => (buffer, status::stat(found, as_it_is()?)),
            Self::States { mask, buffer } => (buffer, status::statx(found, mask, as_it_is()?)),
            Self::FileSystem { buffer } => (buffer, status::file_system(found)),
            Self::Access(access) if access.contains(Access::WRITE_OK) && !writable => {
                return Err(Errno::ACCESS);
            }
            Self::Access(access) => {
                let link = reopen::own(found);
                // With the effective ids, which are the caller's for as long as this takes.
                let may = || rustix::fs::accessat(CWD, link, access, AtFlags::EACCESS);
                return rights.act(may).map(|()| None);
            }
        };
        Ok(Some((buffer, bytes.map_err(raw)?)))
    }
}
