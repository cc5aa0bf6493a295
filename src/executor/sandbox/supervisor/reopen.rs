//! Opening for a command in a chroot what links of /proc lead to: only what lies below its root, and with
//! its own rights.

use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::asker::Rights;

/// What the kernel calls a file that has no name because it never had a directory.
const MEMORY: &[u8] = b"/memfd:";
/// What it says of a name that is gone.
const REMOVED: &[u8] = b" (deleted)";

/// Major and minor number of /dev/null.
const NULL: (u32, u32) = (1, 3);

/// Finds what a link of /proc leads to, without opening it. EACCES if that is outside of `root`: a
/// descriptor of it says nothing about whether the command may open it, for who may walk may have one.
pub(super) fn find(root: &OwnedFd, link: &str) -> Result<OwnedFd, Errno> {
    let found = rustix::fs::openat(CWD, link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    if is_inside(root, &found)? {
        return Ok(found);
    }
    let status = rustix::fs::fstat(&found)?;
    let number = (
        rustix::fs::major(status.st_rdev),
        rustix::fs::minor(status.st_rdev),
    );
    let kind = FileType::from_raw_mode(status.st_mode);
    if (kind, number) != (FileType::CharacterDevice, NULL) {
        return Err(Errno::ACCESS);
    }
    // Standard input may be the machine's; the root has one of its own.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let own = rustix::fs::openat2(root, "dev/null", flags, Mode::empty(), resolve)?;
    Ok(own)
}

/// Whether what has a path has it below `root`. Pipes, sockets and files in memory have none.
fn is_inside(root: &OwnedFd, found: &OwnedFd) -> Result<bool, Errno> {
    let name = name_of(found)?;
    if !name.starts_with(b"/") {
        return Ok(true);
    }
    if name.starts_with(MEMORY) && name.ends_with(REMOVED) {
        return Ok(rustix::fs::fstat(found)?.st_nlink == 0);
    }
    Ok(below(&name, &name_of(root)?).is_some())
}

/// What a path is below a root: empty for the root itself.
pub(super) fn below<'a>(path: &'a [u8], root: &[u8]) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(root)?;
    (rest.is_empty() || rest.starts_with(b"/") || root.ends_with(b"/")).then_some(rest)
}

/// The kernel's name of what a descriptor is.
pub(super) fn name_of(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlink(own(file), Vec::new()).map(std::ffi::CString::into_bytes)
}

/// The link of /proc to what a descriptor of ours is.
pub(super) fn own(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Opens what was found, with these rights. It never waits for the other end of a FIFO.
pub(super) fn open(found: &OwnedFd, flags: OFlags, rights: &Rights) -> Result<OwnedFd, Errno> {
    let kept = OFlags::RWMODE
        | OFlags::DIRECTORY
        | OFlags::APPEND
        | OFlags::TRUNC
        | OFlags::NONBLOCK
        | OFlags::DSYNC;
    let wanted = (flags & kept) | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let link = own(found);
    let file = rights.act(|| rustix::fs::openat(CWD, link, wanted, Mode::empty()))?;
    if !flags.contains(OFlags::NONBLOCK) {
        let status = rustix::fs::fcntl_getfl(&file)?;
        rustix::fs::fcntl_setfl(&file, status - OFlags::NONBLOCK)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_told_by_components() {
        let table = [
            ("/s/root", "/s/root", Some("")),
            ("/s/root/a", "/s/root", Some("/a")),
            ("/s/rooted/a", "/s/root", None),
            ("/s", "/s/root", None),
            ("/etc/shadow", "/s/root", None),
        ];
        for (path, root, expected) in table {
            let found = below(path.as_bytes(), root.as_bytes());
            assert_eq!(found, expected.map(str::as_bytes));
        }
    }

    #[test]
    fn what_is_outside_is_not_found() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        std::fs::write(directory.path().join("root/in"), "").unwrap();
        std::fs::write(directory.path().join("out"), "").unwrap();
        let open =
            |name: &str| OwnedFd::from(std::fs::File::open(directory.path().join(name)).unwrap());
        let (root, inside, outside) = (open("root"), open("root/in"), open("out"));
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(find(&root, &own(&root)).is_ok());
        assert!(find(&root, &own(&inside)).is_ok());
        assert!(find(&root, &own(&OwnedFd::from(reader))).is_ok());
        assert_eq!(find(&root, &own(&outside)).err(), Some(Errno::ACCESS));
        std::fs::remove_file(directory.path().join("root/in")).unwrap();
        assert!(
            find(&root, &own(&inside)).is_ok(),
            "removed, but from the root"
        );
        std::fs::remove_file(directory.path().join("out")).unwrap();
        assert_eq!(find(&root, &own(&outside)).err(), Some(Errno::ACCESS));
    }
}
