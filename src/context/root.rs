//! Opening what is inside a directory, and only that.
//!
//! `openat2` with `RESOLVE_BENEATH` where the kernel has it and lets us; otherwise one component
//! after the other with `O_NOFOLLOW`. Neither ever follows a link or `..`, so another process that
//! swaps components cannot lead outside.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::stamp::Stamp;

/// For directories that are walked.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// For files: never blocks on a FIFO, never becomes a controlling terminal.
pub(super) const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Opens the root directory itself; the user named it, so links in its path are followed.
pub(super) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// Opens a cleaned relative path below `root`; the empty path is the root. No link is followed.
pub(super) fn open_beneath<F: AsFd>(root: &F, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match open_resolving(root, path, flags, resolve) {
        Some(result) => result,
        None => open_by_components(root, path, flags),
    }
}

/// Opens a path below `root`, links inside it followed, as long as they stay inside. A link that
/// leads outside gives `EXDEV`. Without `openat2` every link is refused.
pub(super) fn open_following(root: &impl AsFd, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match open_resolving(root, path, flags - OFlags::NOFOLLOW, resolve) {
        Some(result) => result,
        None => open_by_components(root, path, flags),
    }
}

/// `openat2`; `None` if the kernel or a filter does not let us.
fn open_resolving(
    root: &impl AsFd,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Option<io::Result<OwnedFd>> {
    // `EAGAIN`: something was renamed meanwhile and the kernel cannot vouch for the result.
    for _ in 0..64 {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::PERM) => return None,
            other => return Some(other.map_err(Into::into)),
        }
    }
    None
}

fn open_by_components<F: AsFd>(root: &F, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let mut directory: Option<OwnedFd> = None;
    let mut names = path.split(|byte| *byte == b'/').peekable();
    while let Some(name) = names.next() {
        if name == b".." {
            return Err(Errno::XDEV.into());
        }
        let last = names.peek().is_none();
        let flags = if last {
            flags | OFlags::NOFOLLOW
        } else {
            DIRECTORY
        };
        let next = match &directory {
            None => rustix::fs::openat(root, name, flags, Mode::empty()),
            Some(directory) => rustix::fs::openat(directory, name, flags, Mode::empty()),
        }?;
        if last {
            return Ok(next);
        }
        directory = Some(next);
    }
    Err(Errno::NOENT.into())
}

/// Checks that what was opened is a regular file.
pub(super) fn regular(file: OwnedFd) -> io::Result<(File, Stamp)> {
    let stamp = Stamp::of(&file)?;
    match stamp.file_type() {
        FileType::RegularFile => Ok((File::from(file), stamp)),
        FileType::Directory => Err(Errno::ISDIR.into()),
        other => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("is {}, not a regular file", type_name(other)),
        )),
    }
}

/// Reads a whole file of at most `limit` bytes.
pub(super) fn read_bounded(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("is larger than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

fn type_name(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink => "a symbolic link",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_opening_stay_inside_and_refuse_links() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("root/dir")).unwrap();
        std::fs::write(place.path().join("root/dir/file"), "inside").unwrap();
        std::fs::write(place.path().join("canary"), "outside").unwrap();
        std::os::unix::fs::symlink("dir", place.path().join("root/link")).unwrap();
        std::os::unix::fs::symlink("../canary", place.path().join("root/out")).unwrap();
        let root = open_root(&place.path().join("root")).unwrap();
        for open in [open_beneath::<OwnedFd>, open_by_components::<OwnedFd>] {
            let opened = open(&root, b"dir/file", FILE).and_then(regular);
            assert_eq!(read_bounded(&opened.unwrap().0, 6).unwrap(), b"inside");
            for path in [
                &b"link/file"[..],
                b"out",
                b"../canary",
                b"dir/../../canary",
                b"none",
            ] {
                assert!(open(&root, path, FILE).is_err(), "{path:?}");
            }
            let directory = open(&root, b"dir", FILE).and_then(regular);
            assert_eq!(directory.unwrap_err().kind(), io::ErrorKind::IsADirectory);
        }
        let followed = open_following(&root, b"link/file", FILE).and_then(regular);
        assert!(read_bounded(&followed.unwrap().0, 5).is_err());
        assert!(open_following(&root, b"out", FILE).is_err());
    }
}
