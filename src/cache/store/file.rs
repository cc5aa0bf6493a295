//! Small operations on files: bounded reads, writes that appear whole, directories on demand.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RenameFlags};

/// Opens a file for reading. Never follows a link at the end of the path, never waits (a FIFO in
/// the place of a file reads as empty).
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?.into())
}

/// Reads a file of at most `max` bytes; `None` if there is none, if it is longer, or if it cannot
/// be read: for caches all of these are misses.
pub(crate) fn read(path: &Path, max: u64) -> Option<Vec<u8>> {
    let mut file = open(path).ok()?;
    let mut bytes = vec![0; 8192];
    let mut length = 0;
    loop {
        match file.read(&mut bytes[length..]) {
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        }
        if length as u64 > max {
            return None;
        }
        if length < bytes.len() {
            // A regular file gives less than was asked for only at its end.
            bytes.truncate(length);
            return Some(bytes);
        }
        let more = file.metadata().map_or(0, |metadata| metadata.len());
        let more = usize::try_from(more.min(max)).unwrap_or(0);
        // One byte to spare, so that the end shows at once.
        bytes.resize(more.max(length).saturating_add(1).max(length * 2), 0);
    }
}

/// Makes a directory and its missing parents, mode 0700: the store is its owner's.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Does something that needs the parent directory of `path`, making the directory if it is not
/// there yet.
pub(crate) fn with_parent<T>(
    path: &Path,
    mut action: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    match (action(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            make_dir(parent)?;
            action()
        }
        (result, _) => result,
    }
}

/// Creates a file that must not exist yet, and its directory where needed.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    with_parent(path, || {
        let mode = Mode::from_raw_mode(0o644);
        Ok(rustix::fs::openat(CWD, path, flags, mode)?.into())
    })
}

/// Writes a file under a temporary name, then gives it its name, replacing an older one. Not
/// durable: for sealed files only.
pub(crate) fn replace(temp: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_temp(temp, bytes)?;
    with_parent(path, || fs::rename(temp, path)).inspect_err(|_| discard(temp))
}

/// Like [`replace`], but fails with `AlreadyExists` if the name is taken.
pub(crate) fn publish_new(temp: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_temp(temp, bytes)?;
    with_parent(path, || rename_new(temp, path)).inspect_err(|_| discard(temp))
}

fn write_temp(temp: &Path, bytes: &[u8]) -> io::Result<()> {
    create(temp)?
        .write_all(bytes)
        .inspect_err(|_| discard(temp))
}

/// Renames unless the new name is taken.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without RENAME_NOREPLACE (NFS, old FUSE): a link fails as it should.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        result => Ok(result?),
    }
}

/// Removes a file whose absence is the goal; what cannot be removed is found by a later clean-up.
pub(crate) fn discard(path: &Path) {
    drop(fs::remove_file(path));
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    Ok(rustix::fs::fsync(dir)?)
}

/// The names in a directory, sorted; a directory that is not there has none.
pub(crate) fn names(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}
