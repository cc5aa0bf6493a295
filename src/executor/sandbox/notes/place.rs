//! A file as this process finds it.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::owner::path_of;
use crate::tree::{DEVICE_NOTE, OWNER_NOTE, SPECIAL_OWNER_NOTE};

/// A file that a caller names.
#[derive(Debug)]
pub(super) enum Place {
    /// By a path that means the same here.
    Path {
        path: CString,
        /// Whether a link at its end is followed.
        follow: bool,
    },
    /// Found already.
    Open(OwnedFd),
}

impl Place {
    pub(super) fn path(path: Vec<u8>, follow: bool) -> Result<Self, Errno> {
        let path = CString::new(path).map_err(|_| Errno::NOENT)?;
        Ok(Self::Path { path, follow })
    }

    /// Whether a note may be there: costs one call, and mostly it is no.
    pub(super) fn may_have_notes(&self) -> bool {
        let mut names = [0_u8; 512];
        let listed = match self {
            Self::Path { path, follow: true } => rustix::fs::listxattr(path, &mut names[..]),
            Self::Path {
                path,
                follow: false,
            } => rustix::fs::llistxattr(path, &mut names[..]),
            Self::Open(file) => rustix::fs::listxattr(path_of(file), &mut names[..]),
        };
        match listed {
            Ok(length) => names[..length].split(|byte| *byte == 0).any(is_note),
            Err(errno) => errno == Errno::RANGE,
        }
    }

    /// Opens it as a place.
    pub(super) fn open(self) -> Result<OwnedFd, Errno> {
        match self {
            Self::Open(file) => Ok(file),
            Self::Path { path, follow } => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let flags = if follow {
                    flags
                } else {
                    flags | OFlags::NOFOLLOW
                };
                rustix::fs::openat(CWD, path, flags, Mode::empty())
            }
        }
    }
}

fn is_note(name: &[u8]) -> bool {
    [OWNER_NOTE, DEVICE_NOTE, SPECIAL_OWNER_NOTE]
        .iter()
        .any(|note| note.to_bytes() == name)
}
