//! Making, cloning and attaching mounts by descriptor.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::error::SandboxError;

/// Makes a file system and a mount of it that is attached nowhere.
pub(super) fn new_file_system(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, SandboxError> {
    let make = || -> Result<OwnedFd, Errno> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, value) in options {
            fsconfig_set_string(&context, *key, *value)?;
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    make().map_err(|source| SandboxError::NewFileSystem {
        kind: kind.to_owned(),
        source: source.into(),
    })
}

/// Clones the mount of what `from` points to, so that it can be attached elsewhere.
pub(super) fn clone_mount(from: impl AsFd, tree: Tree) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if tree == Tree::WithSubmounts {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(from, "", flags)
}

/// Whether a clone takes what is mounted below along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// One mount.
    Alone,
    /// All below, too.
    WithSubmounts,
}

/// Attaches a detached mount onto what `point` refers to.
pub(super) fn attach(mount: impl AsFd, point: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", point, "", flags)
}
