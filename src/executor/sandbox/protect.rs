//! /proc and /sys: fresh where the kernel allows it, with dangerous parts hidden or read-only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::error::SandboxError;
use super::mounting::{self, Tree};
use crate::sys;

/// Hidden parts of /proc: the union of what Docker, BuildKit and buildah hide.
const PROC_HIDDEN: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];

/// Parts of /proc that can be read only.
const PROC_READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Hidden parts of /sys.
const SYS_HIDDEN: [&str; 3] = ["firmware", "fs/selinux", "devices/virtual/powercap"];

/// The magic number of proc in statfs.
const PROC_MAGIC: i64 = 0x9fa0;

/// What hidden paths are replaced by.
#[derive(Debug)]
pub(super) struct Cover {
    /// /dev/null inside the root, reached by our own descriptor.
    null: OwnedFd,
    /// An empty, read-only directory; attached once, so that it can be cloned.
    empty: Option<OwnedFd>,
}

impl Cover {
    /// Takes `null` from the sandbox's own /dev.
    pub(super) fn new(dev: &OwnedFd) -> Result<Self, SandboxError> {
        let null = rustix::fs::openat(dev, "null", PATH, Mode::empty()).map_err(|source| {
            SandboxError::Device {
                name: "null".to_owned(),
                source: source.into(),
            }
        })?;
        Ok(Self { null, empty: None })
    }

    /// Hides one path below `root` if it exists.
    fn hide(&mut self, root: BorrowedFd<'_>, path: &str) -> Result<(), Errno> {
        let Some(point) = open_below(root, path)? else {
            return Ok(());
        };
        let status = rustix::fs::fstat(&point)?;
        let is_directory =
            rustix::fs::FileType::from_raw_mode(status.st_mode) == rustix::fs::FileType::Directory;
        if !is_directory {
            let null = mounting::clone_mount(&self.null, Tree::Alone)?;
            return mounting::attach(&null, &point);
        }
        if let Some(empty) = &self.empty {
            let clone = mounting::clone_mount(empty, Tree::Alone)?;
            return mounting::attach(&clone, &point);
        }
        let empty = empty_directory()?;
        mounting::attach(&empty, &point)?;
        self.empty = Some(empty);
        Ok(())
    }
}

const PATH: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a path that the kernel made, without following anything; `None` if it does not exist.
fn open_below(root: BorrowedFd<'_>, path: &str) -> Result<Option<OwnedFd>, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, path, PATH, Mode::empty(), resolve) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        Err(error) => Err(error),
    }
}

fn empty_directory() -> Result<OwnedFd, Errno> {
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    mounting::new_file_system("tmpfs", &[("mode", "0755"), ("size", "0")], attributes)
        .map_err(|_| Errno::PERM)
}

const PSEUDO: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// The same for mount_setattr(2).
const PSEUDO_ATTRIBUTES: u64 = sys::mount::NO_SUID | sys::mount::NO_DEV | sys::mount::NO_EXEC;

/// Attaches a /sys to `point`, read-only and with [`SYS_HIDDEN`] hidden.
///
/// A fresh one needs a network namespace of ours; without it, the host's is shown read-only.
pub(super) fn mount_sys(
    point: &OwnedFd,
    cover: &mut Cover,
    insecure: bool,
) -> Result<(), SandboxError> {
    let attributes = if insecure {
        PSEUDO
    } else {
        PSEUDO | MountAttrFlags::MOUNT_ATTR_RDONLY
    };
    let sys = match mounting::new_file_system("sysfs", &[], attributes) {
        Ok(fresh) => fresh,
        Err(_) => host_tree("/sys", PSEUDO_ATTRIBUTES | sys::mount::READ_ONLY)
            .map_err(|source| protect("/sys", source))?,
    };
    mounting::attach(&sys, point).map_err(|source| SandboxError::Attach {
        target: "/sys".to_owned(),
        source: source.into(),
    })?;
    if insecure {
        return Ok(());
    }
    for path in SYS_HIDDEN {
        cover
            .hide(sys.as_fd(), path)
            .map_err(|source| protect(&format!("/sys/{path}"), source))?;
    }
    hide_thermal_throttle(&sys, cover);
    Ok(())
}

/// Hides each processor's throttling counters, a side channel; their number is the machine's.
fn hide_thermal_throttle(sys: &OwnedFd, cover: &mut Cover) {
    for processor in 0..4096 {
        let cpu = format!("devices/system/cpu/cpu{processor}");
        match open_below(sys.as_fd(), &cpu) {
            Ok(Some(directory)) => {
                // Absent on virtual machines; refusal leaves counters readable, nothing more.
                let _ = cover.hide(directory.as_fd(), "thermal_throttle");
            }
            _ => break,
        }
    }
}

/// A clone of a tree of the host, with the given attributes everywhere.
fn host_tree(path: &str, attributes: u64) -> Result<OwnedFd, Errno> {
    let directory = rustix::fs::openat(rustix::fs::CWD, path, PATH, Mode::empty())?;
    let tree = mounting::clone_mount(&directory, Tree::WithSubmounts)?;
    sys::mount::set_attributes(&tree, attributes, sys::mount::Depth::Tree)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(tree)
}

/// Whether the command sees only its own processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcView {
    /// A fresh proc of the new process namespace.
    Own,
    /// The host's, read-only and with the same parts hidden.
    Host,
}

/// Attaches a /proc to `point`. Must be called by a process of the new process namespace, while the
/// host's /proc can still be seen: in a user namespace the kernel gives a fresh one only to those
/// who see a complete one already. Where that is not complete (in a container), the host's is shown.
pub(super) fn mount_proc(
    point: &OwnedFd,
    cover: &mut Cover,
    insecure: bool,
) -> Result<ProcView, SandboxError> {
    let (proc, view) = match mounting::new_file_system("proc", &[], PSEUDO) {
        Ok(fresh) => (fresh, ProcView::Own),
        // Read-only: files of processes outside belong to the same user, who is root perhaps.
        Err(error) => match host_tree("/proc", PSEUDO_ATTRIBUTES | sys::mount::READ_ONLY) {
            Ok(host) => (host, ProcView::Host),
            Err(_) => return Err(error),
        },
    };
    let status = rustix::fs::fstatfs(&proc).map_err(|source| protect("/proc", source))?;
    if status.f_type != PROC_MAGIC {
        return Err(protect("/proc", Errno::INVAL));
    }
    mounting::attach(&proc, point).map_err(|source| SandboxError::Attach {
        target: "/proc".to_owned(),
        source: source.into(),
    })?;
    if insecure {
        return Ok(view);
    }
    for path in PROC_HIDDEN {
        cover
            .hide(proc.as_fd(), path)
            .map_err(|source| protect(&format!("/proc/{path}"), source))?;
    }
    for path in PROC_READ_ONLY {
        read_only(&proc, path).map_err(|source| protect(&format!("/proc/{path}"), source))?;
    }
    Ok(view)
}

/// Mounts a path onto itself, read-only.
fn read_only(root: &OwnedFd, path: &str) -> Result<(), Errno> {
    let Some(point) = open_below(root.as_fd(), path)? else {
        return Ok(());
    };
    let clone = mounting::clone_mount(&point, Tree::WithSubmounts)?;
    sys::mount::set_attributes(&clone, sys::mount::READ_ONLY, sys::mount::Depth::Tree)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    mounting::attach(&clone, &point)
}

fn protect(path: &str, source: Errno) -> SandboxError {
    SandboxError::Protect {
        path: path.to_owned(),
        source: source.into(),
    }
}
