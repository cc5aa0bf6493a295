//! Opening a path inside a root, by the kernel or by hand.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::names;

/// As many as the kernel follows.
const LINKS_MAX: usize = 40;

/// The kernel gives up a resolution in which somebody renames things; it is tried again so often.
const TRIES_MAX: usize = 64;

/// What becomes of symbolic links on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// They are an error (`ELOOP`).
    None,
    /// They are followed below the root; leaving it is an error (`EXDEV`).
    Beneath,
    /// They are followed as if the root were `/`.
    InRoot,
}

/// How paths are resolved.
#[derive(Debug)]
pub(super) struct Resolver {
    has_openat2: AtomicBool,
}

impl Resolver {
    pub(super) fn new() -> Self {
        Self {
            has_openat2: AtomicBool::new(true),
        }
    }

    /// Never asks the kernel: for kernels before 5.6 and tests.
    #[cfg(test)]
    pub(super) fn by_hand() -> Self {
        Self {
            has_openat2: AtomicBool::new(false),
        }
    }

    pub(super) fn open(
        &self,
        root: BorrowedFd<'_>,
        path: &[u8],
        links: Links,
        flags: OFlags,
    ) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        if self.has_openat2.load(Ordering::Relaxed) {
            match by_kernel(root, path, links, flags) {
                Err(Errno::NOSYS) => self.has_openat2.store(false, Ordering::Relaxed),
                other => return Ok(other?),
            }
        }
        by_hand(root, path, links, flags)
    }
}

fn mode_of(flags: OFlags) -> Mode {
    if flags.contains(OFlags::CREATE) {
        Mode::from_raw_mode(0o666)
    } else {
        Mode::empty()
    }
}

fn by_kernel(
    root: BorrowedFd<'_>,
    path: &[u8],
    links: Links,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let resolve = match links {
        Links::None => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        Links::Beneath => ResolveFlags::BENEATH,
        Links::InRoot => ResolveFlags::IN_ROOT,
    } | ResolveFlags::NO_MAGICLINKS;
    // A leading slash is the root's own.
    let start = path.iter().position(|byte| *byte != b'/');
    let path = start.map_or(&b"."[..], |start| &path[start..]);
    for _ in 0..TRIES_MAX {
        match rustix::fs::openat2(root, path, flags, mode_of(flags), resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Walks component by component. Every directory on the way is held open, so that `..` is the one
/// that was come through, whatever was renamed meanwhile.
fn by_hand(root: BorrowedFd<'_>, path: &[u8], links: Links, flags: OFlags) -> io::Result<OwnedFd> {
    let mut way: Vec<OwnedFd> = Vec::new();
    let mut ahead: Vec<Vec<u8>> = names(path).rev().map(<[u8]>::to_vec).collect();
    let mut followed = 0;
    // What ends in a slash must be a directory, also through a link.
    let ends_in_slash = path.ends_with(b"/") && !ahead.is_empty();
    while let Some(name) = ahead.pop() {
        if name == b".." {
            if way.pop().is_none() && links != Links::InRoot {
                return Err(Errno::XDEV.into());
            }
            continue;
        }
        let here = way.last().map_or(root, AsFd::as_fd);
        let is_last = ahead.is_empty();
        let may_follow = !(is_last && flags.contains(OFlags::NOFOLLOW) && !ends_in_slash);
        let name = CString::new(name)?;
        match rustix::fs::readlinkat(here, &name, Vec::new()) {
            Ok(_)
                if links == Links::None
                    && !(is_last && flags.contains(OFlags::PATH) && !may_follow) =>
            {
                return Err(Errno::LOOP.into());
            }
            Ok(target) if may_follow => {
                followed += 1;
                if followed > LINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                let target = target.into_bytes();
                if target.starts_with(b"/") {
                    if links != Links::InRoot {
                        return Err(Errno::XDEV.into());
                    }
                    way.clear();
                }
                ahead.extend(names(&target).rev().map(<[u8]>::to_vec));
                if ahead.is_empty() {
                    break;
                }
                continue;
            }
            Ok(_) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        if is_last {
            let slash = if ends_in_slash {
                OFlags::DIRECTORY
            } else {
                OFlags::empty()
            };
            let flags = flags | OFlags::NOFOLLOW | slash;
            return Ok(rustix::fs::openat(here, &name, flags, mode_of(flags))?);
        }
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let next = rustix::fs::openat(here, &name, step, Mode::empty())?;
        way.push(next);
    }
    let here = way.last().map_or(root, AsFd::as_fd);
    Ok(rustix::fs::openat(here, c".", flags, mode_of(flags))?)
}
