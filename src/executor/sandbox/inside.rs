//! Finding and making mount points inside a root, by descriptor only.
//!
//! A path is walked one component at a time from the root's descriptor: each component is opened
//! with O_NOFOLLOW, symbolic links are read and walked in turn, an absolute one restarts at the
//! root, and `..` goes back along the descriptors already held. No string is resolved twice, and
//! no step can leave the root, whoever renames what meanwhile. (openat2's RESOLVE_IN_ROOT gives
//! the same for paths that exist; a dangling link, such as /etc/resolv.conf in many images, needs
//! its missing target made, so the walk is ours.)
//!
//! What was missing is made, remembered, and removed after the command if it is still empty, so
//! that mount points leave no trace in the layer. Times of parents are put back right after the
//! making: what the command itself changes later stays visible as such.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

/// Symbolic links that one path may go through: the kernel's own limit.
const LINKS_MAX: usize = 40;

/// What a mount point must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PointKind {
    /// For a file, socket or device.
    File,
    /// For a directory.
    Directory,
}

/// Something made only to be mounted on.
#[derive(Debug)]
struct Stub {
    parent: OwnedFd,
    name: OsString,
    kind: PointKind,
    /// Whether it stays, with a fixed time, as BuildKit leaves /dev, /proc and /sys.
    kept: bool,
}

/// Where a mount point is.
#[derive(Debug)]
pub(super) struct Located {
    /// To mount on.
    pub(super) point: OwnedFd,
    /// The directory it is in.
    pub(super) parent: OwnedFd,
    /// Its name there.
    pub(super) name: OsString,
}

/// The mount points of one sandbox.
#[derive(Debug)]
pub(super) struct MountPoints<'root> {
    root: BorrowedFd<'root>,
    made: Vec<Stub>,
}

impl<'root> MountPoints<'root> {
    /// Starts with nothing made inside `root`.
    pub(super) fn new(root: BorrowedFd<'root>) -> Self {
        Self {
            root,
            made: Vec::new(),
        }
    }

    /// Finds `path` inside the root, or makes it; gives a descriptor to mount on.
    ///
    /// Fails with ENOTDIR or EISDIR if what is there is not of `kind`, ELOOP after 40 links.
    pub(super) fn find_or_make(&mut self, path: &str, kind: PointKind) -> Result<OwnedFd, Errno> {
        self.locate(path, kind).map(|located| located.point)
    }

