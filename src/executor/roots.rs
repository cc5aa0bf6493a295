//! Whole roots as directories, for where nothing can be mounted: a stage's root is laid out once,
//! and its commands work in it one after the other.
//!
//! A root that no command works in waits here under the layers that it equals. The next step that
//! stands on them takes it and brings it forward; a second one at the same time lays out its own.
//! No file is shared between roots by hard links: commands change files in place.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::Executor;
use super::chain::{Cell, Chain};
use super::error::ExecuteError;
use super::snapshot::{self, Listing};
use crate::cache::store::DirDraft;
use crate::digest::DiffId;
use crate::failure::Failure;
use crate::layer::{self, ApplyOptions, Limits, OverlayXattr, Ownership};
use crate::rooted::{Links, Root, read_directory, remove_all_at};
use crate::sys::xattr;
use crate::tree::{Device, Entry, Kind, Tree, TreePath};

/// A root, in use by one step at most.
#[derive(Debug)]
pub(crate) struct DirectoryRoot {
    draft: DirDraft,
    /// What it equals, bottom first.
    layers: Vec<DiffId>,
    /// What its inodes were when it came to equal them; `None` if not looked at yet.
    pub(crate) listing: Option<Listing>,
}

impl DirectoryRoot {
    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.draft.fs()
    }

    /// A directory beside it, on the same file system.
    pub(crate) fn draft(&self) -> &DirDraft {
        &self.draft
    }

    /// Its listing, made if it is not there.
    pub(crate) fn take_listing(&mut self) -> Result<Listing, ExecuteError> {
        match self.listing.take() {
            Some(listing) => Ok(listing),
            None => Ok(snapshot::survey(self.path())?),
        }
    }
}

/// Roots that nobody works in.
#[derive(Debug, Default)]
pub(crate) struct Roots(Mutex<Vec<DirectoryRoot>>);

impl Roots {
    /// Takes the root that has most of `layers` and nothing else.
    fn take(&self, layers: &[DiffId]) -> Option<DirectoryRoot> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |root: &DirectoryRoot| layers.starts_with(&root.layers);
        let best = idle
            .iter()
            .enumerate()
            .filter(|(_, root)| fits(root))
            .max_by_key(|(_, root)| root.layers.len());
        best.map(|(position, _)| position)
            .map(|position| idle.swap_remove(position))
    }

    /// Lays a root down; it has one more layer now if a command made one.
    pub(crate) fn put(&self, mut root: DirectoryRoot, layer: Option<DiffId>) {
        root.layers.extend(layer);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(root);
    }
}

