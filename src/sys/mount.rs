//! Mount attributes of whole trees.

#![expect(
    unsafe_code,
    reason = "this is the room of system calls that no crate wraps"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Whether a change concerns one mount or all below it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The mount alone.
    One,
    /// The mount and all mounts below it.
    Tree,
}

/// `MOUNT_ATTR_RDONLY`: no writes through this mount.
pub const READ_ONLY: u64 = 0x1;
/// `MOUNT_ATTR_NOSUID`: setuid bits and file capabilities are ignored.
pub const NO_SUID: u64 = 0x2;
/// `MOUNT_ATTR_NODEV`: device nodes cannot be opened.
pub const NO_DEV: u64 = 0x4;
/// `MOUNT_ATTR_NOEXEC`: programs cannot be started.
pub const NO_EXEC: u64 = 0x8;

/// Sets attributes (`MOUNT_ATTR_*` bits) of the mount that `mount` is the root of (Linux 5.12).
pub fn set_attributes(mount: impl AsFd, attributes: u64, depth: Depth) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let recursive = match depth {
        Depth::One => 0,
        Depth::Tree => libc::AT_RECURSIVE,
    };
    // SAFETY: `attr` is repr(C) with the layout of the first version of struct mount_attr, its
    // exact size is passed, and the kernel only reads it during the call; the path is a literal.
    let code = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    super::process::check(code)
}
