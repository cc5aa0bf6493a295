//! The mounts a step asks for.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::error::SandboxError;
use super::files::{Access, Files};
use super::inside::{MountPoints, PointKind};
use super::mounting::{self, Tree};
use super::rootfs::{self, Stack};
use super::spec::{Bind, SandboxMount};
use crate::sys;

/// A mount that is attached nowhere yet, and what it needs to be attached to.
struct Ready {
    mount: OwnedFd,
    kind: PointKind,
}

/// Attaches `mounts` in order. `files` holds secrets, `scratch` what is written and thrown away.
pub(super) fn apply(
    mounts: &[SandboxMount],
    points: &mut MountPoints<'_>,
    files: &Files,
    scratch: &Path,
) -> Result<(), SandboxError> {
    for (number, mount) in mounts.iter().enumerate() {
        let target = mount.target();
        check_target(target)?;
        let ready = match mount {
            SandboxMount::Bind(bind) => bind_mount(bind)?,
            SandboxMount::Overlay {
                target,
                lowers,
                source,
                writable,
            } => {
                let stacked = stack(lowers, &scratch.join(number.to_string()), *writable)?;
                clone_below(&stacked, source, !writable)
                    .map_err(|error| source_error(target, source, error))?
            }
            SandboxMount::Tmpfs { size, .. } => memory(*size)?,
            SandboxMount::Secret {
                data,
                mode,
                uid,
                gid,
                ..
            } => {
                let access = Access {
                    mode: *mode,
                    uid: *uid,
                    gid: *gid,
                };
                Ready {
                    mount: files.mount_file(&format!("secret-{number}"), data, access)?,
                    kind: PointKind::File,
                }
            }
        };
        place(points, target, &ready.mount, ready.kind)?;
    }
    Ok(())
}

/// Finds or makes the mount point `target` and attaches `mount` to it.
pub(super) fn place(
    points: &mut MountPoints<'_>,
    target: &str,
    mount: &OwnedFd,
    kind: PointKind,
) -> Result<(), SandboxError> {
    let point = points
        .find_or_make(target, kind)
        .map_err(|source| SandboxError::MountPoint {
            target: target.to_owned(),
            source: source.into(),
        })?;
    mounting::attach(mount, &point).map_err(|source| SandboxError::Attach {
        target: target.to_owned(),
        source: source.into(),
    })
}

/// Refuses targets that would replace what keeps the sandbox closed: the root itself, /proc and
/// /sys with all below, and /dev itself.
pub(super) fn check_target(target: &str) -> Result<(), SandboxError> {
    let mut names: Vec<&str> = Vec::new();
    for name in target.split('/') {
        match name {
            "" | "." => (),
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    match names.as_slice() {
        [] | ["proc" | "sys", ..] | ["dev"] => Err(SandboxError::ReservedTarget {
            target: target.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn source_error(target: &str, source: &str, error: Errno) -> SandboxError {
    SandboxError::MountSource {
        target: target.to_owned(),
        path: source.to_owned(),
        source: error.into(),
    }
}

fn bind_mount(bind: &Bind) -> Result<Ready, SandboxError> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let host = rustix::fs::openat(CWD, &bind.host, flags, Mode::empty()).map_err(|source| {
        SandboxError::Open {
            path: bind.host.clone(),
            source: source.into(),
        }
    })?;
    clone_below(&host, &bind.source, bind.readonly)
        .map_err(|error| source_error(&bind.target, &bind.source, error))
}

/// Clones what `source` names inside of `root`, resolved as if `root` were the root directory: by
/// the kernel, once, and mounted by the descriptor that this gives.
fn clone_below(root: &OwnedFd, source: &str, read_only: bool) -> Result<Ready, Errno> {
    let path = source.trim_start_matches('/');
    let found = if path.is_empty() {
        rustix::io::fcntl_dupfd_cloexec(root, 3)?
    } else {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?
    };
    let kind = match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
        FileType::Directory => PointKind::Directory,
        _ => PointKind::File,
    };
    let mount = mounting::clone_mount(found.as_fd(), Tree::Alone)?;
    let mut attributes = sys::mount::NO_DEV;
    if read_only {
        attributes |= sys::mount::READ_ONLY;
    }
    sys::mount::set_attributes(&mount, attributes, sys::mount::Depth::One)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(Ready { mount, kind })
}

/// Stacks directories and attaches the stack below `scratch`, in this mount namespace only, so
/// that a part of it can be cloned.
fn stack(lowers: &[PathBuf], scratch: &Path, writable: bool) -> Result<OwnedFd, SandboxError> {
    let make = |name: &str| {
        let path = scratch.join(name);
        std::fs::create_dir_all(&path).map_err(|error| SandboxError::Open {
            path: path.clone(),
            source: error.into(),
        })?;
        rootfs::open_directory(&path)
    };
    let opened = rootfs::open_lowers(lowers)?;
    // With nothing below, an empty directory is what there is to see.
    let written = if writable || opened.is_empty() {
        Some((make("upper")?, make("work")?))
    } else {
        None
    };
    let mount = rootfs::mount(&Stack {
        lowers: opened,
        writable: written.as_ref().map(|(upper, work)| (upper, work)),
        devices: false,
    })?;
    mounting::attach(&mount, make("point")?).map_err(|source| SandboxError::Attach {
        target: "a stack of layers".to_owned(),
        source: source.into(),
    })?;
    Ok(mount)
}

fn memory(size: Option<u64>) -> Result<Ready, SandboxError> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let size = size.map(|bytes| bytes.to_string());
    let mut options = vec![("mode", "1777")];
    if let Some(size) = &size {
        options.push(("size", size));
    }
    Ok(Ready {
        mount: mounting::new_file_system("tmpfs", &options, attributes)?,
        kind: PointKind::Directory,
    })
}
