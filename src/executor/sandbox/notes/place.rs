//! A file as this process finds it.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::owner::path_of;
use crate::tree::{NOTES, SPECIAL_OWNER_NOTE};

/// A file that a caller names.
#[derive(Debug)]
pub(super) enum Place {
    /// By a path that means the same here.
    Path {
        path: CString,
        /// Whether a link at its end is followed.
        follow: bool,
        /// The descriptor of the caller that it begins with, if it does.
        base: Option<String>,
    },
    /// Found already.
    Open(OwnedFd),
}

impl Place {
    pub(super) fn path(path: Vec<u8>, follow: bool) -> Result<Self, Errno> {
        let path = CString::new(path).map_err(|_| Errno::NOENT)?;
        let base = None;
        Ok(Self::Path { path, follow, base })
    }

    /// The same, for a path that begins with a descriptor of the caller: it may not be one.
    pub(super) fn behind(base: String, path: Vec<u8>, follow: bool) -> Result<Self, Errno> {
        let path = CString::new(path).map_err(|_| Errno::NOENT)?;
        let base = Some(base);
        Ok(Self::Path { path, follow, base })
    }

    /// The number of the process whose directory in /proc it is, if its path says so.
    pub(super) fn process(&self) -> Option<u32> {
        let Self::Path { path, .. } = self else {
            return None;
        };
        let number = path.to_str().ok()?.strip_prefix("/proc/")?;
        number.trim_end_matches('/').parse().ok()
    }

    /// Whether a note may be there: costs one call, and mostly it is no.
    pub(super) fn may_have_notes(&self) -> bool {
        let mut names = [0_u8; 512];
        let listed = match self {
            Self::Path {
                path, follow: true, ..
            } => rustix::fs::listxattr(path, &mut names[..]),
            Self::Path {
                path,
                follow: false,
                ..
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
            Self::Path { path, follow, base } => {
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let flags = if follow {
                    flags
                } else {
                    flags | OFlags::NOFOLLOW
                };
                let is_bad = |base: &String| rustix::fs::lstat(base).err() == Some(Errno::NOENT);
                match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
                    Err(Errno::NOENT) if base.as_ref().is_some_and(is_bad) => Err(Errno::BADF),
                    opened => opened,
                }
            }
        }
    }
}

fn is_note(name: &[u8]) -> bool {
    name == SPECIAL_OWNER_NOTE.to_bytes() || name.starts_with(NOTES)
}

/// The directory of a path, and the name in it.
pub(super) fn split(path: &[u8]) -> Result<(&[u8], &[u8]), Errno> {
    let end = path.iter().rposition(|byte| *byte != b'/');
    let Some(end) = end else {
        return Err(if path.is_empty() {
            Errno::NOENT
        } else {
            Errno::EXIST
        });
    };
    if end + 1 < path.len() {
        return Err(Errno::NOENT);
    }
    let start = path
        .iter()
        .rposition(|byte| *byte == b'/')
        .map_or(0, |slash| slash + 1);
    let (parent, name) = path.split_at(start);
    match name {
        b"." | b".." => Err(Errno::EXIST),
        _ if parent.is_empty() => Ok((b".", name)),
        _ => Ok((parent, name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_as_the_kernel_splits_them() {
        let good: [(&str, (&str, &str)); 4] = [
            ("/null", ("/", "null")),
            ("null", (".", "null")),
            ("/dev/a/null", ("/dev/a/", "null")),
            ("../null", ("../", "null")),
        ];
        for (path, (parent, name)) in good {
            assert_eq!(
                split(path.as_bytes()),
                Ok((parent.as_bytes(), name.as_bytes()))
            );
        }
        let bad = [
            ("", Errno::NOENT),
            ("a/", Errno::NOENT),
            ("/", Errno::EXIST),
            ("a/..", Errno::EXIST),
        ];
        for (path, errno) in bad {
            assert_eq!(split(path.as_bytes()), Err(errno), "{path}");
        }
    }
}
