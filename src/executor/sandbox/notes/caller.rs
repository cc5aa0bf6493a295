//! The processes that call, and the files that they name.

use std::cell::Cell;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::CapabilitySet;

use super::place::Place;
use super::{descriptor, low};
use crate::executor::sandbox::memory;
use crate::executor::sandbox::protect::ProcView;
use crate::sys::supervise::Call;

/// Longer paths are not put behind another one.
const PATH_MAX: usize = 4000;

/// Links at the end of a path that are followed.
pub(super) const LINKS_MAX: usize = 40;

/// What a path begins with that means the caller itself, and what it has there.
const OWN: [(&[u8], &str); 6] = [
    (b"/proc/self/", "/"),
    (b"/proc/thread-self/", "/"),
    (b"/dev/fd/", "/fd/"),
    (b"/dev/stdin", "/fd/0"),
    (b"/dev/stdout", "/fd/1"),
    (b"/dev/stderr", "/fd/2"),
];

/// How processes are found.
#[derive(Debug)]
pub(super) struct Processes {
    view: ProcView,
    /// Whether a process may have another root than this one.
    have_other_roots: Cell<bool>,
    /// This one: device and inode.
    root: Option<(u64, u64)>,
}

impl Processes {
    /// `have_other_roots`: nobody will say so of the first one.
    pub(super) fn new(view: ProcView, have_other_roots: bool) -> Self {
        Self {
            view,
            have_other_roots: Cell::new(have_other_roots),
            root: identity("/"),
        }
    }

    /// From now on a process may have another root.
    pub(super) fn expect_other_roots(&self) {
        self.have_other_roots.set(true);
    }

    /// The directory of a caller in /proc.
    pub(super) fn directory(&self, call: &Call) -> Result<String, Errno> {
        if self.view == ProcView::Own {
            return Ok(format!("/proc/{}", call.thread));
        }
        // There it has another number, which a descriptor of it tells.
        let number = i32::try_from(call.thread).map_err(|_| Errno::SRCH)?;
        let thread = Pid::from_raw(number).ok_or(Errno::SRCH)?;
        let of_thread = PidfdFlags::from_bits_retain(OFlags::EXCL.bits());
        let descriptor = rustix::process::pidfd_open(thread, of_thread)
            .or_else(|_| rustix::process::pidfd_open(thread, PidfdFlags::empty()))?;
        let path = format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd());
        let text = std::fs::read_to_string(path).map_err(|_| Errno::SRCH)?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
        let number: u32 = line
            .and_then(|line| line.trim().parse().ok())
            .ok_or(Errno::SRCH)?;
        if number == 0 {
            return Err(Errno::SRCH);
        }
        Ok(format!("/proc/{number}"))
    }

    /// The process whose directory in /proc a place is, if its path says so.
    pub(super) fn described_by(&self, place: &Place) -> Option<u32> {
        place.process().filter(|_| self.view == ProcView::Own)
    }

    /// What a caller calls by a number.
    pub(super) fn number(&self, call: &Call, number: i32) -> Result<Place, Errno> {
        let base = base(&self.directory(call)?, number);
        Place::behind(base.clone(), base.into_bytes(), true)
    }

    /// What a caller calls by a directory, a path in its memory and flags.
    pub(super) fn at(
        &self,
        call: &Call,
        directory: u64,
        path: u64,
        flags: u64,
    ) -> Result<Place, Errno> {
        let flags = AtFlags::from_bits_retain(low(flags));
        let directory = descriptor(directory);
        if flags.contains(AtFlags::EMPTY_PATH)
            && (path == 0 || memory::read_path(call, path).is_some_and(|path| path.is_empty()))
        {
            return self.number(call, directory);
        }
        self.named(
            call,
            directory,
            path,
            !flags.contains(AtFlags::SYMLINK_NOFOLLOW),
        )
    }

    /// What a caller calls by a path in its memory.
    pub(super) fn named(
        &self,
        call: &Call,
        directory: i32,
        path: u64,
        follow: bool,
    ) -> Result<Place, Errno> {
        let path = memory::path(call, path)?;
        self.place(call, directory, &path, follow)
    }

    /// The same with links followed, also those that lead to what a caller has open (`/dev/stdout`): the
    /// kernel would take that for this process's.
    pub(super) fn followed(&self, call: &Call, directory: i32, path: u64) -> Result<Place, Errno> {
        let named = memory::path(call, path)?;
        let mut path = named.clone();
        for _ in 0..LINKS_MAX {
            if OWN.iter().any(|(prefix, _)| path.starts_with(prefix)) {
                return self.place(call, directory, &path, true);
            }
            let link = self
                .place(call, directory, &path, false)
                .and_then(Place::open);
            match link.and_then(|link| rustix::fs::readlinkat(link, c"", Vec::new())) {
                Ok(target) => path = behind(&path, target.as_bytes()),
                Err(_) => break,
            }
        }
        self.place(call, directory, &named, true)
    }

    /// Whether a caller has another root than this process.
    fn has_other_root(&self, process: &str) -> bool {
        self.have_other_roots.get() && identity(&format!("{process}/root")) != self.root
    }

    /// What a caller calls by a path.
    pub(super) fn place(
        &self,
        call: &Call,
        directory: i32,
        path: &[u8],
        follow: bool,
    ) -> Result<Place, Errno> {
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let process = self.directory(call)?;
        if self.has_other_root(&process) {
            return below_root(&process, directory, path, follow);
        }
        for (prefix, own) in OWN {
            if let Some(rest) = path.strip_prefix(prefix) {
                let path = [process.as_bytes(), own.as_bytes(), rest].concat();
                return Place::path(path, follow);
            }
        }
        if path.starts_with(b"/") {
            return Place::path(path.to_vec(), follow);
        }
        let base = base(&process, directory);
        if path.len() <= PATH_MAX {
            let path = [base.as_bytes(), b"/", path].concat();
            return Place::behind(base, path, follow);
        }
        let base = rustix::fs::openat(CWD, base, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let file = rustix::fs::openat(base, path, opening(follow), Mode::empty())?;
        Ok(Place::Open(file))
    }
}

