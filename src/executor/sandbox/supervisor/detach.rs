//! Files of several names in a root that a command changes in place.
//!
//! An overlay copies a file up when it is changed: under the name by which it is changed, which is
//! that of a file of its own from then on. Its other names stay names of the file below. So it is
//! here: before a call that changes such a file of a layer below goes on, the name becomes that of
//! a copy. Until then all are names of one file, and `cp -a`, `tar` and `du` see that.
//!
//! What is found may be something else the moment after, if the command wants it so. That is
//! harmless: a name is looked for in the root alone, and only replaced by a copy of what it named.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

use super::naming::{self, below};
use crate::executor::sandbox::seccomp::{Changing, Named};
use crate::executor::sandbox::spec::Inode;
use crate::executor::sandbox::{copying, memory};
use crate::sys::supervise::Call;

/// The files of the layers below that have several names.
#[derive(Debug)]
pub(in super::super) struct Detacher<'a> {
    /// The command's root.
    root: &'a OwnedFd,
    /// Where copies are made, on the same file system.
    work: BorrowedFd<'a>,
    shared: BTreeSet<Inode>,
    copies: Cell<u64>,
}

/// One name of one of them.
#[derive(Debug)]
pub(super) struct Place {
    parent: OwnedFd,
    name: CString,
    file: OwnedFd,
}

impl<'a> Detacher<'a> {
    /// `None` if there are no such files.
    pub(in super::super) fn new(
        root: &'a OwnedFd,
        work: BorrowedFd<'a>,
        shared: &[Inode],
    ) -> Option<Self> {
        (!shared.is_empty()).then(|| Self {
            root,
            work,
            shared: shared.iter().copied().collect(),
            copies: Cell::new(0),
        })
    }

    /// The names that a call changes; to be asked as the caller. `flags`: of a call that opens.
    pub(super) fn changed_by(&self, call: &Call, flags: Option<OFlags>) -> Vec<Place> {
        let Ok(number) = u32::try_from(call.number) else {
            return Vec::new();
        };
        let mut places = Vec::new();
        if let Some(flags) = flags {
            let is_written = (flags & OFlags::RWMODE) != OFlags::RDONLY;
            if !flags.contains(OFlags::PATH) && (is_written || flags.contains(OFlags::TRUNC)) {
                let is_new = flags.contains(OFlags::CREATE | OFlags::EXCL);
                let follow = !is_new && !flags.contains(OFlags::NOFOLLOW);
                let named = Changing::opened_by(number);
                let place = named.and_then(|named| self.find(call, named, follow));
                // To write to a FIFO or a device changes nothing of it.
                places.extend(place.filter(|(_, kind)| *kind == FileType::RegularFile));
            }
        }
        for named in Changing::names_of(number, call.args) {
            places.extend(self.find(call, named, named.follow));
        }
        places.into_iter().map(|(place, _)| place).collect()
    }

    /// Finds what a call names, if it is such a file.
    fn find(&self, call: &Call, named: Named, follow: bool) -> Option<(Place, FileType)> {
        let path = memory::read_path(call, *call.args.get(named.path)?)?;
        let file = Self::open(call, named, &path, follow)?;
        let state = state_of(&file)?;
        let kind = FileType::from_raw_mode(state.stx_mode.into());
        if kind == FileType::Directory || !self.shared.contains(&Inode::from(&state)) {
            return None;
        }
        // The last name that is left is one of a file of its own, but for a new name beside it: of the
        // names of such a file nobody could tell which belong together.
        if state.stx_nlink == 1 && !named.gets_name {
            return None;
        }
        let (parent, name) = self.name_of(&file)?;
        let found = rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let here = rustix::fs::fstat(&file).ok()?;
        let is_it = (found.st_dev, found.st_ino) == (here.st_dev, here.st_ino);
        is_it.then_some((Place { parent, name, file }, kind))
    }

    /// Opens what the caller calls by a path, as a place only.
    fn open(call: &Call, named: Named, path: &[u8], follow: bool) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let (root, whole) = naming::whole(call, named.directory, path)?;
        let flags = if follow {
            flags
        } else {
            flags | OFlags::NOFOLLOW
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(root, whole, flags, Mode::empty(), resolve).ok()
    }

    /// The name by which a file was opened, in the command's root.
    fn name_of(&self, file: &OwnedFd) -> Option<(OwnedFd, CString)> {
        let place = path_of(file)?;
        let place = below(&place, &path_of(self.root)?)?.to_vec();
        let position = place.iter().rposition(|byte| *byte == b'/')?;
        let name = CString::new(&place[position + 1..]).ok()?;
        let parent = if position == 0 {
            &b"/"[..]
        } else {
            &place[..position]
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let parent = rustix::fs::openat2(self.root, parent, flags, Mode::empty(), resolve).ok()?;
        Some((parent, name))
    }

    /// Makes a name that of a file of its own.
    pub(super) fn detach(&self, place: &Place) -> Result<(), Errno> {
        let raw = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        self.copies.set(self.copies.get() + 1);
        let copy = CString::new(format!("copy-{}", self.copies.get())).map_err(|_| Errno::INVAL)?;
        let made = copying::copy(&place.file, (self.work, &copy))
            .map_err(raw)
            .and_then(|_| self.put((&place.parent, &place.name), &copy));
        if made.is_err() {
            // It goes with the directory at the latest.
            let _ = rustix::fs::unlinkat(self.work, &copy, AtFlags::empty());
        }
        made
    }

    /// Puts a copy at its place; the time of the directory stays.
    fn put(&self, (parent, name): (&OwnedFd, &CString), copy: &CString) -> Result<(), Errno> {
        let status = rustix::fs::fstat(parent)?;
        let times = crate::rooted::times_as_of(&status);
        rustix::fs::renameat_with(self.work, copy, parent, name, RenameFlags::empty())?;
        rustix::fs::futimens(parent, &times)
    }
}

fn state_of(file: &OwnedFd) -> Option<Statx> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, wanted).ok()
}

/// Where an open file is.
fn path_of(file: &OwnedFd) -> Option<Vec<u8>> {
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    Some(rustix::fs::readlink(link, Vec::new()).ok()?.into_bytes())
}
