//! tar → directory: an overlay lower, or a plain tree.
//!
//! Where an entry belongs is decided on data ([`super::assemble`]), links included; on disk every
//! directory is opened from its parent without following anything. So no entry, however it is
//! named or linked, is made outside the target. Contents of small files are written by several
//! threads, everything else in the order of the archive.

mod attributes;
mod directories;
#[cfg(test)]
mod tests;
mod workers;

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::LayerError;
use super::assemble::{Assembly, Before, Placed};
use super::index::is_link_to_itself;
use super::tar::{Limits, Reader};
use crate::clock::Epoch;
use crate::rooted::{Root, remove_all_at};
use crate::tree::{Entry, Kind, TreePath, Unread, View};
use attributes::Policy;
use directories::Directories;
use workers::{FileJob, Workers};

/// Files up to this size are read into memory and written by another thread.
const SMALL: u64 = 64 << 10;

/// Which attributes overlayfs keeps its marks in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlayXattr {
    /// `trusted.overlay.`: mounts by root.
    Trusted,
    /// `user.overlay.`: mounts with `userxattr`, in a user namespace.
    User,
}

/// What becomes of owners and devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// They are made real. Devices that the kernel refuses become empty files: the tree knows.
    Real,
    /// Only one id is there: they are in the tree alone. Files stay readable to ourselves.
    Recorded,
    /// Only one id is there: owners other than root, and devices, are noted ([`crate::tree::Device`],
    /// [`crate::tree::OWNER_NOTE`], [`crate::tree::SPECIAL_OWNER_NOTE`]).
    Noted,
    /// Everything belongs to whoever runs this: plain output.
    Current,
}

/// How to apply a layer.
#[derive(Clone, Copy, Debug)]
pub struct ApplyOptions<'a> {
    /// Where overlayfs looks for marks.
    pub overlay: OverlayXattr,
    /// The directories of the layers below, top first; those of `lower_view`.
    pub lowers: &'a [PathBuf],
    /// The layers below.
    pub lower_view: &'a View,
    /// Owners and devices.
    pub ownership: Ownership,
    /// Later times become this one; `None` for layers that are never touched.
    pub clamp: Option<Epoch>,
    /// Bounds of the archive.
    pub limits: Limits,
}

/// Unpacks a plain tar into an empty directory, which then is the layer as overlayfs wants it:
/// deletions are character devices 0:0, hidden directories have the opaque mark, directories that
/// the layer only implies look like those below. Modes, owners, times and attributes are exact.
///
/// `target` is the store's own: nobody else may write to it.
pub fn apply(
    reader: impl Read,
    target: &Path,
    options: &ApplyOptions<'_>,
) -> Result<(), LayerError> {
    let root = Root::open(target).and_then(|root| root.as_fd().try_clone_to_owned());
    let root = root.map_err(|error| create_error(&TreePath::root(), error))?;
    let policy = Policy {
        ownership: options.ownership,
        clamp: options.clamp,
    };
    let mut archive = Reader::new(reader, options.limits);
    std::thread::scope(|scope| {
        let mut applier = Applier {
            options,
            policy,
            assembly: Assembly::new(Some(options.lower_view)),
            directories: Directories::new(root, options.lower_view),
            workers: Workers::start(scope, policy),
            links: Vec::new(),
        };
        while let Some(member) = archive.next_member()? {
            let placed = applier.assembly.place(&member)?;
            applier.put(placed, &mut archive)?;
        }
        archive.drain()?;
        applier.finish()
    })
}

struct Applier<'a> {
    options: &'a ApplyOptions<'a>,
    policy: Policy,
    assembly: Assembly<'a, Unread>,
    directories: Directories<'a>,
    workers: Workers,
    /// Hard links to make once the files are there: name, file.
    links: Vec<(TreePath, TreePath)>,
}

