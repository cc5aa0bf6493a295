//! What only the owner of a file may do, where to the kernel all files are its own: change modes and
//! times, and give names to what one may not write to.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use super::permission::{FROM_HERE, READ, Rights, WRITE, Wanting};
use super::place::Place;
use super::{Notes, descriptor, low};
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::Path;
use crate::sys::supervise::{Answer, Call};

/// What a call wants to make of the times of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    /// Both the present, which who may write to it may do, too.
    Now,
    Kept,
    Chosen,
}

impl Notes {
    /// Lets a call change a mode, or says no.
    pub(super) fn change_mode(&self, call: &Call, path: Option<Path>) -> Result<Answer, Errno> {
        if self.people.makes_as_root(call.thread) {
            return Ok(Answer::Continue);
        }
        let place = match path {
            Some(path) => self.place_of(call, path),
            None => self.processes.number(call, descriptor(call.args[0])),
        };
        self.let_owner(call, place, |_, _| Err(Errno::PERM))
    }

    /// Lets a call change times, or says no.
    pub(super) fn change_times(
        &self,
        call: &Call,
        path: Path,
        times: usize,
    ) -> Result<Answer, Errno> {
        if self.people.makes_as_root(call.thread) {
            return Ok(Answer::Continue);
        }
        let place = if call.args[path.name] == 0 && path.directory.is_some() {
            self.processes.number(call, descriptor(call.args[0]))
        } else {
            self.place_of(call, path)
        };
        let has_nanoseconds = path.flags.is_some();
        let times = Times::of(call, call.args[times], has_nanoseconds);
        self.let_owner(call, place, |rights, who| match times {
            Times::Kept => Ok(()),
            Times::Now if rights.allow(who, WRITE) => Ok(()),
            Times::Now => Err(Errno::ACCESS),
            Times::Chosen => Err(Errno::PERM),
        })
    }

    /// EPERM if a call gives one more name to what its caller may not have two names of: the kernel's
    /// `protected_hardlinks`, where it is on.
    pub(super) fn may_link(&self, call: &Call, new: Path, who: Wanting<'_>) -> Result<(), Errno> {
        let is_on = std::fs::read("/proc/sys/fs/protected_hardlinks");
        if is_on.is_ok_and(|text| text.starts_with(b"0")) {
            return Ok(());
        }
        let (directory, name, flags) = if new.directory.is_none() {
            (FROM_HERE, call.args[0], AtFlags::empty())
        } else {
            let flags = AtFlags::from_bits_retain(low(call.args[4]));
            (call.args[0], call.args[1], flags)
        };
        // By itself it follows no link.
        let flags = if flags.contains(AtFlags::SYMLINK_FOLLOW) {
            flags
        } else {
            flags | AtFlags::SYMLINK_NOFOLLOW
        };
        let place = self
            .processes
            .at(call, directory, name, flags.bits().into());
        let Some(rights) = self.rights(place) else {
            return Ok(());
        };
        if rights.are_of(who) || is_harmless(rights.mode) && rights.allow(who, READ | WRITE) {
            Ok(())
        } else {
            Err(Errno::PERM)
        }
    }

    /// Whether a caller may change such an attribute of a file: those of users take the right to write.
    pub(super) fn may_have_attribute(
        &self,
        call: &Call,
        file: &OwnedFd,
        name: &[u8],
    ) -> Result<(), Errno> {
        let credentials = self.people.of(call.thread);
        let who = credentials.for_files();
        match Rights::of(file, &self.noted_mounts) {
            Some(rights) if name.starts_with(b"user.") && !rights.allow(who, WRITE) => {
                Err(Errno::ACCESS)
            }
            Some(rights) if name.starts_with(b"system.") && !rights.are_of(who) => Err(Errno::PERM),
            _ => Ok(()),
        }
    }

    fn place_of(&self, call: &Call, path: Path) -> Result<Place, Errno> {
        let flags = path.flags.map_or(0, |flags| call.args[flags]);
        let directory = path.directory.map_or(FROM_HERE, |at| call.args[at]);
        self.processes
            .at(call, directory, call.args[path.name], flags)
    }

    /// Lets the owner of a file do something; whether others may, `of_others` says.
    fn let_owner(
        &self,
        call: &Call,
        place: Result<Place, Errno>,
        of_others: impl FnOnce(Rights, Wanting<'_>) -> Result<(), Errno>,
    ) -> Result<Answer, Errno> {
        let credentials = self.people.of(call.thread);
        let who = credentials.for_files();
        if let Some(rights) = self.rights(place)
            && !credentials.is_privileged()
            && !rights.are_of(who)
        {
            of_others(rights, who)?;
        }
        Ok(Answer::Continue)
    }

    /// The rights of a file; `None` if nobody looks at them. Whatever goes wrong here goes wrong in the call
    /// itself, with the right error.
    fn rights(&self, place: Result<Place, Errno>) -> Option<Rights> {
        let file = place.and_then(Place::open).ok()?;
        // What has no name yet is its maker's, and nothing is noted of it.
        if rustix::fs::fstat(&file).ok()?.st_nlink == 0 {
            return None;
        }
        Rights::of(&file, &self.noted_mounts)
    }
}

impl Times {
    /// Those at an address of a caller: two of seconds and nanoseconds, if calls of the kind have them.
    fn of(call: &Call, address: u64, has_nanoseconds: bool) -> Self {
        if address == 0 {
            return Self::Now;
        }
        let words = memory::words(call, address, if has_nanoseconds { 8 } else { 0 });
        match words.as_deref() {
            Ok([_, _, first, _, _, _, second, _]) => {
                let is = |kind| [*first, *second].map(i64::from) == [kind; 2];
                if is(UTIME_NOW) {
                    Self::Now
                } else if is(UTIME_OMIT) {
                    Self::Kept
                } else {
                    Self::Chosen
                }
            }
            _ => Self::Chosen,
        }
    }
}

/// Whether one more name of a file does no harm: it is a plain one without set-id bits that mean anything.
fn is_harmless(mode: u32) -> bool {
    let is_set_group = mode & (libc::S_ISGID | libc::S_IXGRP) == libc::S_ISGID | libc::S_IXGRP;
    mode & libc::S_IFMT == libc::S_IFREG && mode & libc::S_ISUID == 0 && !is_set_group
}