/// The path of a link's target, as the link's own was written.
pub(super) fn behind(link: &[u8], target: &[u8]) -> Vec<u8> {
    if target.starts_with(b"/") {
        return target.to_vec();
    }
    let start = link.iter().rposition(|byte| *byte == b'/');
    let parent = start.map_or(&b""[..], |slash| &link[..=slash]);
    [parent, target].concat()
}

/// How a place is opened.
fn opening(follow: bool) -> OFlags {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    if follow {
        flags
    } else {
        flags | OFlags::NOFOLLOW
    }
}

/// What paths of a caller are relative to.
fn base(process: &str, directory: i32) -> String {
    if directory == libc::AT_FDCWD {
        format!("{process}/cwd")
    } else {
        format!("{process}/fd/{directory}")
    }
}

/// A directory as a device and an inode.
fn identity(path: &str) -> Option<(u64, u64)> {
    let status = std::fs::metadata(path).ok()?;
    Some((status.dev(), status.ino()))
}

/// Opens what a caller calls by a path, in its own root.
fn below_root(process: &str, directory: i32, path: &[u8], follow: bool) -> Result<Place, Errno> {
    let root = format!("{process}/root");
    let mut path = path.to_vec();
    if !path.starts_with(b"/") {
        let base = base(process, directory);
        let read = |link: &str| std::fs::read_link(link).map_err(|_| Errno::BADF);
        let (base_path, root_path) = (read(&base)?, read(&root)?);
        let Ok(below) = base_path.strip_prefix(root_path) else {
            // A directory outside of the root, from which the kernel goes wherever it likes, too.
            let path = [base.as_bytes(), b"/", path.as_slice()].concat();
            return Place::behind(base, path, follow);
        };
        path = [below.as_os_str().as_bytes(), b"/", path.as_slice()].concat();
    }
    let root = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT;
    let file = rustix::fs::openat2(root, path, opening(follow), Mode::empty(), resolve)?;
    Ok(Place::Open(file))
}

/// What the kernel knows of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) umask: u32,
    /// Who owns what it makes.
    pub(super) owner: (u32, u32),
    /// Its other groups.
    pub(super) groups: Vec<u32>,
    /// What it may do.
    pub(super) capabilities: CapabilitySet,
}

impl Caller {
    /// Reads `status` in a directory of /proc.
    pub(super) fn of(process: &str) -> Option<Self> {
        let mut caller =
            Self::of_status(&std::fs::read_to_string(format!("{process}/status")).ok()?)?;
        // What it may do in a user namespace of its own, it may not do here.
        let namespace = |process: &str| std::fs::read_link(format!("{process}/ns/user")).ok();
        if namespace(process) != namespace("/proc/self") {
            caller.capabilities = CapabilitySet::empty();
        }
        Some(caller)
    }

    fn of_status(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
        // The fourth is the one for files.
        let id = |key: &str| value(key)?.split_whitespace().nth(3)?.parse().ok();
        let capabilities = u64::from_str_radix(value("CapEff:")?.trim(), 16).ok()?;
        let groups = value("Groups:")?.split_whitespace();
        Some(Self {
            umask: u32::from_str_radix(value("Umask:")?.trim(), 8).ok()?,
            owner: (id("Uid:")?, id("Gid:")?),
            groups: groups.map_while(|group| group.parse().ok()).collect(),
            capabilities: CapabilitySet::from_bits_retain(capabilities),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_a_process_may_make() {
        let status = |capabilities: &str| {
            format!(
                "Name:\tUid: 7\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t8 9 \nCapEff:\t{capabilities}\n"
            )
        };
        let root = Caller::of_status(&status("00000000a80425fb")).unwrap();
        assert_eq!((root.umask, root.owner), (0o22, (4, 8)));
        assert_eq!(root.groups, [8, 9]);
        assert!(root.capabilities.contains(CapabilitySet::MKNOD));
        let user = Caller::of_status(&status("0000000000000000")).unwrap();
        assert_eq!(user.capabilities, CapabilitySet::empty());
        assert_eq!(Caller::of_status("Name:\tx\n"), None);
    }
}
