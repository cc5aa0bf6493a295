//! New names of files that a command has open, made by the links of /proc, where /proc is an ordinary directory:
//! how a file that was written without a name (`O_TMPFILE`) gets one.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::asker::Rights;
use super::{naming, reopen};
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::LINKAT;
use crate::sys::supervise::Call;

/// The argument of `linkat` that is the directory of the new name.
const DIRECTORY: usize = 2;

/// The address of the path that a call gives a new name to; `None` if it is another call, or does not
/// follow links.
pub(super) fn asked(call: &Call) -> Option<u64> {
    let [_, path, _, _, flags, _] = call.args;
    let is_it = u32::try_from(call.number).ok()? == LINKAT;
    let follows = flags & u64::from(AtFlags::SYMLINK_FOLLOW.bits()) != 0;
    (is_it && follows).then_some(path)
}

/// The place of a new name.
#[derive(Debug)]
pub(super) struct Place {
    root: OwnedFd,
    parent: Vec<u8>,
    name: CString,
}

impl Place {
    /// The place that the caller names; to be asked as the caller.
    pub(super) fn of(call: &Call) -> Result<Self, Errno> {
        let path = memory::path(call, call.args[3])?;
        // A name for what is no directory, or nothing.
        if path.is_empty() || path.ends_with(b"/") {
            return Err(Errno::NOENT);
        }
        let (root, whole) = naming::whole(call, Some(DIRECTORY), &path).ok_or(Errno::NOENT)?;
        let start = whole.iter().rposition(|byte| *byte == b'/');
        let start = start.ok_or(Errno::NOENT)?;
        Ok(Self {
            root,
            parent: whole[..=start].to_vec(),
            name: CString::new(&whole[start + 1..]).map_err(|_| Errno::INVAL)?,
        })
    }

    /// Gives what was found this name, with these rights. It is looked for in the caller's root alone.
    pub(super) fn give_to(&self, found: &OwnedFd, rights: &Rights) -> Result<(), Errno> {
        let link = reopen::own(found);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rights.act(|| {
            let parent =
                rustix::fs::openat2(&self.root, &self.parent, flags, Mode::empty(), resolve)?;
            rustix::fs::linkat(CWD, link, parent, &self.name, AtFlags::SYMLINK_FOLLOW)
        })
    }
}
