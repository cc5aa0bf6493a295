//! Directories that one command leaves to the next: /dev, /sys and /proc where nothing is mounted.
//!
//! They are made of some thirty inodes. To make and remove these for every command costs more than
//! the calls: ext4 gives no inode away again within five seconds, and looks at all that were removed
//! in that time whenever it looks for a free one.
//!
//! A directory is used again only if nothing in it differs from what was made. What it was is written
//! beside it.

use std::ffi::{CStr, OsStr, OsString};
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::rooted::{read_directory, remove_all_at};

/// How deep directories are described: none of ours is deeper.
const DEPTH_MAX: usize = 4;

/// A directory that may be there from the command before.
#[derive(Debug)]
pub(super) struct Kept<'a> {
    work: BorrowedFd<'a>,
    name: &'a OsStr,
    /// The file that says what it was.
    note: OsString,
}

impl<'a> Kept<'a> {
    /// The directory `name` in `work`.
    pub(super) fn new(work: BorrowedFd<'a>, name: &'a OsStr) -> Self {
        let mut note = name.to_owned();
        note.push(".made");
        Self { work, name, note }
    }

    /// The directory, if it is as it was made; else nothing is left of it.
    pub(super) fn directory(&mut self) -> Option<OwnedFd> {
        if let Ok(directory) = self.unchanged() {
            return Some(directory);
        }
        for name in [self.name, &self.note] {
            let name = std::os::unix::ffi::OsStrExt::as_bytes(name);
            if let Ok(name) = std::ffi::CString::new(name) {
                // If this fails, making the directory will.
                let _ = remove_all_at(self.work, &name);
            }
        }
        None
    }

    /// Remembers how the directory was made. If that fails it will not be used again.
    pub(super) fn remember(&self, directory: &OwnedFd) {
        let Ok(made) = description(directory) else {
            return;
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.work, &self.note, flags, Mode::from(0o600));
        if let Ok(file) = file {
            let _ = std::fs::File::from(file).write_all(made.as_bytes());
        }
    }

    fn unchanged(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let note = rustix::fs::openat(self.work, &self.note, flags, Mode::empty())?;
        let mut made = String::new();
        let read = std::fs::File::from(note).read_to_string(&mut made);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let flags = flags | OFlags::DIRECTORY;
        let directory = rustix::fs::openat(self.work, self.name, flags, Mode::empty())?;
        if description(&directory)? == made {
            Ok(directory)
        } else {
            Err(Errno::STALE)
        }
    }
}

/// All that there is to say about a directory: a line a name.
fn description(directory: &OwnedFd) -> Result<String, Errno> {
    let mut text = String::new();
    describe((directory.as_fd(), c"."), 0, &mut text)?;
    Ok(text)
}

fn describe(
    (directory, name): (BorrowedFd<'_>, &CStr),
    depth: usize,
    text: &mut String,
) -> Result<(), Errno> {
    let state = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(state.st_mode);
    let size = if kind == FileType::Directory {
        0
    } else {
        state.st_size
    };
    let owner = (state.st_uid, state.st_gid);
    let (mode, device) = (state.st_mode, state.st_rdev);
    let _ = write!(text, "{depth} {name:?} {mode:o} {owner:?} {device} {size}");
    if kind == FileType::Symlink {
        let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
        let _ = write!(text, " {target:?}");
    }
    text.push('\n');
    if kind != FileType::Directory {
        return Ok(());
    }
    if depth > DEPTH_MAX {
        return Err(Errno::LOOP);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inside = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let entries = read_directory(inside.as_fd());
    let entries = entries.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
    names.sort_unstable();
    for name in names {
        describe((inside.as_fd(), &name), depth + 1, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;

    use super::*;

    fn make(work: &Path) {
        let place = work.join("kept-dev");
        std::fs::create_dir_all(place.join("shm")).unwrap();
        std::fs::write(place.join("file"), "").unwrap();
        symlink("file", place.join("link")).unwrap();
    }

    /// Whether the directory is used again after `change`.
    fn is_used_again(change: impl FnOnce(&Path)) -> bool {
        let work = tempfile::tempdir().unwrap();
        let open = OwnedFd::from(std::fs::File::open(work.path()).unwrap());
        let name = OsStr::new("kept-dev");
        let mut kept = Kept::new(open.as_fd(), name);
        assert!(kept.directory().is_none(), "there is none yet");
        make(work.path());
        let place = work.path().join(name);
        kept.remember(&OwnedFd::from(std::fs::File::open(&place).unwrap()));
        change(&place);
        let is_there = kept.directory().is_some();
        assert_eq!(place.exists(), is_there, "a changed one is removed");
        is_there
    }

    #[test]
    fn what_a_command_left_alone_is_used_again() {
        assert!(is_used_again(|_| ()));
        assert!(is_used_again(|place| {
            std::fs::write(place.join("shm/x"), "").unwrap();
            std::fs::remove_file(place.join("shm/x")).unwrap();
        }));
    }

    #[test]
    fn what_a_command_changed_is_made_anew() {
        let changes: [fn(&Path); 6] = [
            |place| std::fs::write(place.join("shm/x"), "").unwrap(),
            |place| std::fs::write(place.join("file"), "x").unwrap(),
            |place| std::fs::remove_file(place.join("link")).unwrap(),
            |place| {
                let mode = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(place.join("file"), mode).unwrap();
            },
            |place| {
                std::fs::remove_file(place.join("link")).unwrap();
                symlink("elsewhere", place.join("link")).unwrap();
            },
            |place| std::fs::create_dir_all(place.join("a/b/c/d/e/f/g")).unwrap(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(!is_used_again(change), "change {number}");
        }
    }
}