impl Executor<'_> {
    /// A root that equals a chain of layers, for the caller alone.
    pub(crate) fn root(&self, chain: &Chain) -> Result<DirectoryRoot, Failure> {
        let lost = |_| ExecuteError::Cancelled;
        let layers = chain.diff_ids().map_err(lost)?;
        if let Some(mut root) = self.roots.take(&layers) {
            let missing = &layers[root.layers.len()..];
            if missing.is_empty() || self.bring_forward(&mut root, missing)? {
                self.has_nodes(&root, chain, missing)?;
                return Ok(root);
            }
        }
        let draft = self.input.store.draft_dir()?;
        // As overlay shows it: the layers as their tars have them.
        let plain: Chain = chain.cells().iter().cloned().collect();
        self.flatten(&plain, |flatten| {
            flatten.write_directory(draft.fs(), Ownership::Real)
        })?;
        let root = DirectoryRoot {
            draft,
            layers,
            listing: None,
        };
        self.has_nodes(&root, chain, &root.layers)?;
        Ok(root)
    }

    /// Refuses a root where files stand for device nodes that could not be made: a command would copy and
    /// change files. In /dev it does not see them (see `sandbox::lent`), and its layer has none of them.
    fn has_nodes(
        &self,
        root: &DirectoryRoot,
        chain: &Chain,
        new: &[DiffId],
    ) -> Result<(), Failure> {
        let is_device = |entry: &Entry| Device::of(&entry.kind).is_some();
        let mut devices = false;
        for diff_id in new {
            devices |= self.faces.tree(*diff_id)?.entries().iter().any(is_device);
        }
        if !devices {
            return Ok(());
        }
        let there = |source| ExecuteError::MountFiles {
            path: root.path().to_owned(),
            source,
        };
        let place = Root::open(root.path()).map_err(there)?;
        for node in self.faces.view(chain)?.walk(&TreePath::root()) {
            let path = node.path();
            if !is_device(node.entry) || path.as_bytes().starts_with(b"dev/") {
                continue;
            }
            let state = place.stat(path.as_bytes(), Links::None).map_err(there)?;
            if FileType::from_raw_mode(state.stx_mode.into()) == FileType::RegularFile {
                let path = path.clone();
                return Err(ExecuteError::NoNode { path }.into());
            }
        }
        Ok(())
    }

    /// Adds layers to a root; `false` if it has to be laid out anew, and is spoilt perhaps.
    fn bring_forward(&self, root: &mut DirectoryRoot, layers: &[DiffId]) -> Result<bool, Failure> {
        for diff_id in layers {
            let tree = self.faces.tree(*diff_id)?;
            if !only_adds(&tree) {
                return Ok(false);
            }
            let below: Chain = root
                .layers
                .iter()
                .map(|layer| Cell::known(*layer))
                .collect();
            let view = self.faces.view(&below)?;
            let draft = self.input.store.draft_dir()?;
            let options = ApplyOptions {
                overlay: OverlayXattr::User,
                lowers: &[],
                lower_view: &view,
                ownership: Ownership::Real,
                clamp: None,
                limits: Limits::default(),
            };
            let tar = self.faces.any_tar(*diff_id)?;
            // A link to a file of another layer, for one, needs a root laid out as a whole.
            if layer::apply(tar, draft.fs(), &options).is_err() {
                return Ok(false);
            }
            merge(draft.fs(), root.path()).map_err(|errno| ExecuteError::MountFiles {
                path: root.path().to_owned(),
                source: errno.into(),
            })?;
            root.layers.push(*diff_id);
            root.listing = None;
        }
        Ok(true)
    }
}

/// Whether a layer hides nothing of those below: what COPY and WORKDIR make.
fn only_adds(tree: &Tree) -> bool {
    let hides = |kind: &Kind<_>| matches!(kind, Kind::Whiteout | Kind::Directory { opaque: true });
    !tree.entries().iter().any(|entry| hides(&entry.kind))
}

/// Moves what is in `from` into `to`, on one file system: directories are merged and get the
/// attributes of the upper one, everything else is replaced.
fn merge(from: &Path, to: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = rustix::fs::open(from, flags, Mode::empty())?;
    let to = rustix::fs::open(to, flags, Mode::empty())?;
    merge_directory(from.as_fd(), to.as_fd())
}

fn merge_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let raw = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    for entry in read_directory(from).map_err(raw)? {
        let name = entry.name.as_c_str();
        let kind = |parent| {
            let status = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(FileType::from_raw_mode(status.st_mode))
        };
        let there = match kind(to) {
            Ok(kind) => Some(kind),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno),
        };
        if there == Some(FileType::Directory) && kind(from)? == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let upper = rustix::fs::openat(from, name, flags, Mode::empty())?;
            let lower = rustix::fs::openat(to, name, flags, Mode::empty())?;
            // Before its entries leave it.
            let status = rustix::fs::fstat(&upper)?;
            merge_directory(upper.as_fd(), lower.as_fd())?;
            describe((from, to), name, &status)?;
            continue;
        }
        if there.is_some() {
            remove_all_at(to, name).map_err(raw)?;
        }
        rustix::fs::renameat(from, name, to, name)?;
    }
    Ok(())
}

/// Gives a merged directory the attributes of the upper one.
fn describe(
    (from, to): (BorrowedFd<'_>, BorrowedFd<'_>),
    name: &CStr,
    status: &rustix::fs::Stat,
) -> Result<(), Errno> {
    let raw = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let (uid, gid) = (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid));
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(status.st_mode & 0o7777);
    rustix::fs::chmodat(to, name, mode, AtFlags::empty())?;
    for key in xattr::list_at(from, name).map_err(raw)? {
        let Ok(key) = std::ffi::CString::new(key) else {
            continue;
        };
        if !crate::tree::is_image_xattr(key.to_bytes()) {
            continue;
        }
        if let Some(value) = xattr::get_at(from, name, &key).map_err(raw)? {
            xattr::set_at(to, name, &key, &value).map_err(raw)?;
        }
    }
    let times = crate::rooted::times_as_of(status);
    rustix::fs::utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}
