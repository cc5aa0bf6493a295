//! What users other than root may do to files. To the kernel they are root and may do anything, but what
//! a build makes can depend on what it may not do: pip installs elsewhere, Python writes no compiled
//! files next to root's modules.
//!
//! This is no protection of one user from another: what a path names may change after the look, and what
//! may be read is not asked at all. Only the file system of the root and caches are looked at.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::credentials::Credentials;
use super::{Notes, low, owner};
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::Path;
use crate::executor::sandbox::spec::SandboxMount;
use crate::sys::supervise::{Answer, Call};

/// Rights, as in a mode and for access(2).
pub(super) const READ: u32 = 4;
pub(super) const WRITE: u32 = 2;
pub(super) const EXECUTE: u32 = 1;

/// `S_ISVTX`: who may write to the directory may only remove what is its own.
const STICKY: u32 = 0o1000;

/// Who wants something: a user, a group, other groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanting<'a> {
    user: u32,
    group: u32,
    others: &'a [u32],
}

impl Credentials {
    /// Who it is to file systems.
    pub(super) fn for_files(&self) -> Wanting<'_> {
        Wanting {
            user: self.users.files,
            group: self.groups.files,
            others: &self.others,
        }
    }

    /// Who it is to access(2): the one who started a set-id program.
    fn for_access(&self) -> Wanting<'_> {
        Wanting {
            user: self.users.real,
            group: self.groups.real,
            others: &self.others,
        }
    }
}

/// What a file lets whom do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights {
    pub(super) mode: u32,
    owner: (u32, u32),
}

impl Rights {
    /// Those of a file in one of these mounts; `None` for others.
    pub(super) fn of(file: &OwnedFd, mounts: &[u64]) -> Option<Self> {
        let wanted = StatxFlags::MODE | StatxFlags::MNT_ID;
        let state = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, wanted).ok()?;
        mounts.contains(&state.stx_mnt_id).then(|| Self {
            mode: state.stx_mode.into(),
            owner: owner::noted(file).unwrap_or((0, 0)),
        })
    }

    /// Whether it is somebody's own.
    pub(super) fn are_of(self, who: Wanting<'_>) -> bool {
        who.user == 0 || who.user == self.owner.0
    }

    /// Whether somebody has these rights.
    pub(super) fn allow(self, who: Wanting<'_>, rights: u32) -> bool {
        let class = if who.user == self.owner.0 {
            self.mode >> 6
        } else if who.group == self.owner.1 || who.others.contains(&self.owner.1) {
            self.mode >> 3
        } else {
            self.mode
        };
        // Root's are the kernel's to judge.
        who.user == 0 || class & rights == rights
    }
}

/// The mounts whose files have notes of all their owners: the root directory, and caches.
pub(super) fn noted_mounts(mounts: &[SandboxMount]) -> Vec<u64> {
    let number = |path: &str| {
        let wanted = StatxFlags::TYPE | StatxFlags::MNT_ID;
        let state = rustix::fs::statx(rustix::fs::CWD, path, AtFlags::empty(), wanted).ok()?;
        // The socket of an agent is no cache.
        let is_directory = FileType::from_raw_mode(state.stx_mode.into()) == FileType::Directory;
        is_directory.then_some(state.stx_mnt_id)
    };
    let caches = mounts.iter().filter_map(|mount| match mount {
        SandboxMount::Bind(bind) => number(&bind.target),
        _ => None,
    });
    number("/").into_iter().chain(caches).collect()
}

impl Notes {
    /// EACCES if a process may not do this to a file.
    pub(super) fn may(&self, who: Wanting<'_>, file: &OwnedFd, rights: u32) -> Result<(), Errno> {
        match Rights::of(file, &self.noted_mounts) {
            Some(of_file) if !of_file.allow(who, rights) => Err(Errno::ACCESS),
            _ => Ok(()),
        }
    }