    /// As [`Self::find_or_make`], with where the point really is. EBUSY for the root itself.
    pub(super) fn locate(&mut self, path: &str, kind: PointKind) -> Result<Located, Errno> {
        let mut pending: VecDeque<OsString> = components(OsStr::new(path));
        let mut names: Vec<OsString> = Vec::new();
        let mut walked = vec![rustix::io::fcntl_dupfd_cloexec(self.root, 3)?];
        let mut links = 0;
        while let Some(name) = pending.pop_front() {
            if name == ".." {
                if walked.len() > 1 {
                    walked.pop();
                    names.pop();
                }
                continue;
            }
            let Some(parent) = walked.last() else { break };
            let wanted = if pending.is_empty() {
                kind
            } else {
                PointKind::Directory
            };
            let found = self.open_or_make(parent.as_fd(), &name, wanted)?;
            let file_type = FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode);
            if file_type == FileType::Symlink {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(&found, "", Vec::new())?.into_bytes();
                if target.first() == Some(&b'/') {
                    walked.truncate(1);
                    names.clear();
                }
                for component in components(OsStr::from_bytes(&target)).into_iter().rev() {
                    pending.push_front(component);
                }
                continue;
            }
            match (file_type == FileType::Directory, wanted) {
                (true, PointKind::File) => return Err(Errno::ISDIR),
                (false, PointKind::Directory) => return Err(Errno::NOTDIR),
                _ => {
                    walked.push(found);
                    names.push(name);
                }
            }
        }
        let found = walked.pop().ok_or(Errno::NOENT)?;
        let is_directory =
            FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) == FileType::Directory;
        match (is_directory, kind) {
            (true, PointKind::File) => Err(Errno::ISDIR),
            (false, PointKind::Directory) => Err(Errno::NOTDIR),
            _ => Ok(Located {
                point: found,
                parent: walked.pop().ok_or(Errno::BUSY)?,
                name: names.pop().ok_or(Errno::BUSY)?,
            }),
        }
    }

    /// As [`Self::find_or_make`] for a directory; what is made of the last component stays.
    pub(super) fn find_or_keep(&mut self, path: &str) -> Result<OwnedFd, Errno> {
        self.locate_or_keep(path).map(|located| located.point)
    }

    /// As [`Self::locate`] for a directory; what is made of the last component stays.
    pub(super) fn locate_or_keep(&mut self, path: &str) -> Result<Located, Errno> {
        let before = self.made.len();
        let found = self.locate(path, PointKind::Directory)?;
        for stub in self.made.iter_mut().skip(before) {
            stub.kept = true;
        }
        Ok(found)
    }

    fn open_or_make(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        kind: PointKind,
    ) -> Result<OwnedFd, Errno> {
        match open_component(parent, name) {
            Err(Errno::NOENT) => (),
            other => return other,
        }
        let times = times_of(parent, OsStr::new("."))?;
        match kind {
            PointKind::Directory => rustix::fs::mkdirat(parent, name, Mode::from(0o755))?,
            PointKind::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                drop(rustix::fs::openat(parent, name, flags, Mode::from(0o644))?);
            }
        }
        // A parent that is not ours to touch (an overlay in another user's hands) keeps its new time.
        let _ = rustix::fs::utimensat(parent, ".", &times, AtFlags::empty());
        self.made.push(Stub {
            parent: rustix::io::fcntl_dupfd_cloexec(parent, 3)?,
            name: name.to_owned(),
            kind,
            kept: false,
        });
        open_component(parent, name)
    }

    /// Removes what was made and is still empty, deepest first, and puts the times of parents
    /// back. Call when nothing is mounted in this namespace and nothing else runs in the root.
    pub(super) fn clean_up(&mut self) -> Result<(), Errno> {
        while let Some(stub) = self.made.pop() {
            let parent = stub.parent.as_fd();
            let Ok(found) = open_component(parent, &stub.name) else {
                continue; // the command removed or replaced what is above
            };
            let status = rustix::fs::fstat(&found)?;
            drop(found);
            let file_type = FileType::from_raw_mode(status.st_mode);
            if stub.kept {
                if file_type == FileType::Directory {
                    rustix::fs::utimensat(parent, &stub.name, &ZERO, AtFlags::SYMLINK_NOFOLLOW)?;
                }
                continue;
            }
            let times = times_of(parent, OsStr::new("."))?;
            let removed = match (stub.kind, file_type) {
                (PointKind::Directory, FileType::Directory) => {
                    rustix::fs::unlinkat(parent, &stub.name, AtFlags::REMOVEDIR)
                }
                (PointKind::File, FileType::RegularFile) if status.st_size == 0 => {
                    rustix::fs::unlinkat(parent, &stub.name, AtFlags::empty())
                }
                _ => continue,
            };
            match removed {
                Ok(()) => rustix::fs::utimensat(parent, ".", &times, AtFlags::empty())?,
                Err(Errno::NOTEMPTY | Errno::EXIST) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// 1970-01-01: older than every epoch, so that no clamp changes it.
const ZERO: Timestamps = Timestamps {
    last_access: Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    },
    last_modification: Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    },
};

fn open_component(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

pub(super) fn times_of(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Timestamps, Errno> {
    let status = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let nanoseconds = |value| i64::try_from(value).unwrap_or(0);
    Ok(Timestamps {
        last_access: Timespec {
            tv_sec: status.st_atime,
            tv_nsec: nanoseconds(status.st_atime_nsec),
        },
        last_modification: Timespec {
            tv_sec: status.st_mtime,
            tv_nsec: nanoseconds(status.st_mtime_nsec),
        },
    })
}

/// The components of a path that are names or `..`.
fn components(path: &OsStr) -> VecDeque<OsString> {
    path.as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(|name| OsString::from_vec(name.to_vec()))
        .collect()
}
