//! Copies of trees, with all that an image can say of them: what a mount shows where nothing can
//! be mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Stat, StatxFlags, Uid};
use rustix::io::Errno;

use super::spec::Inode;
use crate::rooted::read_directory;
use crate::sys::xattr;
use crate::tree::is_image_xattr;

/// Copies what `from` is, and all below it, to a new name in a directory. Sockets are left out.
/// Gives the copies that have several names.
pub(super) fn copy(
    from: &OwnedFd,
    (parent, name): (BorrowedFd<'_>, &CStr),
) -> io::Result<BTreeSet<Inode>> {
    let mut copies = Copies {
        top: parent,
        firsts: BTreeMap::new(),
        shared: BTreeSet::new(),
    };
    copies.copy(from, (parent, name), name.to_bytes())?;
    Ok(copies.shared)
}

/// What was copied so far.
struct Copies<'a> {
    /// Where paths of copies begin.
    top: BorrowedFd<'a>,
    /// The copies of files of several names, by device and inode of the file.
    firsts: BTreeMap<(u64, u64), Vec<u8>>,
    shared: BTreeSet<Inode>,
}

impl Copies<'_> {
    fn copy(
        &mut self,
        from: &OwnedFd,
        (parent, name): (BorrowedFd<'_>, &CStr),
        path: &[u8],
    ) -> io::Result<()> {
        let status = rustix::fs::fstat(from)?;
        let kind = FileType::from_raw_mode(status.st_mode);
        if kind == FileType::Directory {
            rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
            let source = reopen(from, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let target = open(parent, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            for entry in read_directory(source.as_fd())? {
                let child = open(source.as_fd(), &entry.name, OFlags::PATH)?;
                let path = [path, b"/", entry.name.to_bytes()].concat();
                self.copy(&child, (target.as_fd(), &entry.name), &path)?;
            }
        } else if status.st_nlink > 1 {
            let file = (status.st_dev, status.st_ino);
            if self.link(file, (parent, name)).is_some() {
                return Ok(());
            }
            self.firsts.insert(file, path.to_owned());
        }
        match kind {
            FileType::Directory => (),
            FileType::RegularFile => copy_content(from, (parent, name))?,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(from, c"", Vec::new())?;
                rustix::fs::symlinkat(target, parent, name)?;
            }
            FileType::Socket | FileType::Unknown => return Ok(()),
            kind => rustix::fs::mknodat(parent, name, kind, Mode::RUSR, status.st_rdev)?,
        }
        describe(from, &status, (parent, name))
    }

    /// Gives a copy one more name; `None` if there is no copy, or it can have no more.
    fn link(&mut self, file: (u64, u64), (parent, name): (BorrowedFd<'_>, &CStr)) -> Option<()> {
        let first = self.firsts.get(&file)?;
        let flags = AtFlags::empty();
        rustix::fs::linkat(self.top, first.as_slice(), parent, name, flags).ok()?;
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        let state = rustix::fs::statx(parent, name, nofollow, wanted).ok()?;
        self.shared.insert(Inode::from(&state));
        Some(())
    }
}

fn copy_content(from: &OwnedFd, (parent, name): (BorrowedFd<'_>, &CStr)) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let target = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
    let mut source = File::from(reopen(from, OFlags::RDONLY)?);
    // A clone shares the blocks where the file system can; else the kernel copies.
    if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
        io::copy(&mut source, &mut File::from(target))?;
    }
    Ok(())
}

/// Gives a copy its owner, mode, attributes and time, in the order in which none undoes another.
fn describe(
    from: &OwnedFd,
    status: &Stat,
    (parent, name): (BorrowedFd<'_>, &CStr),
) -> io::Result<()> {
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), nofollow)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::Symlink {
        let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
        rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?;
        if matches!(
            FileType::from_raw_mode(status.st_mode),
            FileType::Directory | FileType::RegularFile
        ) {
            let source = reopen(from, OFlags::RDONLY)?;
            copy_attributes(source.as_fd(), (parent, name))?;
        }
    }
    let times = crate::rooted::times_as_of(status);
    Ok(rustix::fs::utimensat(parent, name, &times, nofollow)?)
}

fn copy_attributes(
    from: BorrowedFd<'_>,
    (parent, name): (BorrowedFd<'_>, &CStr),
) -> io::Result<()> {
    let mut names = vec![0; 1 << 16];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut value = vec![0; 1 << 16];
    for key in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(key) = CStr::from_bytes_with_nul(key) else {
            continue;
        };
        if is_image_xattr(key.to_bytes()) {
            let length = rustix::fs::fgetxattr(from, key, &mut value[..])?;
            xattr::set_at(parent, name, key, &value[..length])?;
        }
    }
    Ok(())
}

fn open(parent: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// A descriptor that can be read, of what one opened with `O_PATH` refers to.
fn reopen(file: &OwnedFd, flags: OFlags) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::open(
        path,
        flags | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}