    /// EACCES if a process may make nothing in a directory.
    pub(super) fn may_make_in(&self, who: Wanting<'_>, directory: &OwnedFd) -> Result<(), Errno> {
        self.may(who, directory, WRITE | EXECUTE)
    }

    /// Lets a call on which access(2) is asked go on, or says no.
    pub(super) fn answer_access(
        &self,
        call: &Call,
        path: Path,
        wanted: usize,
    ) -> Result<Answer, Errno> {
        let credentials = self.people.of(call.thread);
        let is_effective = path.flags.is_some_and(|flags| {
            AtFlags::from_bits_retain(low(call.args[flags])).contains(AtFlags::EACCESS)
        });
        let who = if is_effective {
            credentials.for_files()
        } else {
            credentials.for_access()
        };
        // What root may is the kernel's to say.
        if who.user != 0
            && let Ok(file) = self.find(call, path)
        {
            self.may(who, &file, low(call.args[wanted]) & 0o7)?;
        }
        Ok(Answer::Continue)
    }

    /// Lets a call that takes names away go on, or says no.
    pub(super) fn remove(&self, call: &Call, paths: &[Path]) -> Result<Answer, Errno> {
        if self.people.makes_as_root(call.thread) {
            return Ok(Answer::Continue);
        }
        let credentials = self.people.of(call.thread);
        let who = credentials.for_files();
        for (path, is_first) in paths.iter().zip([true, false]) {
            let name = memory::path(call, call.args[path.name]);
            let parent = name.and_then(|name| self.parent(call, *path, &name));
            // Whatever goes wrong here goes wrong in the call itself, with the right error.
            let Ok((directory, name)) = parent else {
                continue;
            };
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&directory, name, flags, Mode::empty());
            if is_first && file.is_err() {
                continue;
            }
            self.may_make_in(who, &directory)?;
            self.may_remove(who, &directory, file.as_ref().ok())?;
        }
        Ok(Answer::Continue)
    }

    /// EPERM if a directory keeps a file for its owner.
    fn may_remove(
        &self,
        who: Wanting<'_>,
        directory: &OwnedFd,
        file: Option<&OwnedFd>,
    ) -> Result<(), Errno> {
        let rights = |file| Rights::of(file, &self.noted_mounts);
        let (Some(of_directory), Some(of_file)) = (rights(directory), file.and_then(rights)) else {
            return Ok(());
        };
        let is_kept = of_directory.mode & STICKY != 0
            && ![of_directory.owner.0, of_file.owner.0].contains(&who.user);
        if is_kept { Err(Errno::PERM) } else { Ok(()) }
    }

    /// Opens what a call names as a place.
    pub(super) fn find(&self, call: &Call, path: Path) -> Result<OwnedFd, Errno> {
        let flags = path.flags.map_or(0, |flags| call.args[flags]);
        let directory = path
            .directory
            .map_or(FROM_HERE, |position| call.args[position]);
        self.processes
            .at(call, directory, call.args[path.name], flags)?
            .open()
    }
}

/// `AT_FDCWD` as an argument.
pub(super) const FROM_HERE: u64 = libc::AT_FDCWD.cast_unsigned() as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_those_of_the_first_class_that_fits() {
        let rights = Rights {
            mode: 0o100_476,
            owner: (7, 8),
        };
        let who = |user, group, others| Wanting {
            user,
            group,
            others,
        };
        let table = [
            (who(7, 7, &[][..]), [true, false, false]),
            // The owner has no more than the owner's rights.
            (who(7, 8, &[8]), [true, false, false]),
            (who(9, 8, &[]), [true, true, true]),
            (who(9, 9, &[5, 8]), [true, true, true]),
            (who(9, 9, &[]), [true, true, false]),
            (who(0, 0, &[]), [true, true, true]),
        ];
        for (who, expected) in table {
            let allowed = [4, WRITE, EXECUTE].map(|right| rights.allow(who, right));
            assert_eq!(allowed, expected, "{who:?}");
        }
    }
}
