//! What a RUN changed in a root that it worked in directly: found by inode and change time.
//!
//! The kernel sets the change time of an inode whenever anything about it changes, and no program
//! can set it back. So a name whose inode, change time, size and mode are what they were is
//! untouched, and is not looked at any closer; of the others the tree index of the layers below
//! tells whether they differ. No content is read of what the command did not touch.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::time::{ClockId, clock_gettime};

use super::SnapshotError;
use super::compare;
use super::freeze::{Found, Frozen, clamp, deleted, kind_of};
use super::level::{state_of, type_of};
use super::parallel::{self, Perform};
use crate::clock::Epoch;
use crate::digest::ContentDigest;
use crate::executor::sandbox::Inode;
use crate::rooted::{Links, Root, read_directory};
use crate::tree::{Entry, Kind, Node, TreePath, Unread, View};

/// What the kernel changes whenever a name or its inode changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// Its number may be another one's after it is gone; the time of its making tells.
    inode: Inode,
    changed: (i64, u32),
    size: u64,
    mode: u16,
    links: u32,
}

impl Stamp {
    fn of(state: &Statx) -> Self {
        Self {
            inode: Inode::from(state),
            changed: (state.stx_ctime.tv_sec, state.stx_ctime.tv_nsec),
            size: state.stx_size,
            mode: state.stx_mode,
            links: state.stx_nlink,
        }
    }
}

/// The names of a directory, sorted.
type Names = Vec<(CString, Stamp)>;

/// A whole tree as it was at one moment.
#[derive(Debug, Default)]
pub struct Listing {
    directories: BTreeMap<TreePath, Names>,
}

