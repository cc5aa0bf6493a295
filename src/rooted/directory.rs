//! Directories by descriptor: listing, removing, and the times that they keep.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, Stat, Timespec, Timestamps, UTIME_OMIT,
};
use rustix::io::Errno;

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name.
    pub name: CString,
    /// What the directory says it is; `Unknown` on some file systems.
    pub kind: FileType,
}

/// Lists an open directory (not one opened with `O_PATH`), without `.` and `..`, in the order of
/// the file system.
pub fn read_directory(directory: BorrowedFd<'_>) -> io::Result<Vec<DirEntry>> {
    let mut buffer: Vec<u8> = Vec::with_capacity(1 << 15);
    let mut entries = Vec::new();
    let mut raw = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            entries.push(DirEntry {
                name: name.to_owned(),
                kind: entry.file_type(),
            });
        }
    }
    Ok(entries)
}

/// The time of the last change of something, to be given to something else or given back; for
/// utimensat(2), which then leaves the time of the last access.
pub fn times_as_of(status: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: status.st_mtime,
            tv_nsec: i64::try_from(status.st_mtime_nsec).unwrap_or(0),
        },
    }
}

/// Removes a name in a directory and all below it. Links are removed, never followed; nothing
/// there is fine.
///
/// Deep trees do not need many descriptors: directories below a few levels are first moved up.
pub fn remove_all_at(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // Linux says EISDIR, POSIX says EPERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let mut removal = Removal {
        top: parent,
        name,
        moved: 0,
    };
    removal.remove(parent, name, 0)?;
    // What was moved up may hold more that is moved up.
    let mut next = 0;
    while next < removal.moved {
        let deeper = removal.moved_name(next)?;
        removal.remove(parent, &deeper, 0)?;
        next += 1;
    }
    Ok(())
}

/// Directories deeper than this are moved up.
const DEPTH_MAX: usize = 48;

struct Removal<'a> {
    top: BorrowedFd<'a>,
    name: &'a CStr,
    moved: usize,
}

impl Removal<'_> {
    fn moved_name(&self, number: usize) -> io::Result<CString> {
        let start = self.name.to_bytes();
        let start = &start[..start.len().min(100)];
        let end = format!(".removed.{number}");
        Ok(CString::new([b".", start, end.as_bytes()].concat())?)
    }

    fn remove(&mut self, parent: BorrowedFd<'_>, name: &CStr, depth: usize) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
        let directory = match open() {
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ACCESS) => {
                // Our own directory without permissions for ourselves.
                make_accessible(parent, name)?;
                open()?
            }
            other => other?,
        };
        let here = directory.as_fd();
        for entry in read_directory(here)? {
            if entry.kind != FileType::Directory {
                match with_access(here, || unlink(here, &entry.name, AtFlags::empty())) {
                    Err(Errno::ISDIR | Errno::PERM) if entry.kind == FileType::Unknown => {}
                    other => {
                        other?;
                        continue;
                    }
                }
            }
            if depth < DEPTH_MAX {
                self.remove(here, &entry.name, depth + 1)?;
                continue;
            }
            let up = self.moved_name(self.moved)?;
            let flags = RenameFlags::NOREPLACE;
            rustix::fs::renameat_with(here, &entry.name, self.top, &up, flags)?;
            self.moved += 1;
        }
        Ok(with_access(parent, || {
            unlink(parent, name, AtFlags::REMOVEDIR)
        })?)
    }
}

/// Unlinks; what is gone already is fine.
fn unlink(parent: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Does something in a directory, if need be after giving ourselves the permission.
fn with_access(
    directory: BorrowedFd<'_>,
    mut work: impl FnMut() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    match work() {
        Err(Errno::ACCESS) => {
            rustix::fs::fchmod(directory, Mode::RWXU)?;
            work()
        }
        other => other,
    }
}

/// Gives ourselves all permissions on a directory, which is not reached through a link.
fn make_accessible(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    // `fchmod` does not take what was opened with `O_PATH`.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    rustix::fs::chmod(path, Mode::RWXU)
}
