//! Paths inside a root: everything that touches a rootfs or a context by path goes through here.
//!
//! A [`Root`] is an open directory. Paths are bytes relative to it (a leading slash is the root's).
//! They are resolved by the kernel (`openat2(2)`, Linux 5.6) or, where that is missing or
//! forbidden, component by component; both ways give the same answers and neither ever reaches
//! anything outside, whatever somebody renames or links meanwhile.

mod directory;
mod resolve;
#[cfg(test)]
mod tests;

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags};

pub use directory::{DirEntry, read_directory, remove_all_at, times_as_of};
pub use resolve::Links;
use resolve::Resolver;

/// A directory that paths cannot leave.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    resolver: Resolver,
}

impl Root {
    /// Opens a directory by a path that is trusted: of the store, or given by the user.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::from_fd(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Wraps an open directory.
    pub fn from_fd(directory: OwnedFd) -> Self {
        Self {
            directory,
            resolver: Resolver::new(),
        }
    }

    /// Opens a path; `flags` as in `open(2)`, `O_CLOEXEC` is added. With `O_CREAT` the new file's
    /// mode is 0666 less the umask.
    pub fn open_with(&self, path: &[u8], links: Links, flags: OFlags) -> io::Result<OwnedFd> {
        self.resolver.open(self.as_fd(), path, links, flags)
    }

    /// Opens a path whose symbolic links may not lead outside: they are followed below the root,
    /// and one that is absolute or goes up too far is `EXDEV`.
    pub fn open_beneath(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        self.open_with(path, Links::Beneath, flags)
    }

    /// Opens a path as a process would whose root this is: absolute links and superfluous `..`
    /// stay inside.
    pub fn open_in_root(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        self.open_with(path, Links::InRoot, flags)
    }

    /// Opens a regular file for reading, without any symbolic link on the way. Never blocks on a
    /// FIFO or a device: what is no regular file is an error.
    pub fn open_file(&self, path: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = File::from(self.open_with(path, Links::None, flags)?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a regular file",
            ))
        }
    }

    /// Opens a directory, links followed as `links` says.
    pub fn open_directory(&self, path: &[u8], links: Links) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(Self::from_fd(self.open_with(path, links, flags)?))
    }

    /// The state of a path; the last component is not followed.
    pub fn stat(&self, path: &[u8], links: Links) -> io::Result<Statx> {
        let (parent, name) = self.parent(path, links)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::statx(
            &parent,
            &name,
            flags,
            StatxFlags::BASIC_STATS,
        )?)
    }

    /// The target of a symbolic link, as written.
    pub fn read_link(&self, path: &[u8], links: Links) -> io::Result<Vec<u8>> {
        let (parent, name) = self.parent(path, links)?;
        Ok(rustix::fs::readlinkat(&parent, &name, Vec::new())?.into_bytes())
    }

    /// Makes a directory and those above it that are missing (mode 0755 less the umask), links in
    /// the root followed; gives it open. Existing ones stay as they are.
    pub fn make_directories(&self, path: &[u8]) -> io::Result<Self> {
        let mut done = Vec::new();
        for name in names(path) {
            done.push(b'/');
            done.extend_from_slice(name);
            let (parent, name) = self.parent(&done, Links::InRoot)?;
            match rustix::fs::mkdirat(&parent, &name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.open_directory(&done, Links::InRoot)
    }

    /// Makes a new regular file; it is an error if anything is there.
    pub fn create(&self, path: &[u8], mode: u32) -> io::Result<File> {
        let (parent, name) = self.parent(path, Links::InRoot)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode);
        let file = rustix::fs::openat(&parent, &name, flags | OFlags::CLOEXEC, mode)?;
        Ok(file.into())
    }

    /// Removes a path and all below it; the last component is not followed. Nothing there is fine.
    pub fn remove_all(&self, path: &[u8]) -> io::Result<()> {
        match self.parent(path, Links::InRoot) {
            Ok((parent, name)) => remove_all_at(parent.as_fd(), &name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The open directory that holds the last component of a path, and that component. The root
    /// itself is `.` in itself.
    pub fn parent(&self, path: &[u8], links: Links) -> io::Result<(OwnedFd, CString)> {
        let end = path
            .iter()
            .rposition(|byte| *byte != b'/')
            .map_or(0, |at| at + 1);
        let path = &path[..end];
        let start = path
            .iter()
            .rposition(|byte| *byte == b'/')
            .map_or(0, |at| at + 1);
        let (parent, name) = path.split_at(start);
        let (parent, name) = match name {
            b"" => (&b""[..], &b"."[..]),
            b".." => return Err(rustix::io::Errno::INVAL.into()),
            name => (parent, name),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = self.open_with(parent, links, flags)?;
        Ok((parent, CString::new(name)?))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The components that say something.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let names = path.split(|byte| *byte == b'/');
    names.filter(|name| !matches!(*name, b"" | b"."))
}
