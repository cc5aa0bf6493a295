//! The root file system: layers stacked by overlayfs, or one plain directory.

use std::collections::HashSet;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, open_tree,
};

use super::error::SandboxError;
use super::mounting::{self, Tree};
use crate::sys;

/// The kernel's name of the first user namespace (`USER_NS_INIT_INO`).
const FIRST_NAMESPACE: &str = "user:[4026531837]";

/// Directories to stack.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    /// Read-only ones, top first.
    pub(super) lowers: Vec<OwnedFd>,
    /// Where writes go, and overlay's own directory on the same file system.
    pub(super) writable: Option<(&'a OwnedFd, &'a OwnedFd)>,
    /// Whether device nodes can be opened.
    pub(super) devices: bool,
}

/// Opens a directory of the store; it is trusted and may be reached through links.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, SandboxError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|source| SandboxError::Open {
        path: path.to_owned(),
        source: source.into(),
    })
}

/// Opens the layers of a stack, top first. A layer that comes again further down (two commands that changed
/// nothing, or the same) adds nothing there, and overlayfs refuses to have it twice (`ELOOP`).
pub(super) fn open_lowers(layers: &[PathBuf]) -> Result<Vec<OwnedFd>, SandboxError> {
    let mut seen = HashSet::new();
    let layers = layers.iter().filter(|path| seen.insert(*path));
    layers.map(|path| open_directory(path)).collect()
}

/// Mounts a stack; the mount is attached nowhere yet. As a rule device nodes in it cannot be opened: the
/// devices that a command may use are mounted one by one (see `devices`).
pub(super) fn mount(stack: &Stack<'_>) -> Result<OwnedFd, SandboxError> {
    let single = match (stack.lowers.as_slice(), stack.writable) {
        ([], Some((upper, _))) => Some(upper),
        ([lower], None) => Some(lower),
        _ => None,
    };
    let mut why = String::new();
    let mounted = match single {
        Some(directory) => clone_directory(directory, stack),
        None => overlay(stack, &mut why),
    };
    mounted.map_err(|source| SandboxError::Overlay {
        lowers: stack.lowers.len(),
        why,
        source: source.into(),
    })
}

fn clone_directory(directory: &OwnedFd, stack: &Stack<'_>) -> Result<OwnedFd, Errno> {
    let mount = mounting::clone_mount(directory, Tree::Alone)?;
    let mut attributes = 0;
    if !stack.devices {
        attributes |= sys::mount::NO_DEV;
    }
    if stack.writable.is_none() {
        attributes |= sys::mount::READ_ONLY;
    }
    sys::mount::set_attributes(&mount, attributes, sys::mount::Depth::One)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(mount)
}

/// Layers are named by descriptor, relative to /proc/self/fd: a page (the limit of mount(2)) is enough
/// for any number of layers, colons and commas need no escapes, and the command's mountinfo shows no
/// path of the host.
fn overlay(stack: &Stack<'_>, why: &mut String) -> Result<OwnedFd, Errno> {
    rustix::process::chdir("/proc/self/fd")?;
    let mount = match overlay_by_options(stack, why) {
        // Until Linux 6.7 overlayfs takes its options as one text, and knows no `lowerdir+`.
        Err(Errno::INVAL) => overlay_by_page(stack),
        result => result,
    };
    rustix::process::chdir("/")?;
    mount
}

/// By fsopen(2) and fsconfig(2): one option at a time, one lower at a time.
fn overlay_by_options(stack: &Stack<'_>, why: &mut String) -> Result<OwnedFd, Errno> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let configure = || -> Result<(), Errno> {
        for lower in &stack.lowers {
            fsconfig_set_string(&context, "lowerdir+", name(lower))?;
        }
        for (key, value) in options(stack) {
            match value {
                Some(value) => fsconfig_set_string(&context, key, value)?,
                None => fsconfig_set_flag(&context, key)?,
            }
        }
        fsconfig_create(&context)
    };
    let mount = configure().and_then(|()| {
        let attributes = if stack.devices {
            MountAttrFlags::empty()
        } else {
            MountAttrFlags::MOUNT_ATTR_NODEV
        };
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    });
    if mount.is_err() {
        *why = complaints(&context);
    }
    mount
}

