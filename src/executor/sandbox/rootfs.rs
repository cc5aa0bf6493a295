//! The root file system: layers stacked by overlayfs, or one plain directory.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use super::error::SandboxError;
use super::mounting::{self, Tree};
use crate::sys;

/// Directories to stack.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    /// Read-only ones, top first.
    pub(super) lowers: Vec<OwnedFd>,
    /// Where writes go, and overlay's own directory on the same file system.
    pub(super) writable: Option<(&'a OwnedFd, &'a OwnedFd)>,
}

/// Opens a directory of the store; it is trusted and may be reached through links.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, SandboxError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|source| SandboxError::Open {
        path: path.to_owned(),
        source: source.into(),
    })
}

/// Mounts a stack; the mount is attached nowhere yet. Device nodes in it cannot be opened: the
/// devices that a command may use are mounted one by one (see `devices`).
pub(super) fn mount(stack: &Stack<'_>) -> Result<OwnedFd, SandboxError> {
    let single = match (stack.lowers.as_slice(), stack.writable) {
        ([], Some((upper, _))) => Some(upper),
        ([lower], None) => Some(lower),
        _ => None,
    };
    let mut why = String::new();
    let mounted = match single {
        Some(directory) => clone_directory(directory, stack.writable.is_none()),
        None => overlay(stack, &mut why),
    };
    mounted.map_err(|source| SandboxError::Overlay {
        lowers: stack.lowers.len(),
        why,
        source: source.into(),
    })
}

fn clone_directory(directory: &OwnedFd, read_only: bool) -> Result<OwnedFd, Errno> {
    let mount = mounting::clone_mount(directory, Tree::Alone)?;
    let mut attributes = sys::mount::NO_DEV;
    if read_only {
        attributes |= sys::mount::READ_ONLY;
    }
    sys::mount::set_attributes(&mount, attributes, sys::mount::Depth::One)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(mount)
}

/// Layers are named by descriptor, relative to /proc/self/fd: a page (the limit of mount(2)) and
/// 256 bytes (of fsconfig(2)) are enough for any number of layers, colons and commas need no
/// escapes, and the command's mountinfo shows no path of the host.
fn overlay(stack: &Stack<'_>, why: &mut String) -> Result<OwnedFd, Errno> {
    rustix::process::chdir("/proc/self/fd")?;
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let mount = configure(&context, stack)
        .and_then(|()| fsconfig_create(&context))
        .and_then(|()| {
            let attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
            fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        });
    if mount.is_err() {
        *why = complaints(&context);
    }
    rustix::process::chdir("/")?;
    mount
}

fn configure(context: &OwnedFd, stack: &Stack<'_>) -> Result<(), Errno> {
    let name = |fd: &OwnedFd| fd.as_raw_fd().to_string();
    set_lowers(context, &stack.lowers)?;
    if let Some((upper, work)) = stack.writable {
        fsconfig_set_string(context, "upperdir", name(upper))?;
        fsconfig_set_string(context, "workdir", name(work))?;
        // Neither fsync of the command nor unmounting waits for the disk: a layer is made durable
        // when it is committed, and an interrupted upper is thrown away.
        fsconfig_set_flag(context, "volatile")?;
    }
    // Nothing in a layer may redirect the kernel to another path (security: forged xattrs), and
    // every file in the upper is whole, so that the upper can be read as a layer.
    for (key, value) in [
        ("index", "off"),
        ("metacopy", "off"),
        ("redirect_dir", "nofollow"),
    ] {
        fsconfig_set_string(context, key, value)?;
    }
    if in_user_namespace() {
        fsconfig_set_flag(context, "userxattr")?;
    }
    Ok(())
}

/// What the kernel wrote into the log of a file system context: one message for each read.
fn complaints(context: &OwnedFd) -> String {
    let mut messages = Vec::new();
    let mut buffer = [0; 512];
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        messages.push(text.trim().trim_start_matches("e ").to_owned());
        if length == 0 || messages.len() == 8 {
            break;
        }
    }
    if messages.is_empty() {
        return String::new();
    }
    format!(" ({})", messages.join("; "))
}

fn set_lowers(context: &OwnedFd, lowers: &[OwnedFd]) -> Result<(), Errno> {
    for (position, lower) in lowers.iter().enumerate() {
        let name = lower.as_raw_fd().to_string();
        match fsconfig_set_string(context, "lowerdir+", name) {
            Ok(()) => (),
            // Before Linux 6.5 there is only the list, of at most 255 bytes here.
            Err(Errno::INVAL) if position == 0 => {
                let names: Vec<String> =
                    lowers.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
                return fsconfig_set_string(context, "lowerdir", names.join(":"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes `root`, an attached mount, the root directory of all processes in this mount namespace,
/// and lets go of the old one.
pub(super) fn enter(root: &OwnedFd) -> Result<(), SandboxError> {
    let pivot = || -> Result<(), Errno> {
        rustix::process::fchdir(root)?;
        // Both "." name the new root: the old one ends up mounted over it and is taken off.
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")
    };
    pivot().map_err(|errno| SandboxError::PivotRoot {
        source: errno.into(),
    })
}

/// Tells whether this process is in a user namespace other than the first: then overlayfs keeps
/// its own attributes as `user.overlay.*` instead of `trusted.overlay.*`.
pub fn in_user_namespace() -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else {
        return false;
    };
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Tells whether this process's user namespace has one user id: then no file can belong to another,
/// and owners are noted (see `notes`).
pub fn has_single_id() -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else {
        return false;
    };
    map.lines().count() == 1 && map.split_whitespace().nth(2) == Some("1")
}
