//! Landlock: a process gives up all files but those below one directory (landlock(7)).

#![expect(
    unsafe_code,
    reason = "this is the room of system calls that no crate wraps"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// `struct landlock_ruleset_attr`
#[repr(C)]
struct Ruleset {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// The bits of file access of the first version: 13 of them.
const FILES_1: u64 = (1 << 13) - 1;
/// `LANDLOCK_ACCESS_FS_REFER`, `…_TRUNCATE`, `…_IOCTL_DEV`, with the versions that brought them.
const FILES_LATER: [(i64, u64); 3] = [(2, 1 << 13), (3, 1 << 14), (5, 1 << 15)];
/// The version that brought scopes: abstract sockets and signals.
const SCOPES: (i64, u64) = (6, 0b11);
/// Without moving files between directories (version 2, Linux 5.19) no build works.
const VERSION_MIN: i64 = 2;

/// From now on this thread and what it starts can open, make and remove files only below `root`;
/// they cannot look into processes outside, and (Linux 6.12) neither signal them nor reach their
/// abstract sockets. Needs no_new_privs. Gives whether signals are confined; ENOSYS or EOPNOTSUPP
/// where there is no Landlock, or one that is too old.
pub fn confine_below(root: impl AsFd) -> io::Result<bool> {
    // SAFETY: a null pointer and the flag ask for the version alone.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Ruleset>(),
            0_usize,
            1_u32,
        )
    };
    super::process::check(version)?;
    if version < VERSION_MIN {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    let later = FILES_LATER.iter().filter(|(since, _)| version >= *since);
    let files = later.fold(FILES_1, |files, (_, bit)| files | bit);
    let is_scoped = version >= SCOPES.0;
    let ruleset = Ruleset {
        files,
        network: 0,
        scoped: if is_scoped { SCOPES.1 } else { 0 },
    };
    // Older kernels refuse fields that they do not know only if these are not zero.
    // SAFETY: `ruleset` is a struct landlock_ruleset_attr of the given size, which is read only.
    let code = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const ruleset,
            size_of::<Ruleset>(),
            0_u32,
        )
    };
    super::process::check(code)?;
    let Ok(number) = i32::try_from(code) else {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    };
    // SAFETY: the call succeeded, so `number` is a new descriptor that nobody else owns.
    let ruleset = unsafe { OwnedFd::from_raw_fd(number) };
    let rule = PathBeneath {
        allowed: files,
        parent: root.as_fd().as_raw_fd(),
    };
    // SAFETY: `rule` is a struct landlock_path_beneath_attr (kind 1), which is read only.
    let code = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            1_u32,
            &raw const rule,
            0_u32,
        )
    };
    super::process::check(code)?;
    // SAFETY: numbers only.
    let code = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    super::process::check(code)?;
    Ok(is_scoped)
}
