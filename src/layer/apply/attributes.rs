//! Making nodes and giving them their attributes.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::{LayerError, Ownership, create_error};
use crate::clock::Epoch;
use crate::sys::xattr;
use crate::tree::{
    DEVICE_NOTE, Device, Entry, Kind, OWNER_NOTE, SPECIAL_OWNER_NOTE, TreePath, Unread, owner_note,
    special_owner_note,
};

/// The largest device numbers that the kernel has.
const MAJOR_MAX: u32 = 0xfff;
const MINOR_MAX: u32 = 0xf_ffff;

/// What is done to all entries alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) ownership: Ownership,
    pub(super) clamp: Option<Epoch>,
}

impl Policy {
    fn times(self, entry: &Entry<Unread>) -> Timestamps {
        let seconds = match self.clamp {
            Some(epoch) => entry.mtime.min(epoch.0),
            None => entry.mtime,
        };
        Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: seconds,
                tv_nsec: 0,
            },
        }
    }

    fn owner(self, entry: &Entry<Unread>) -> Option<(Uid, Gid)> {
        (self.ownership == Ownership::Real)
            .then(|| (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid)))
    }

    fn mode(self, entry: &Entry<Unread>) -> Mode {
        let own = match (self.ownership, entry.is_directory()) {
            (Ownership::Recorded, true) => 0o700,
            (Ownership::Recorded, false) => 0o600,
            (Ownership::Real | Ownership::Noted | Ownership::Current, _) => 0,
        };
        Mode::from_raw_mode(entry.mode | own)
    }
}

fn failed(what: &'static str, path: &TreePath) -> impl Fn(Errno) -> LayerError {
    move |error| LayerError::Attribute {
        what,
        path: path.clone(),
        source: error.into(),
    }
}

/// Makes an empty file; nothing is there. Its mode may already be the right one.
pub(super) fn create_file(
    parent: BorrowedFd<'_>,
    name: &CStr,
    entry: &Entry<Unread>,
) -> Result<File, LayerError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let mode = Mode::from_raw_mode(entry.mode & 0o777);
    let file = rustix::fs::openat(parent, name, flags | OFlags::CLOEXEC, mode);
    Ok(file
        .map_err(|error| create_error(&entry.path, error))?
        .into())
}

/// Gives a written file its attributes. The order matters: a new owner takes set-id bits and
/// capabilities away.
pub(super) fn describe_file(
    file: &File,
    entry: &Entry<Unread>,
    policy: Policy,
) -> Result<(), LayerError> {
    describe(file.as_fd(), entry, policy)
}

/// Gives a directory its attributes, after all that is in it is there.
pub(super) fn describe_directory(
    directory: BorrowedFd<'_>,
    entry: &Entry<Unread>,
    policy: Policy,
) -> Result<(), LayerError> {
    describe(directory, entry, policy)
}

fn describe(fd: BorrowedFd<'_>, entry: &Entry<Unread>, policy: Policy) -> Result<(), LayerError> {
    let path = &entry.path;
    // A look costs next to nothing; a change is a transaction of the file system.
    let state = rustix::fs::fstat(fd).map_err(failed("the owner", path))?;
    let mut mode = Mode::from_raw_mode(state.st_mode & 0o7777);
    if let Some((uid, gid)) = policy.owner(entry)
        && (uid.as_raw(), gid.as_raw()) != (state.st_uid, state.st_gid)
    {
        rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(failed("the owner", path))?;
        mode = Mode::empty();
    }
    if mode != policy.mode(entry) || mode.is_empty() {
        rustix::fs::fchmod(fd, policy.mode(entry)).map_err(failed("the mode", path))?;
    }
    for (key, value) in &entry.xattrs {
        let Ok(key) = CString::new(key.as_slice()) else {
            continue;
        };
        let set = rustix::fs::fsetxattr(fd, &key, value, XattrFlags::empty());
        tolerate(set.map_err(io::Error::from), &key, policy, path)?;
    }
    if policy.ownership == Ownership::Noted && (entry.uid, entry.gid) != (0, 0) {
        let note = owner_note((entry.uid, entry.gid));
        let set = rustix::fs::fsetxattr(fd, OWNER_NOTE, &note, XattrFlags::empty());
        set.map_err(failed("the owner", path))?;
    }
    rustix::fs::futimens(fd, &policy.times(entry)).map_err(failed("the time", path))
}

/// Attributes of users may be impossible on a file system, and capabilities for whoever runs this;
/// the tree has them all the same.
fn tolerate(
    set: io::Result<()>,
    key: &CStr,
    policy: Policy,
    path: &TreePath,
) -> Result<(), LayerError> {
    let Err(source) = set else { return Ok(()) };
    let refused = [libc::EOPNOTSUPP, libc::EPERM];
    let is_refused = source
        .raw_os_error()
        .is_some_and(|code| refused.contains(&code));
    let may_fail = key.to_bytes().starts_with(b"user.") || policy.ownership != Ownership::Real;
    if is_refused && may_fail {
        return Ok(());
    }
    Err(LayerError::Attribute {
        what: "an extended attribute",
        path: path.clone(),
        source,
    })
}