/// By mount(2): fsconfig(2) takes 255 bytes of `lowerdir` at most. It wants a mount point, which is one of
/// the directories, for a moment, in the mount namespace of this process.
fn overlay_by_page(stack: &Stack<'_>) -> Result<OwnedFd, Errno> {
    let lowers: Vec<String> = stack.lowers.iter().map(name).collect();
    let mut page = format!("lowerdir={}", lowers.join(":"));
    for (key, value) in options(stack) {
        page.extend([",", key]);
        page.extend(value.iter().flat_map(|value| ["=", value]));
    }
    let page = CString::new(page).map_err(|_| Errno::INVAL)?;
    let covered = stack.writable.map(|(upper, _)| upper);
    let covered = covered.or(stack.lowers.first()).ok_or(Errno::INVAL)?;
    let point = rustix::fs::readlink(name(covered), Vec::new())?;
    let attributes = if stack.devices {
        MountFlags::empty()
    } else {
        MountFlags::NODEV
    };
    rustix::mount::mount("overlay", &point, "overlay", attributes, page.as_c_str())?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, &point, flags);
    rustix::mount::unmount(&point, UnmountFlags::DETACH)?;
    mount
}

/// A directory's name below /proc/self/fd.
fn name(fd: &OwnedFd) -> String {
    fd.as_raw_fd().to_string()
}

/// The options beside `lowerdir`.
fn options(stack: &Stack<'_>) -> Vec<(&'static str, Option<String>)> {
    let mut options = Vec::new();
    if let Some((upper, work)) = stack.writable {
        options.push(("upperdir", Some(name(upper))));
        options.push(("workdir", Some(name(work))));
        // Neither fsync of the command nor unmounting waits for the disk: a layer is made durable
        // when it is committed, and an interrupted upper is thrown away.
        options.push(("volatile", None));
    }
    // Nothing in a layer may redirect the kernel to another path (security: forged xattrs), and
    // every file in the upper is whole, so that the upper can be read as a layer.
    for (key, value) in [
        ("index", "off"),
        ("metacopy", "off"),
        ("redirect_dir", "nofollow"),
    ] {
        options.push((key, Some(value.to_owned())));
    }
    if in_user_namespace() {
        options.push(("userxattr", None));
    }
    options
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
    // The map says nothing: root of the first one may give all its ids to another.
    std::fs::read_link("/proc/self/ns/user").is_ok_and(|link| link != Path::new(FIRST_NAMESPACE))
}

/// Tells whether this process's user namespace has one user id: then no file can belong to another,
/// and owners are noted (see `notes`).
pub fn has_single_id() -> bool {
    let Ok(map) = std::fs::read_to_string("/proc/self/uid_map") else {
        return false;
    };
    map.lines().count() == 1 && map.split_whitespace().nth(2) == Some("1")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::fd::AsFd;

    use nix::sched::CloneFlags;
    use rustix::fs::{Dir, OFlags};
    use rustix::mount::MountPropagationFlags;

    use super::*;

    /// What a stack of so many layers, a file in each, looks like at its root.
    fn names(
        layers: usize,
        mount: impl Fn(&Stack<'_>) -> Result<OwnedFd, Errno>,
    ) -> Result<BTreeSet<String>, Errno> {
        let ground = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = ground.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let lowers: Vec<PathBuf> = (0..layers)
            .map(|number| {
                let path = make(&number.to_string());
                std::fs::write(path.join(format!("f{number}")), "x").unwrap();
                path
            })
            .collect();
        let (upper, work) = (make("upper"), make("work"));
        let (upper, work) = (
            open_directory(&upper).unwrap(),
            open_directory(&work).unwrap(),
        );
        let stack = Stack {
            lowers: open_lowers(&lowers).unwrap(),
            writable: Some((&upper, &work)),
            devices: false,
        };
        rustix::process::chdir("/proc/self/fd").unwrap();
        let mounted = mount(&stack)?;
        let root = rustix::fs::openat(&mounted, ".", OFlags::DIRECTORY, Mode::empty())?;
        assert!(rustix::fs::openat(root.as_fd(), "new", OFlags::CREATE, Mode::RWXU).is_ok());
        let names = Dir::read_from(root)?.map(|entry| entry.unwrap());
        let names = names.map(|entry| entry.file_name().to_str().unwrap().to_owned());
        Ok(names.filter(|name| !name.starts_with('.')).collect())
    }

    #[test]
    fn old_kernels_get_their_options_as_one_page() {
        // A thread with a mount namespace and a current directory of its own.
        let thread = std::thread::spawn(|| {
            if let Err(error) = nix::sched::unshare(CloneFlags::CLONE_NEWNS) {
                crate::testing::skip(&format!("no mount namespace: {error}"));
                return;
            }
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private).unwrap();
            for layers in [1, 2, 100, 400] {
                let page = names(layers, overlay_by_page).unwrap();
                assert_eq!(page.len(), layers + 1);
                let options = names(layers, |stack| {
                    overlay_by_options(stack, &mut String::new())
                });
                assert!(options.is_err() || options == Ok(page));
            }
        });
        thread.join().unwrap();
    }
}
