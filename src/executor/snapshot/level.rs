//! One directory seen through the layers below.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, OFlags, Statx, StatxFlags};
use rustix::io::Errno;

use crate::rooted::{Links, Root, read_directory};
use crate::sys::xattr;
use crate::tree::TreePath;

/// The open directories of lower layers that a directory is merged of, top first.
#[derive(Debug, Default)]
pub(super) struct Lowers {
    directories: Vec<OwnedFd>,
    /// Which layers they belong to.
    pub(super) layers: Vec<usize>,
}

/// The type of what a state describes.
pub(super) fn type_of(state: &Statx) -> FileType {
    FileType::from_raw_mode(state.stx_mode.into())
}

/// Whether a state is that of an overlay whiteout: a character device 0:0.
pub(super) fn is_whiteout(state: &Statx) -> bool {
    type_of(state) == FileType::CharacterDevice
        && (state.stx_rdev_major, state.stx_rdev_minor) == (0, 0)
}

/// The state of a name in a directory, links not followed; `None` if nothing is there.
pub(super) fn state_of(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Statx>> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    match rustix::fs::statx(directory, name, flags, wanted) {
        Ok(state) => Ok(Some(state)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether an open directory hides what is below it.
fn is_opaque(directory: BorrowedFd<'_>) -> io::Result<bool> {
    for key in [c"trusted.overlay.opaque", c"user.overlay.opaque"] {
        if xattr::get_at(directory, c".", key)?.as_deref() == Some(b"y") {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Lowers {
    /// Opens a directory in those of `layers` that it is merged of. Nothing if it is not there or
    /// is no directory.
    pub(super) fn open(roots: &[Root], layers: &[usize], path: &TreePath) -> io::Result<Self> {
        let mut lowers = Self::default();
        for layer in layers {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let opened = roots[*layer].open_with(path.as_bytes(), Links::None, flags);
            let directory = match opened.map_err(|error| Errno::from_io_error(&error)) {
                Ok(directory) => directory,
                Err(Some(Errno::NOENT)) => continue,
                // Something else is there and hides what is below it.
                Err(Some(Errno::NOTDIR | Errno::LOOP)) => break,
                Err(error) => return Err(error.unwrap_or(Errno::IO).into()),
            };
            let opaque = is_opaque(directory.as_fd())?;
            lowers.directories.push(directory);
            lowers.layers.push(*layer);
            if opaque {
                break;
            }
        }
        Ok(lowers)
    }

    /// Whether there is nothing below.
    pub(super) fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    /// What the layers show under a name, and the directory that has it.
    pub(super) fn find(&self, name: &CStr) -> io::Result<Option<(Statx, BorrowedFd<'_>)>> {
        for directory in &self.directories {
            if let Some(state) = state_of(directory.as_fd(), name)? {
                return Ok((!is_whiteout(&state)).then_some((state, directory.as_fd())));
            }
        }
        Ok(None)
    }

    /// All names that the layers show.
    pub(super) fn names(&self) -> io::Result<BTreeSet<CString>> {
        let mut names = BTreeSet::new();
        for directory in &self.directories {
            for entry in read_directory(directory.as_fd())? {
                names.insert(entry.name);
            }
        }
        let mut shown = BTreeSet::new();
        for name in names {
            if self.find(&name)?.is_some() {
                shown.insert(name);
            }
        }
        Ok(shown)
    }
}