/// Sets a mark of overlayfs.
pub(super) fn set_xattr(
    fd: BorrowedFd<'_>,
    key: &CStr,
    value: &[u8],
    path: &TreePath,
) -> Result<(), LayerError> {
    let set = rustix::fs::fsetxattr(fd, key, value, XattrFlags::empty());
    set.map_err(failed("the opaque mark", path))
}

/// Makes a symbolic link, a device or a FIFO.
pub(super) fn make_special(
    parent: BorrowedFd<'_>,
    name: &CStr,
    entry: &Entry<Unread>,
    policy: Policy,
) -> Result<(), LayerError> {
    let path = &entry.path;
    let made = match &entry.kind {
        Kind::Symlink { target } => rustix::fs::symlinkat(target.as_slice(), parent, name),
        Kind::Fifo => rustix::fs::mknodat(parent, name, FileType::Fifo, Mode::RUSR, 0),
        Kind::CharDevice { .. } | Kind::BlockDevice { .. } => device(parent, name, entry, policy)?,
        Kind::Directory { .. } | Kind::File { .. } | Kind::Hardlink { .. } | Kind::Whiteout => {
            Err(Errno::INVAL)
        }
    };
    made.map_err(|error| create_error(path, error))?;
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    if let Some((uid, gid)) = policy.owner(entry) {
        rustix::fs::chownat(parent, name, Some(uid), Some(gid), nofollow)
            .map_err(failed("the owner", path))?;
    }
    if !matches!(entry.kind, Kind::Symlink { .. }) {
        change_mode(parent, name, policy.mode(entry)).map_err(failed("the mode", path))?;
    }
    for (key, value) in &entry.xattrs {
        let Ok(key) = CString::new(key.as_slice()) else {
            continue;
        };
        let set = xattr::set_at(parent, name, &key, value);
        tolerate(set, &key, policy, path)?;
    }
    if policy.ownership == Ownership::Noted {
        note_special_owner((parent, name), entry)?;
    }
    rustix::fs::utimensat(parent, name, &policy.times(entry), nofollow)
        .map_err(failed("the time", path))
}

/// Notes the owner of a link, a FIFO or what stands for a device.
fn note_special_owner(
    (parent, name): (BorrowedFd<'_>, &CStr),
    entry: &Entry<Unread>,
) -> Result<(), LayerError> {
    let owner = (entry.uid, entry.gid);
    let is_device = Device::of(&entry.kind).is_some();
    // What stands for a device has its owner noted whoever that is: who looks for one note first
    // finds that there is another.
    let set = match (is_device, owner) {
        (true, _) => xattr::set_at(parent, name, OWNER_NOTE, &owner_note(owner)),
        (false, (0, 0)) => Ok(()),
        (false, _) => {
            let note = special_owner_note(owner);
            xattr::set_at(parent, name, SPECIAL_OWNER_NOTE, &note)
        }
    };
    set.map_err(|source| LayerError::Attribute {
        what: "the owner",
        path: entry.path.clone(),
        source,
    })
}

/// Makes a device, or an empty file in its place where the kernel refuses.
fn device(
    parent: BorrowedFd<'_>,
    name: &CStr,
    entry: &Entry<Unread>,
    policy: Policy,
) -> Result<rustix::io::Result<()>, LayerError> {
    let (kind, major, minor) = match entry.kind {
        Kind::CharDevice { major, minor } => (FileType::CharacterDevice, major, minor),
        Kind::BlockDevice { major, minor } => (FileType::BlockDevice, major, minor),
        _ => return Ok(Err(Errno::INVAL)),
    };
    if major > MAJOR_MAX || minor > MINOR_MAX {
        let path = entry.path.clone();
        return Err(LayerError::Device { path });
    }
    // A character device 0:0 would be a deletion to overlayfs.
    let is_whiteout = kind == FileType::CharacterDevice && (major, minor) == (0, 0);
    if policy.ownership == Ownership::Real && !is_whiteout {
        let number = rustix::fs::makedev(major, minor);
        match rustix::fs::mknodat(parent, name, kind, Mode::RUSR, number) {
            Err(Errno::PERM) => {}
            other => return Ok(other),
        }
    }
    let stand_in = create_file(parent, name, entry)?;
    if matches!(policy.ownership, Ownership::Real | Ownership::Noted)
        && let Some(device) = Device::of(&entry.kind)
    {
        // What copies it into another layer finds there what it is.
        let (key, flags) = (DEVICE_NOTE, XattrFlags::empty());
        let set = rustix::fs::fsetxattr(&stand_in, key, &device.note(), flags);
        match set {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => (),
            Err(error) => return Err(failed("the device", &entry.path)(error)),
        }
    }
    Ok(Ok(()))
}

/// `chmod` without following links: new kernels have a call for it.
fn change_mode(parent: BorrowedFd<'_>, name: &CStr, mode: Mode) -> rustix::io::Result<()> {
    match rustix::fs::chmodat(parent, name, mode, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let node = rustix::fs::openat(parent, name, flags, Mode::empty())?;
            rustix::fs::chmod(format!("/proc/self/fd/{}", node.as_raw_fd()), mode)
        }
        other => other,
    }
}
