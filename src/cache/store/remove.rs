//! Removal of directories that were filled by others.
//!
//! What a RUN left may be deep, wide, of other owners, of mode 000, and full of links. Removal never
//! follows a link, holds two descriptors at any depth, and needs no path longer than a name: a
//! directory that is not empty is moved beside the tree to be removed first, and goes in its turn.
//! So a removal that was interrupted leaves only trash.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::file;
use super::paths::Paths;

/// Moves a file or a directory of the store into the trash: gives its name there, `None` if it was
/// not there.
pub(super) fn trash(paths: &Paths, path: &Path) -> io::Result<Option<String>> {
    let trash = paths.area("trash");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut number = 0_u32;
    loop {
        let name = format!("{name}.{}.{number}", std::process::id());
        let to = trash.join(&name);
        if to.symlink_metadata().is_ok() {
            number += 1;
            continue;
        }
        // The trash is made here if need be; a missing `path` is `NotFound` both times.
        match file::with_parent(&to, || file::rename_new(path, &to)) {
            Ok(()) => return Ok(Some(name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Moves a directory into the trash and removes it.
pub(super) fn discard_dir(paths: &Paths, dir: &Path) -> io::Result<()> {
    match trash(paths, dir)? {
        Some(name) => remove_tree(&paths.area("trash"), &name),
        None => Ok(()),
    }
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
        match self.try_entry(parent, name, kind) {
            Err(Errno::ACCESS) => {
                // The owner may have taken the right to write from itself.
                let _ = rustix::fs::fchmod(parent, Mode::RWXU);
                let _ = open_up(parent, name);
                let again = self.try_entry(parent, name, kind);
                again.unwrap_or_else(|error| self.fail(error));
            }
            result => result.unwrap_or_else(|error| self.fail(error)),
        }
    }

    fn try_entry(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
    ) -> Result<(), Errno> {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::ISDIR) => {}
                Err(error) => return Err(error),
            }
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => self.set_aside(parent, name),
            Err(error) => Err(error),
        }
    }

    fn set_aside(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
        loop {
            self.moved += 1;
            let aside = CString::new(format!("{}.{}", self.prefix, self.moved))
                .map_err(|_| Errno::INVAL)?;
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(parent, name, self.trash, &aside, flags) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                // No RENAME_NOREPLACE here: a directory never replaces one that is not empty.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    rustix::fs::renameat(parent, name, self.trash, &aside)?;
                }
                Err(error) => return Err(error),
            }
            self.waiting.push((aside, 0));
            return Ok(());
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
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.fail(error),
            };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
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