impl Listing {
    /// Waits until a change made from now on shows in a change time: less than a tick of the
    /// kernel's clock after the last change, it might not. Kernels since 6.13 give a finer time to
    /// whatever changes after somebody looked at it, on most file systems; whether they do is tried
    /// on a file of `scratch`, a directory of the same file system.
    pub fn settle(&self, scratch: &Path) {
        let stamps = self.directories.values().flatten();
        let Some(newest) = stamps.map(|(_, stamp)| stamp.changed).max() else {
            return;
        };
        let mut fine_times = None;
        loop {
            let now = tick();
            // A time far in the future is a clock that was set back: nothing to wait for.
            if now > newest || newest.0 > now.0 + 1 {
                return;
            }
            if *fine_times.get_or_insert_with(|| has_fine_times(scratch).unwrap_or(false)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The files that have several names.
    pub fn shared(&self) -> Vec<Inode> {
        let stamps = self.directories.values().flatten();
        let shared = stamps.filter(|(_, stamp)| {
            let kind = FileType::from_raw_mode(stamp.mode.into());
            stamp.links > 1 && kind != FileType::Directory
        });
        let shared: BTreeSet<Inode> = shared.map(|(_, stamp)| stamp.inode).collect();
        shared.into_iter().collect()
    }

    fn stamp(&self, parent: &TreePath, name: &CStr) -> Option<Stamp> {
        let names = self.directories.get(parent)?;
        let found = names.binary_search_by(|(known, _)| known.as_c_str().cmp(name));
        found.ok().map(|position| names[position].1)
    }
}

/// The time that the kernel gives to what changes now, unless it has a finer one.
fn tick() -> (i64, u32) {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Whether a change after a look gets a time of its own, between two ticks of the clock. If the
/// clock ticks meanwhile, that cannot be told, and the answer is no.
fn has_fine_times(scratch: &Path) -> io::Result<bool> {
    let file = tempfile::tempfile_in(scratch)?;
    let before = tick();
    let look = || rustix::fs::statx(&file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS);
    look()?;
    rustix::fs::fchmod(&file, Mode::RUSR)?;
    let changed = Stamp::of(&look()?).changed;
    Ok(tick() == before && changed > before)
}

/// Lists a tree. Costs one system call a name, on all processors.
pub fn survey(root: &Path) -> Result<Listing, SnapshotError> {
    let walk = Walk {
        root: &open(root)?,
        since: None,
    };
    Ok(split(parallel::run(TreePath::root(), &walk)?).0)
}

/// Finds what changed since `before`, when the tree was what `below` shows: the changes, which are
/// the same as [`super::freeze`] finds in an overlay, and the listing of the tree as it is now.
///
/// Times later than the epoch are clamped on disk, fractions of seconds cut off. A file of a lower
/// layer that had several names has become several files, if it changed, as on an overlay.
pub fn changes(
    root: &Path,
    before: &Listing,
    below: &View,
    epoch: Epoch,
) -> Result<(Frozen, Listing), SnapshotError> {
    let root = open(root)?;
    let since = Some(Since {
        before,
        below,
        epoch,
        contents: Mutex::default(),
    });
    let walk = Walk { root: &root, since };
    let (listing, found) = split(parallel::run(TreePath::root(), &walk)?);
    Ok((Frozen::of(root, found, epoch), listing))
}

fn open(path: &Path) -> Result<Root, SnapshotError> {
    Root::open(path).map_err(|source| SnapshotError::Open {
        path: path.to_owned(),
        source,
    })
}

fn split(seen: Vec<Seen>) -> (Listing, Vec<Found>) {
    let (mut listing, mut found) = (Listing::default(), Vec::new());
    for seen in seen {
        match seen {
            Seen::Directory(path, names) => {
                listing.directories.insert(path, names);
            }
            Seen::Change(change) => found.push(*change),
        }
    }
    (listing, found)
}

/// What the walk brings home.
enum Seen {
    Directory(TreePath, Names),
    Change(Box<Found>),
}

/// What is compared with.
struct Since<'a> {
    before: &'a Listing,
    below: &'a View,
    epoch: Epoch,
    /// What was read of files of several names: removing one name of a large one touches all.
    contents: Mutex<BTreeMap<Inode, ContentDigest>>,
}

struct Walk<'a> {
    root: &'a Root,
    since: Option<Since<'a>>,
}

impl Perform<TreePath, Seen> for Walk<'_> {
    fn job(
        &self,
        path: TreePath,
        seen: &mut Vec<Seen>,
        jobs: &mut Vec<TreePath>,
    ) -> Result<(), SnapshotError> {
        let failed = |source| SnapshotError::Examine {
            path: path.clone(),
            source,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let opened = self.root.open_with(path.as_bytes(), Links::None, flags);
        let directory = opened.map_err(failed)?;
        let entries = read_directory(directory.as_fd()).map_err(failed)?;
        let mut names: Names = Vec::with_capacity(entries.len());
        for entry in entries {
            let state = state_of(directory.as_fd(), &entry.name).map_err(failed)?;
            let Some(state) = state else { continue };
            let stamp = match &self.since {
                Some(since) => since.name(&path, (directory.as_fd(), &entry.name), &state, seen)?,
                None => Stamp::of(&state),
            };
            if type_of(&state) == FileType::Directory {
                jobs.push(path.join_name(entry.name.to_bytes()));
            }
            names.push((entry.name, stamp));
        }
        names.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        if let Some(since) = &self.since {
            since.vanished(&path, &names, seen);
        }
        seen.push(Seen::Directory(path, names));
        Ok(())
    }
}

impl Since<'_> {
    /// Compares one name; its stamp from now on.
    fn name(
        &self,
        parent: &TreePath,
        (directory, name): (BorrowedFd<'_>, &CStr),
        state: &Statx,
        seen: &mut Vec<Seen>,
    ) -> Result<Stamp, SnapshotError> {
        let now = Stamp::of(state);
        let before = self.before.stamp(parent, name);
        if before == Some(now) {
            return Ok(now);
        }
        let path = parent.join_name(name.to_bytes());
        if name.to_bytes().starts_with(b".wh.") {
            return Err(SnapshotError::ReservedName { path });
        }
        let failed = |source| SnapshotError::Examine {
            path: path.clone(),
            source,
        };
        let below = self.below.lookup(&path);
        // Sockets cannot be in layers; what they replaced is gone.
        if type_of(state) == FileType::Socket {
            if below.is_some() {
                seen.push(Seen::Change(Box::new(deleted(path))));
            }
            return Ok(now);
        }
        // In such a root commands write what they like: no note is the builder's own.
        let believed = compare::Believed::default();
        let extended = compare::extended(directory, name, believed).map_err(failed)?;
        extended.strip((directory, name)).map_err(failed)?;
        let kind = kind_of((directory, name), state, extended.device).map_err(failed)?;
        let is_time_kept = state.stx_mtime.tv_nsec == 0
            && below.is_some_and(|node| node.entry.mtime == state.stx_mtime.tv_sec);
        let mut entry = Entry {
            path: path.clone(),
            kind,
            mode: u32::from(state.stx_mode) & 0o7777,
            uid: state.stx_uid,
            gid: state.stx_gid,
            mtime: state.stx_mtime.tv_sec,
            xattrs: extended.image,
        };
        if !is_time_kept {
            entry.mtime = entry.mtime.min(self.epoch.0);
        }
        let unchanged = match below {
            Some(node) => self
                .is_same(&entry, &node, (directory, name, &now))
                .map_err(failed)?,
            None => false,
        };
        if !(unchanged && is_time_kept) {
            entry.mtime = clamp((directory, name), state, self.epoch, &path)?;
        }
        // Several names that a lower layer gave the file are several files once it changed.
        let was_shared = before.is_some_and(|before| before.inode == now.inode && before.links > 1);
        let is_shared = type_of(state) != FileType::Directory && now.links > 1 && !was_shared;
        let device = (state.stx_dev_major, state.stx_dev_minor);
        seen.push(Seen::Change(Box::new(Found {
            entry,
            unchanged,
            inode: is_shared.then_some((device.0, device.1, state.stx_ino)),
        })));
        // The clamp was a change, too.
        let state = state_of(directory, name).map_err(failed)?;
        Ok(state.map_or(now, |state| Stamp::of(&state)))
    }

    /// Notes what was in a directory and is not any more.
    fn vanished(&self, path: &TreePath, names: &Names, seen: &mut Vec<Seen>) {
        let Some(before) = self.before.directories.get(path) else {
            return;
        };
        for (name, _) in before {
            let is_there = names.binary_search_by(|(now, _)| now.cmp(name)).is_ok();
            let path = path.join_name(name.to_bytes());
            if !is_there && self.below.lookup(&path).is_some() {
                seen.push(Seen::Change(Box::new(deleted(path))));
            }
        }
    }

    /// Whether something is what the layers below have at its path.
    fn is_same(
        &self,
        entry: &Entry<Unread>,
        node: &Node<'_>,
        (directory, name, stamp): (BorrowedFd<'_>, &CStr, &Stamp),
    ) -> io::Result<bool> {
        let below = node.entry;
        let meta = |mode, ids, mtime| (mode, ids, mtime);
        let is_equal = meta(entry.mode, (entry.uid, entry.gid), entry.mtime)
            == meta(below.mode, (below.uid, below.gid), below.mtime)
            && entry.xattrs == below.xattrs;
        // The mode of a link means nothing, and archives disagree about it.
        let is_link = matches!(below.kind, Kind::Symlink { .. })
            && (entry.uid, entry.gid, entry.mtime) == (below.uid, below.gid, below.mtime);
        match (&entry.kind, &below.kind) {
            (Kind::Symlink { target }, Kind::Symlink { target: other }) => {
                Ok(is_link && target == other)
            }
            _ if !is_equal => Ok(false),
            (Kind::Directory { .. }, Kind::Directory { .. }) | (Kind::Fifo, Kind::Fifo) => Ok(true),
            (
                Kind::File { size, .. },
                Kind::File {
                    size: other,
                    content,
                },
            ) => Ok(size == other && self.content_of((directory, name), stamp)? == *content),
            (Kind::CharDevice { major, minor }, Kind::CharDevice { major: a, minor: i })
            | (Kind::BlockDevice { major, minor }, Kind::BlockDevice { major: a, minor: i }) => {
                Ok((major, minor) == (a, i))
            }
            _ => Ok(false),
        }
    }

    fn content_of(
        &self,
        (directory, name): (BorrowedFd<'_>, &CStr),
        stamp: &Stamp,
    ) -> io::Result<ContentDigest> {
        let known = || self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = known().get(&stamp.inode) {
            return Ok(*content);
        }
        let content = ContentDigest::read(&mut compare::open(directory, name)?)?;
        if stamp.links > 1 {
            known().insert(stamp.inode, content);
        }
        Ok(content)
    }
}
