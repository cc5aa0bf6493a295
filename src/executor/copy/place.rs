//! Where copied files land: BuildKit's rules (fsutil's `copy`), answered from trees alone.
//!
//! Sources and the destination are data, so a COPY neither unpacks nor mounts its base. What comes
//! out is the layer: its entries, each with the source entry that has its content.

use std::collections::BTreeMap;

use super::CopyError;
use super::select::Named;
use crate::clock::Epoch;
use crate::planner::op::Chmod;
use crate::tree::{Entry, Follow, Kind, Selected, Tree, TreePath, View, wrap_windows};

/// The source that holds the content of a file: the number of its tree and the path in it.
pub(crate) type Origin = (usize, TreePath);

/// An entry of the new layer and where its content is.
#[derive(Clone, Debug)]
struct Placed {
    entry: Entry,
    origin: Option<Origin>,
}

/// The new layer: its entries in tree order, and for each where its content is.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// The entries.
    pub(crate) entries: Vec<Entry>,
    /// As many as there are entries; only files have one.
    pub(crate) origins: Vec<Option<Origin>>,
}

impl Layout {
    /// The same with no time after the epoch: a directory on the way has the time of the base.
    pub(crate) fn clamped(mut self, epoch: Epoch) -> Self {
        for entry in &mut self.entries {
            entry.mtime = entry.mtime.min(epoch.0);
        }
        self
    }

    /// The same as a layer of a Windows image.
    pub(crate) fn wrapped(self, epoch: Epoch) -> Self {
        let frame = || std::iter::once(None);
        Self {
            entries: wrap_windows(self.entries, epoch.0),
            origins: frame().chain(self.origins).chain(frame()).collect(),
        }
    }
}

/// Where files go and what they become.
#[derive(Debug)]
pub(crate) struct Destination<'a> {
    /// The file system that is copied onto; `None` with `--link`.
    pub(crate) base: Option<&'a View>,
    /// Absolute, cleaned.
    pub(crate) path: &'a str,
    /// Whether it was written as a directory.
    pub(crate) is_directory: bool,
    /// `--chown`, resolved.
    pub(crate) owner: Option<(u32, u32)>,
    /// `--chmod`.
    pub(crate) chmod: Option<&'a Chmod>,
    /// The time of everything placed.
    pub(crate) epoch: Epoch,
}

/// Collects the entries of the layer.
#[derive(Debug)]
pub(crate) struct Placer<'a> {
    destination: Destination<'a>,
    /// The destination with the base's symlinks followed.
    resolved: TreePath,
    placed: BTreeMap<TreePath, Placed>,
}

/// What stands at a path: in the layer being made, or below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Nothing,
    Directory,
    Other,
}

impl<'a> Placer<'a> {
    /// Resolves the destination.
    pub(crate) fn new(destination: Destination<'a>) -> Result<Self, CopyError> {
        let resolved = match destination.base {
            Some(base) => base
                .resolve_missing(destination.path.as_bytes(), None, Follow::All)
                .map_err(|source| CopyError::Destination {
                    path: destination.path.to_owned(),
                    source,
                })?
                .path(),
            None => TreePath::clean(destination.path),
        };
        Ok(Self {
            destination,
            resolved,
            placed: BTreeMap::new(),
        })
    }

    /// Makes the destination itself a directory: WORKDIR.
    pub(crate) fn make_destination(&mut self) -> Result<(), CopyError> {
        self.make_directories(&self.resolved.clone())
    }

    /// Places one source: a file under its name or in its directory, a directory by its contents.
    pub(crate) fn place(&mut self, source: &Named<'_>) -> Result<(), CopyError> {
        let standing = self.standing(&self.resolved);
        let into_directory = self.destination.is_directory || standing == Standing::Directory;
        if source.is_directory() {
            self.make_directories(&self.resolved.clone())?;
            return self.place_contents(source, &self.resolved.clone());
        }
        let target = if into_directory {
            self.resolved.join_name(source.given.name())
        } else {
            self.resolved.clone()
        };
        self.make_parents(&target)?;
        self.place_all(source, &target)
    }

    /// Places what an archive holds below the destination, with its own owners and modes, as tar
    /// does: what is in the way is replaced, and a directory that the archive only implies may be
    /// a symlink of the image.
    pub(crate) fn place_archive(
        &mut self,
        source: &Named<'_>,
        archive: &Tree,
    ) -> Result<(), CopyError> {
        let chmod = self.destination.chmod.take();
        let result = self.place_members(source, archive);
        self.destination.chmod = chmod;
        result
    }