/// Wraps an error about an entry.
fn create_error(path: &TreePath, error: impl Into<io::Error>) -> LayerError {
    LayerError::Create {
        path: path.clone(),
        source: error.into(),
    }
}

/// A path's last component for a system call. Paths have no NUL.
fn c_name(path: &TreePath) -> Result<CString, LayerError> {
    CString::new(path.name()).map_err(|error| create_error(path, error))
}

impl Applier<'_> {
    fn put(&mut self, placed: Placed, content: &mut impl Read) -> Result<(), LayerError> {
        match placed {
            Placed::Skip => Ok(()),
            Placed::Entry(entry) => self.entry(entry, content),
            Placed::Opaque(path) => {
                if !self.assembly.opaque(&path) {
                    return Err(LayerError::NotDirectory { path });
                }
                self.directories.open(&path, &self.assembly).map(drop)
            }
            Placed::Whiteout(path) => self.whiteout(&path),
        }
    }

    fn whiteout(&mut self, path: &TreePath) -> Result<(), LayerError> {
        let marker = Entry::whiteout(path.clone());
        let is_known = self.assembly.get(path).is_some();
        let made_opaque = self.assembly.whiteout(path, marker).is_some();
        let is_shown = self.assembly.shows_lower(path);
        if is_known || made_opaque || !is_shown || self.options.lower_view.lookup(path).is_none() {
            return Ok(());
        }
        let (parent, name) = self.place(path)?;
        let made = rustix::fs::mknodat(
            &parent,
            &name,
            FileType::CharacterDevice,
            Mode::empty(),
            rustix::fs::makedev(0, 0),
        );
        made.map_err(|error| create_error(path, error))
    }

    fn entry(&mut self, entry: Entry<Unread>, content: &mut impl Read) -> Result<(), LayerError> {
        if is_link_to_itself(&entry) {
            return Ok(());
        }
        let path = entry.path.clone();
        if self.would_replace(&entry) {
            self.settle()?;
        }
        let before = self.assembly.insert(entry.clone())?;
        if entry.is_directory() && (path.is_root() || before != Before::Other) {
            self.directories.open(&path, &self.assembly)?;
            self.directories.describe(entry);
            return Ok(());
        }
        let (parent, name) = self.place(&path)?;
        if before == Before::Other {
            self.directories.forget(&path);
            remove_all_at(parent.as_fd(), &name).map_err(|error| create_error(&path, error))?;
        }
        match &entry.kind {
            Kind::Directory { .. } => {
                self.directories.open(&path, &self.assembly)?;
                self.directories.describe(entry);
                Ok(())
            }
            Kind::File { .. } => self.file(parent, name, entry, content),
            Kind::Hardlink { target } => {
                self.links.push((path, target.clone()));
                Ok(())
            }
            _ => attributes::make_special(parent.as_fd(), &name, &entry, self.policy),
        }
    }

    /// Whether something on disk has to go for an entry.
    fn would_replace(&self, entry: &Entry<Unread>) -> bool {
        match self.assembly.get(&entry.path) {
            Some(old) => !(old.is_directory() && entry.is_directory()),
            None => !entry.is_directory() && self.directories.has(&entry.path),
        }
    }

    /// The open directory that an entry belongs in, and its name there.
    fn place(&mut self, path: &TreePath) -> Result<(Arc<OwnedFd>, CString), LayerError> {
        let parent = path.parent().unwrap_or_default();
        let directory = self.directories.open(&parent, &self.assembly)?;
        Ok((directory, c_name(path)?))
    }

    fn file(
        &mut self,
        parent: Arc<OwnedFd>,
        name: CString,
        entry: Entry<Unread>,
        content: &mut impl Read,
    ) -> Result<(), LayerError> {
        let size = entry.data_size();
        if size <= SMALL {
            let mut data = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            content.read_to_end(&mut data).map_err(LayerError::read)?;
            let job = FileJob {
                parent,
                name,
                entry,
                data,
            };
            return self.workers.write(job);
        }
        let file = attributes::create_file(parent.as_fd(), &name, &entry)?;
        copy(content, &file, &entry.path)?;
        attributes::describe_file(&file, &entry, self.policy)
    }

    /// Waits until all that was asked for is on disk.
    fn settle(&mut self) -> Result<(), LayerError> {
        self.workers.settle()?;
        for (path, target) in std::mem::take(&mut self.links) {
            self.link(&path, &target)?;
        }
        Ok(())
    }

    fn link(&mut self, path: &TreePath, target: &TreePath) -> Result<(), LayerError> {
        let bad = || LayerError::LinkTarget {
            path: path.clone(),
            target: target.clone(),
        };
        if self.assembly.get(target).is_none() && !self.copy_up(target)? {
            return Err(bad());
        }
        let (from, old) = self.place(target)?;
        let (to, new) = self.place(path)?;
        let flags = rustix::fs::AtFlags::empty();
        match rustix::fs::linkat(&from, &old, &to, &new, flags) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(bad()),
            Err(error) => Err(create_error(path, error)),
        }
    }

    /// Brings a file of a lower layer into this one, as overlayfs does when it gets a new name.
    /// `false` if there is no such file.
    fn copy_up(&mut self, path: &TreePath) -> Result<bool, LayerError> {
        if !self.assembly.shows_lower(path) {
            return Ok(false);
        }
        let view = self.options.lower_view;
        let Some(node) = view.lookup(path) else {
            return Ok(false);
        };
        let lowers = self.options.lowers;
        let lower = lowers.len().checked_sub(node.layer + 1);
        let (Some(lower), Kind::File { .. }) = (lower, &node.entry.kind) else {
            return Ok(false);
        };
        let open = || Root::open(&lowers[lower])?.open_file(node.entry.path.as_bytes());
        let mut source = open().map_err(|error| create_error(path, error))?;
        let mut entry = node.entry.clone().map_content(|_| Unread);
        entry.path = path.clone();
        let (parent, name) = self.place(path)?;
        let file = match attributes::create_file(parent.as_fd(), &name, &entry) {
            // It was brought here for another link.
            Err(LayerError::Create { source, .. })
                if source.kind() == io::ErrorKind::AlreadyExists =>
            {
                return Ok(true);
            }
            other => other?,
        };
        copy(&mut source, &file, path)?;
        // It is not part of the layer: its time stays.
        let policy = Policy {
            clamp: None,
            ..self.policy
        };
        attributes::describe_file(&file, &entry, policy)?;
        Ok(true)
    }

    fn finish(mut self) -> Result<(), LayerError> {
        self.settle()?;
        self.workers.finish()?;
        let overlay = match self.options.overlay {
            OverlayXattr::Trusted => c"trusted.overlay.opaque",
            OverlayXattr::User => c"user.overlay.opaque",
        };
        let (assembly, policy) = (&self.assembly, self.policy);
        let lower = self.options.lower_view;
        self.directories.finish(|entry, directory| {
            let own = assembly.get(&entry.path).map(|own| &own.kind);
            let is_opaque = matches!(own, Some(Kind::Directory { opaque: true }));
            let below = lower.lookup(&entry.path);
            if is_opaque && below.is_some_and(|node| node.entry.is_directory()) {
                attributes::set_xattr(directory, overlay, b"y", &entry.path)?;
            }
            attributes::describe_directory(directory, entry, policy)
        })
    }
}

fn copy(
    content: &mut impl Read,
    mut file: &std::fs::File,
    path: &TreePath,
) -> Result<(), LayerError> {
    let mut buffer = vec![0; 1 << 17];
    loop {
        let count = content.read(&mut buffer).map_err(LayerError::read)?;
        if count == 0 {
            return Ok(());
        }
        let written = io::Write::write_all(&mut file, &buffer[..count]);
        written.map_err(|error| create_error(path, error))?;
    }
}
