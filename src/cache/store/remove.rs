//! Removal of directories that were filled by others.
//!
//! What a RUN left may be deep, wide, of other owners, of mode 000, and full of links. Removal never
//! follows a link, holds two descriptors at any depth, and needs no path longer than a name: a
//! directory that is not empty is moved beside the tree to be removed first, and goes in its turn.
//! So a removal that was interrupted leaves only trash.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::file;
use super::paths::Paths;

/// Moves a directory into the trash and removes it.
pub(super) fn discard_dir(paths: &Paths, dir: &Path) -> io::Result<()> {
    let trash = paths.area("trash");
    let name = dir.file_name().unwrap_or_default();
    let to = trash.join(name);
    file::with_parent(&to, || fs::rename(dir, &to))?;
    remove_tree(&trash, name.to_string_lossy().as_ref())
}

/// Removes `name`, a file or a whole directory, from the directory `trash`, which belongs to this
/// process alone. Never follows a link.
///
/// Files of other user ids need a process that may remove them: root, or root of the user namespace
/// that made them. Everything that can be removed is; then the first error is returned.
pub fn remove_tree(trash: &Path, name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let trash = rustix::fs::openat(CWD, trash, flags, Mode::empty())?;
    let mut removal = Removal {
        trash: trash.as_fd(),
        waiting: Vec::new(),
        moved: 0,
        prefix: name.to_string_lossy().into_owned(),
        failure: None,
    };
    removal.entry(trash.as_fd(), &name, FileType::Unknown);
    while let Some((name, attempts)) = removal.waiting.pop() {
        removal.directory(&name, attempts);
    }
    removal.failure.map_or(Ok(()), |error| Err(error.into()))
}

struct Removal<'a> {
    trash: BorrowedFd<'a>,
    /// Directories in the trash that are to be emptied, with the number of attempts so far.
    waiting: Vec<(CString, u8)>,
    moved: u64,
    prefix: String,
    failure: Option<Errno>,
}

impl Removal<'_> {
    /// Removes one entry of `parent`, or moves it into the trash to be emptied later.
    fn entry(&mut self, parent: BorrowedFd<'_>, name: &CStr, kind: FileType) {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return,
                Err(Errno::ISDIR | Errno::PERM) => {}
                Err(error) => return self.fail(error),
            }
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            // PERM for what is no directory: the refusal to unlink it stands.
            Err(Errno::NOTDIR) => self.fail(Errno::PERM),
            Err(Errno::NOTEMPTY | Errno::EXIST) => self.set_aside(parent, name),
            Err(error) => self.fail(error),
        }
    }

    fn set_aside(&mut self, parent: BorrowedFd<'_>, name: &CStr) {
        loop {
            self.moved += 1;
            let Ok(aside) = CString::new(format!("{}.{}", self.prefix, self.moved)) else {
                return self.fail(Errno::INVAL);
            };
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            let moved = rustix::fs::renameat_with(parent, name, self.trash, &aside, flags);
            match moved {
                Ok(()) => return self.waiting.push((aside, 0)),
                Err(Errno::EXIST) => {}
                // A directory that its owner may not write cannot get another parent.
                Err(Errno::ACCESS) if open_up(parent, name).is_ok() => {
                    match rustix::fs::renameat_with(parent, name, self.trash, &aside, flags) {
                        Ok(()) => return self.waiting.push((aside, 0)),
                        Err(Errno::EXIST) => {}
                        Err(error) => return self.fail(error),
                    }
                }
                // No RENAME_NOREPLACE here: a directory never replaces one that is not empty.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    match rustix::fs::renameat(parent, name, self.trash, &aside) {
                        Ok(()) => return self.waiting.push((aside, 0)),
                        Err(error) => return self.fail(error),
                    }
                }
                Err(error) => return self.fail(error),
            }
        }
    }

    /// Empties a directory of the trash and removes it.
    fn directory(&mut self, name: &CStr, attempts: u8) {
        let dir = match open_dir(self.trash, name) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => return,
            Err(error) => return self.fail(error),
        };
        let failures = self.failure;
        self.failure = None;
        self.empty(&dir);
        let hindered = self.failure.is_some();
        self.failure = failures.or(self.failure);
        match rustix::fs::unlinkat(self.trash, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Entries may be skipped while a directory changes under its reader.
            Err(Errno::NOTEMPTY | Errno::EXIST) if attempts < 3 && !hindered => {
                self.waiting.push((name.to_owned(), attempts + 1));
            }
            Err(error) => self.fail(error),
        }
    }

    fn empty(&mut self, dir: &OwnedFd) {
        let entries = match Dir::read_from(dir) {
            Ok(entries) => entries,
            Err(error) => return self.fail(error),
        };
        let mut opened = false;
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.fail(error),
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            if !opened {
                // Before the first removal: the owner may have taken the right to write from itself.
                opened = true;
                let _ = rustix::fs::fchmod(dir, Mode::RWXU);
            }
            self.entry(dir.as_fd(), name, entry.file_type());
        }
    }

    fn fail(&mut self, error: Errno) {
        self.failure.get_or_insert(error);
    }
}

/// Opens a directory, giving its owner the right to read it if that is missing.
fn open_dir(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            open_up(parent, name)?;
            rustix::fs::openat(parent, name, flags, Mode::empty())
        }
        result => result,
    }
}

/// Gives the owner all rights on a directory, never following a link.
fn open_up(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let dir = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&dir));
    rustix::fs::chmod(path, Mode::RWXU)
}