    /// The entries in tree order, with the existing directories that lead to them: an extractor
    /// that unpacks the layer apart from its base would otherwise invent their modes.
    pub(crate) fn finish(mut self) -> Result<Layout, CopyError> {
        if let Some(path) = self.placed.keys().find(|path| path.has_reserved_name()) {
            return Err(CopyError::ReservedName { path: path.clone() });
        }
        let mut ancestors = BTreeMap::new();
        if let Some(base) = self.destination.base {
            for path in self.placed.keys() {
                let mut parent = path.parent();
                while let Some(path) = parent.filter(|path| !path.is_root()) {
                    if self.placed.contains_key(&path) || ancestors.contains_key(&path) {
                        break;
                    }
                    if let Some(node) = base.lookup(&path) {
                        let (entry, origin) = (as_ancestor(node.entry, &path), None);
                        ancestors.insert(path.clone(), Placed { entry, origin });
                    }
                    parent = path.parent();
                }
            }
        }
        if !ancestors.is_empty() {
            self.placed.append(&mut ancestors);
        }
        let count = self.placed.len();
        let mut layout = Layout {
            entries: Vec::with_capacity(count),
            origins: Vec::with_capacity(count),
        };
        for placed in self.placed.into_values() {
            layout.entries.push(placed.entry);
            layout.origins.push(placed.origin);
        }
        Ok(layout)
    }

    /// Places what is in a directory.
    fn place_contents(&mut self, source: &Named<'_>, target: &TreePath) -> Result<(), CopyError> {
        for selected in source
            .select()
            .iter()
            .filter(|selected| !selected.name.is_root())
        {
            let is_way = selected.entry.is_directory() && !source.takes(&selected.name);
            if is_way {
                self.place_way(selected, target)?;
            } else {
                self.place_entry(source, selected, target)?;
            }
        }
        Ok(())
    }

    /// Places a directory that only leads to what is taken: one that is there gets its mode.
    fn place_way(&mut self, way: &Selected<'_>, target: &TreePath) -> Result<(), CopyError> {
        let path = target.join(&way.name);
        match self.standing(&path) {
            Standing::Other => return Err(CopyError::NotADirectory { path }),
            Standing::Nothing => {
                self.insert(path, way.entry, None);
                return Ok(());
            }
            Standing::Directory => {}
        }
        if let Some(placed) = self.placed.get_mut(&path) {
            placed.entry.mode = way.entry.mode;
        } else if let Some(node) = self.destination.base.and_then(|base| base.lookup(&path)) {
            let mut entry = as_ancestor(node.entry, &path);
            entry.mode = way.entry.mode;
            let origin = None;
            self.placed.insert(path, Placed { entry, origin });
        }
        Ok(())
    }

    fn place_members(&mut self, source: &Named<'_>, archive: &Tree) -> Result<(), CopyError> {
        self.make_directories(&self.resolved.clone())?;
        let mut places = BTreeMap::from([(TreePath::root(), self.resolved.clone())]);
        for selected in source
            .select()
            .iter()
            .filter(|selected| !selected.name.is_root())
        {
            let path = place_of(&places, &selected.name);
            if selected.entry.is_directory() {
                let is_implied = archive.entry(&selected.name).is_none();
                let path = if is_implied {
                    self.lead_through(path)?
                } else {
                    path
                };
                if !is_implied || self.standing(&path) == Standing::Nothing {
                    self.insert(path.clone(), selected.entry, None);
                }
                places.insert(selected.name.clone(), path);
                continue;
            }
            self.placed.retain(|placed, _| !placed.is_within(&path));
            let first = selected
                .same_as
                .as_ref()
                .map(|first| place_of(&places, first));
            let origin = (source.root, source.path.join(&selected.name));
            self.insert_file(origin, selected.entry, first, path);
        }
        Ok(())
    }

    /// Where a directory is that names in an archive lead through.
    fn lead_through(&self, path: TreePath) -> Result<TreePath, CopyError> {
        let Some(base) = self
            .destination
            .base
            .filter(|_| !self.placed.contains_key(&path))
        else {
            return Ok(path);
        };
        let failed = |source| CopyError::Destination {
            path: path.to_string(),
            source,
        };
        let resolved = base
            .resolve_missing(path.as_bytes(), None, Follow::All)
            .map_err(failed)?;
        let path = resolved.path();
        match self.standing(&path) {
            Standing::Other => Err(CopyError::NotADirectory { path }),
            Standing::Directory | Standing::Nothing => Ok(path),
        }
    }

    /// Places a source and what is in it.
    fn place_all(&mut self, source: &Named<'_>, target: &TreePath) -> Result<(), CopyError> {
        for selected in source.select() {
            self.place_entry(source, &selected, target)?;
        }
        Ok(())
    }

