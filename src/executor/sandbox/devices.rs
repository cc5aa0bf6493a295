//! /dev: a small tmpfs with the harmless devices.
//!
//! No mount of the sandbox lets device nodes be opened except those of the devices below, mounted
//! one by one. So `mknod` works (packages do it, and the node is in the layer), but a node for the
//! host's disk made by the command is a dead file, without a device cgroup.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::error::SandboxError;
use super::files::Files;
use super::mounting::{self, Tree};
use crate::sys;

/// Name, major and minor number (Linux's devices.txt).
pub(super) const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Link, target.
pub(super) const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Bytes of the tmpfs: Docker's.
const SIZE: &str = "65536k";

/// Attaches a /dev to `point`; gives its root. `shm_size` is in bytes.
pub(super) fn mount(
    point: &OwnedFd,
    files: &Files,
    shm_size: u64,
) -> Result<OwnedFd, SandboxError> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let options = [("mode", "0755"), ("size", SIZE)];
    let dev = mounting::new_file_system("tmpfs", &options, attributes)?;
    attach(&dev, point, "")?;
    for (name, major, minor) in DEVICES {
        provide(&dev, files, name, makedev(major, minor)).map_err(|source| {
            SandboxError::Device {
                name: name.to_owned(),
                source: source.into(),
            }
        })?;
    }
    for (link, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, link).map_err(|source| SandboxError::Device {
            name: link.to_owned(),
            source: source.into(),
        })?;
    }
    let quiet = attributes | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let pts = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    attach_directory(&dev, "pts", &pseudo_terminals(pts)?)?;
    let size = shm_size.to_string();
    let shm = mounting::new_file_system("tmpfs", &[("mode", "1777"), ("size", &size)], quiet)?;
    attach_directory(&dev, "shm", &shm)?;
    let mqueue = mounting::new_file_system("mqueue", &[], quiet)?;
    attach_directory(&dev, "mqueue", &mqueue)?;
    Ok(dev)
}

/// A private set of pseudo terminals; group 5 is `tty`, unless this user namespace has no such id.
fn pseudo_terminals(attributes: MountAttrFlags) -> Result<OwnedFd, SandboxError> {
    let all = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    mounting::new_file_system("devpts", &all, attributes)
        .or_else(|_| mounting::new_file_system("devpts", &all[..2], attributes))
}

fn attach_directory(dev: &OwnedFd, name: &str, mount: &OwnedFd) -> Result<(), SandboxError> {
    let made = rustix::fs::mkdirat(dev, name, Mode::from(0o755)).and_then(|()| {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dev, name, flags, Mode::empty())
    });
    let point = made.map_err(|source| SandboxError::Device {
        name: name.to_owned(),
        source: source.into(),
    })?;
    attach(mount, &point, name)
}

fn attach(mount: &OwnedFd, point: &OwnedFd, name: &str) -> Result<(), SandboxError> {
    mounting::attach(mount, point).map_err(|source| SandboxError::Attach {
        target: format!("/dev/{name}"),
        source: source.into(),
    })
}

/// Mounts one device on an empty file: a node of our own, or, where the kernel lets us make none
/// (in a user namespace), the host's. As root the host's would be wrong: `chmod /dev/null` in a
/// step would change it for the host.
fn provide(dev: &OwnedFd, files: &Files, name: &str, number: u64) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    drop(rustix::fs::openat(dev, name, flags, Mode::from(0o666))?);
    let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let point = rustix::fs::openat(dev, name, path, Mode::empty())?;
    let (mode, kind) = (Mode::from(0o666), FileType::CharacterDevice);
    let (source, is_ours) = match rustix::fs::mknodat(files.directory(), name, kind, mode, number) {
        Ok(()) => {
            let node = rustix::fs::openat(files.directory(), name, path, Mode::empty())?;
            (node, true)
        }
        Err(Errno::PERM) => {
            let node = rustix::fs::openat(CWD, format!("/dev/{name}"), path, Mode::empty())?;
            if !is_device(&node, number)? {
                return Err(Errno::NODEV);
            }
            (node, false)
        }
        Err(error) => return Err(error),
    };
    let mount = mounting::clone_mount(&source, Tree::Alone)?;
    // Root of a container is root here, too: it may use a device of the container, not change it.
    if !is_ours && rustix::fs::fstat(&source)?.st_uid == 0 {
        sys::mount::set_attributes(&mount, sys::mount::READ_ONLY, sys::mount::Depth::One)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    }
    mounting::attach(&mount, &point)
}

fn is_device(node: impl AsFd, number: u64) -> Result<bool, Errno> {
    let status = rustix::fs::fstat(node)?;
    let kind = FileType::from_raw_mode(status.st_mode);
    Ok(kind == FileType::CharacterDevice && status.st_rdev == number)
}
