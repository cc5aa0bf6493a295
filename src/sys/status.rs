//! The state of a file as the kernel writes it for stat(2) and statx(2), with another owner, or as a device;
//! and that of its file system.

#![expect(
    unsafe_code,
    reason = "this is the room of system calls that no crate wraps"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// What is told of a file instead of what the kernel knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its owner and group.
    pub owner: (u32, u32),
    /// Its type (bits of the mode) and its device number, if it is to be a device.
    pub device: Option<(u32, u32, u32)>,
}

/// The bytes of a `struct stat` of an open file with what is told of it. (The C libraries have the
/// kernel's layout on the 64-bit processors that this program runs on.)
pub fn stat(file: impl AsFd, told: Told) -> io::Result<Vec<u8>> {
    // SAFETY: all-zero bytes are a valid stat: it is integers only.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `status` is a stat to be written.
    let code = unsafe { libc::fstat(file.as_fd().as_raw_fd(), &raw mut status) };
    super::process::check(i64::from(code))?;
    (status.st_uid, status.st_gid) = told.owner;
    if let Some((kind, major, minor)) = told.device {
        status.st_mode = (status.st_mode & !libc::S_IFMT) | kind;
        status.st_rdev = libc::makedev(major, minor);
    }
    Ok(bytes_of(&status))
}

/// The bytes of a `struct statx` of an open file with what is told of it; `mask` is the caller's.
pub fn statx(file: impl AsFd, mask: u32, told: Told) -> io::Result<Vec<u8>> {
    // SAFETY: all-zero bytes are a valid statx: it is integers only.
    let mut status: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, the path is an empty literal, `status` is to be written.
    let code = unsafe {
        libc::statx(
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            mask,
            &raw mut status,
        )
    };
    super::process::check(i64::from(code))?;
    (status.stx_uid, status.stx_gid) = told.owner;
    if let Some((kind, major, minor)) = told.device {
        // The type has 16 bits here and fits.
        let kind = u16::try_from(kind).unwrap_or(0);
        status.stx_mode = (status.stx_mode & 0o7777) | kind;
        (status.stx_rdev_major, status.stx_rdev_minor) = (major, minor);
    }
    Ok(bytes_of(&status))
}

/// The bytes of a `struct statfs` of the file system that an open file is on. (The layout is as for [`stat`].)
pub fn file_system(file: impl AsFd) -> io::Result<Vec<u8>> {
    // SAFETY: all-zero bytes are a valid statfs: it is integers only.
    let mut status: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `status` is a statfs to be written.
    let code = unsafe { libc::fstatfs(file.as_fd().as_raw_fd(), &raw mut status) };
    super::process::check(i64::from(code))?;
    Ok(bytes_of(&status))
}

/// The bytes of a structure of the kernel's.
fn bytes_of<T: Copy>(value: &T) -> Vec<u8> {
    let start = (&raw const *value).cast::<u8>();
    // SAFETY: `value` is a structure of integers without invalid bytes: it was made of zeroed
    // memory, which its padding is, too, and lives during the copy.
    unsafe { std::slice::from_raw_parts(start, size_of::<T>()) }.to_vec()
}