    /// Places one entry of a source whose own place is `target`; its parent exists.
    fn place_entry(
        &mut self,
        source: &Named<'_>,
        selected: &Selected<'_>,
        target: &TreePath,
    ) -> Result<(), CopyError> {
        let path = target.join(&selected.name);
        let standing = self.standing(&path);
        if selected.entry.is_directory() {
            if standing == Standing::Other {
                return Err(CopyError::NotADirectory { path });
            }
            self.insert(path, selected.entry, None);
            return Ok(());
        }
        if standing == Standing::Directory {
            return Err(CopyError::ReplacesDirectory { path });
        }
        let first = selected.same_as.as_ref().map(|first| target.join(first));
        let origin = (source.root, source.path.join(&selected.name));
        self.insert_file(origin, selected.entry, first, path);
        Ok(())
    }

    /// Places what is no directory; `first` is where another name of it was placed. `origin` is the
    /// name it goes by in its tree: the file's own name may be another file's by now.
    fn insert_file(
        &mut self,
        origin: Origin,
        source: &Entry,
        first: Option<TreePath>,
        path: TreePath,
    ) {
        let origin = match (&first, &source.kind) {
            (None, Kind::File { .. }) => Some(origin),
            _ => None,
        };
        let kind = match first {
            Some(target) => Kind::Hardlink { target },
            None => source.kind.clone(),
        };
        self.insert_as(kind, path, source, origin);
    }

    fn insert(&mut self, path: TreePath, source: &Entry, origin: Option<Origin>) {
        self.insert_as(source.kind.clone(), path, source, origin);
    }

    /// Places what a source entry is, as a kind of its own, with all that the flags change.
    fn insert_as(&mut self, kind: Kind, path: TreePath, source: &Entry, origin: Option<Origin>) {
        let mut entry = Entry {
            path: path.clone(),
            kind,
            mode: source.mode,
            uid: source.uid,
            gid: source.gid,
            mtime: source.mtime,
            xattrs: source.xattrs.clone(),
        };
        entry.mtime = self.time(entry.mtime);
        if let Some((uid, gid)) = self.destination.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(chmod) = self.destination.chmod
            && !matches!(entry.kind, Kind::Symlink { .. })
        {
            entry.mode = chmod.apply(entry.mode, entry.is_directory());
        }
        if let Kind::Directory { opaque } = &mut entry.kind {
            *opaque = false;
        }
        self.placed.insert(path, Placed { entry, origin });
    }

    /// Times later than the epoch become the epoch (DESIGN §3).
    fn time(&self, mtime: i64) -> i64 {
        mtime.min(self.destination.epoch.0)
    }

    fn make_parents(&mut self, path: &TreePath) -> Result<(), CopyError> {
        path.parent()
            .map_or(Ok(()), |parent| self.make_directories(&parent))
    }

    /// Makes a directory and what leads to it: 0755, `--chown`'s owner, numeric `--chmod`.
    fn make_directories(&mut self, path: &TreePath) -> Result<(), CopyError> {
        match self.standing(path) {
            Standing::Directory => return Ok(()),
            Standing::Other => return Err(CopyError::NotADirectory { path: path.clone() }),
            Standing::Nothing => {}
        }
        self.make_parents(path)?;
        let mut entry = Entry::directory(path.clone(), self.destination.epoch.0);
        if let Some((uid, gid)) = self.destination.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(Chmod::Octal(mode)) = self.destination.chmod {
            entry.mode = *mode;
        }
        self.placed.insert(
            path.clone(),
            Placed {
                entry,
                origin: None,
            },
        );
        Ok(())
    }

    fn standing(&self, path: &TreePath) -> Standing {
        if path.is_root() {
            return Standing::Directory;
        }
        let below = || self.destination.base.and_then(|base| base.lookup(path));
        let directory = match self.placed.get(path) {
            Some(placed) => placed.entry.is_directory(),
            None => match below() {
                Some(node) => node.entry.is_directory(),
                None => return Standing::Nothing,
            },
        };
        if directory {
            Standing::Directory
        } else {
            Standing::Other
        }
    }
}

/// A directory of the base as an entry of the layer.
fn as_ancestor(entry: &Entry, path: &TreePath) -> Entry {
    let mut entry = entry.clone();
    entry.path = path.clone();
    if let Kind::Directory { opaque } = &mut entry.kind {
        *opaque = false;
    }
    entry
}

/// Where a member of an archive goes, given where its directory went.
fn place_of(places: &BTreeMap<TreePath, TreePath>, name: &TreePath) -> TreePath {
    let parent = name.parent().unwrap_or_else(TreePath::root);
    places
        .get(&parent)
        .unwrap_or(&parent)
        .join_name(name.name())
}
