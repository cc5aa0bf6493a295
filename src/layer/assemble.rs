//! Members of an archive in their order → entries of a layer at the places they really have.
//!
//! An archive is a list of actions; a layer is a set. Here the one becomes the other: names are
//! cleaned, symbolic links on the way are followed inside the root as data, deletions are told
//! from files, later members replace earlier ones. Whoever puts entries on a disk afterwards never
//! has to follow a link.

use std::collections::{BTreeMap, BTreeSet};

use super::LayerError;
use super::tar::{Member, MemberKind};
use crate::digest::ContentDigest;
use crate::tree::{
    Entry, Kind, SPECIAL_OWNER_NOTE, Tree, TreePath, Unread, View, is_image_xattr,
    special_owner_of_note,
};

const LINKS_MAX: usize = 255;

/// What a member asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// Nothing that matters.
    Skip,
    /// To be there.
    Entry(Entry<Unread>),
    /// That lower layers' path is gone.
    Whiteout(TreePath),
    /// That lower layers' content of a directory is gone.
    Opaque(TreePath),
}

/// What was at a path of this layer before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    Nothing,
    /// A directory that stays one.
    SameDirectory,
    /// Something that has to go, with all below it.
    Other,
}

/// The entries so far.
#[derive(Debug)]
pub(super) struct Assembly<'a, C> {
    lower: Option<&'a View>,
    entries: BTreeMap<TreePath, Entry<C>>,
    /// Files that hard links of this layer name.
    linked: BTreeSet<TreePath>,
    /// The last directory asked for and where it is: members come in runs of one directory.
    last: Option<(TreePath, TreePath)>,
}

impl<'a, C: Copy> Assembly<'a, C> {
    /// Starts empty. With the view of the layers below, their symbolic links are followed too.
    pub(super) fn new(lower: Option<&'a View>) -> Self {
        Self {
            lower,
            entries: BTreeMap::new(),
            linked: BTreeSet::new(),
            last: None,
        }
    }

    /// Finds out what a member means and where it belongs.
    pub(super) fn place(&mut self, member: &Member) -> Result<Placed, LayerError> {
        let path = TreePath::clean(&member.path);
        if path.is_root() {
            return match member.kind {
                MemberKind::Directory => self.entry(member, path).map(Placed::Entry),
                _ => Err(LayerError::RootReplaced),
            };
        }
        let raw_parent = path.parent().unwrap_or_default();
        if raw_parent.has_reserved_name() {
            return Err(LayerError::ReservedName { path });
        }
        let parent = self.directory(&raw_parent)?;
        let name = path.name();
        let Some(deleted) = name.strip_prefix(b".wh.") else {
            return self
                .entry(member, parent.join_name(name))
                .map(Placed::Entry);
        };
        Ok(match deleted {
            b".wh..opq" => Placed::Opaque(parent),
            b"" | b"." | b".." => return Err(LayerError::BadWhiteout { path }),
            other if other.starts_with(b".wh.") => Placed::Skip,
            name => Placed::Whiteout(parent.join_name(name)),
        })
    }

    /// Adds an entry, its content known by now; what it replaces is gone.
    pub(super) fn insert(&mut self, mut entry: Entry<C>) -> Result<Before, LayerError> {
        let path = entry.path.clone();
        // Most archives are in order: then nothing is there, and nothing below.
        let last = self.entries.last_key_value();
        if last.is_none_or(|(last, _)| *last < path) {
            self.note(&entry, Before::Nothing);
            self.entries.insert(path, entry);
            return Ok(Before::Nothing);
        }
        let old = self.entries.get(&path).map(|old| old.kind.clone());
        let before = match (&old, &mut entry.kind) {
            (Some(Kind::Directory { opaque: old }), Kind::Directory { opaque }) => {
                *opaque |= *old;
                Before::SameDirectory
            }
            (Some(Kind::Whiteout), Kind::Directory { opaque }) => {
                *opaque = true;
                Before::Other
            }
            (Some(_), _) => Before::Other,
            (None, Kind::Directory { .. }) => Before::Nothing,
            // A directory of this layer may be implied: what is in it goes with it.
            (None, _) if self.has_below(&path) => Before::Other,
            (None, _) => Before::Nothing,
        };
        if before == Before::Other {
            self.remove(&path)?;
        }
        self.note(&entry, before);
        self.entries.insert(path, entry);
        Ok(before)
    }

    /// Forgets what an entry makes wrong, and remembers what it links to.
    fn note(&mut self, entry: &Entry<C>, before: Before) {
        let path = &entry.path;
        let is_on_way =
            |(asked, place): &(TreePath, TreePath)| asked.is_within(path) || place.is_within(path);
        if before != Before::Nothing || self.last.as_ref().is_some_and(is_on_way) {
            self.last = None;
        }
        if let Kind::Hardlink { target } = &entry.kind {
            self.linked.insert(target.clone());
        }
    }

    /// Notes that a path of lower layers is gone; gives the directory that has to become opaque
    /// if this layer has something there itself.
    pub(super) fn whiteout(&mut self, path: &TreePath, unread: Entry<C>) -> Option<TreePath> {
        let is_directory = self.entries.get(path).map(Entry::is_directory);
        match is_directory {
            Some(false) => None,
            None if !self.has_below(path) => {
                self.entries.insert(path.clone(), unread);
                None
            }
            Some(true) | None => {
                self.opaque(path);
                Some(path.clone())
            }
        }
    }

    /// Notes that lower layers' content of a directory is gone. `false` if there is no directory.
    pub(super) fn opaque(&mut self, path: &TreePath) -> bool {
        let kind = Kind::Directory { opaque: true };
        match self.entries.get_mut(path) {
            Some(entry) if entry.is_directory() => entry.kind = kind,
            Some(entry) if !matches!(entry.kind, Kind::Whiteout) => return false,
            _ => {
                let implied = Entry::directory(path.clone(), 0);
                self.entries.insert(path.clone(), Entry { kind, ..implied });
            }
        }
        true
    }

    /// What this layer has at a path so far.
    pub(super) fn get(&self, path: &TreePath) -> Option<&Entry<C>> {
        self.entries.get(path)
    }

    /// All entries, in tree order.
    pub(super) fn into_entries(self) -> impl Iterator<Item = Entry<C>> {
        self.entries.into_values()
    }

    fn has_below(&self, path: &TreePath) -> bool {
        let mut after = self.entries.range(path.clone()..);
        after
            .find(|(other, _)| *other != path)
            .is_some_and(|(other, _)| other.is_within(path))
    }

    fn remove(&mut self, path: &TreePath) -> Result<(), LayerError> {
        let range = self.entries.range(path.clone()..);
        let gone: Vec<TreePath> = range
            .map(|(path, _)| path)
            .take_while(|other| other.is_within(path))
            .cloned()
            .collect();
        for path in gone {
            if self.linked.contains(&path) {
                return Err(LayerError::LinkReplaced { path });
            }
            self.entries.remove(&path);
        }
        Ok(())
    }

    fn entry(&mut self, member: &Member, path: TreePath) -> Result<Entry<Unread>, LayerError> {
        let (major, minor) = (member.major, member.minor);
        let kind = match member.kind {
            MemberKind::File => Kind::File {
                size: member.size,
                content: Unread,
            },
            MemberKind::Directory => Kind::Directory { opaque: false },
            MemberKind::Symlink => Kind::Symlink {
                target: member.link.clone(),
            },
            MemberKind::Hardlink => Kind::Hardlink {
                target: self.link_target(&member.link, &path)?,
            },
            MemberKind::CharDevice => Kind::CharDevice { major, minor },
            MemberKind::BlockDevice => Kind::BlockDevice { major, minor },
            MemberKind::Fifo => Kind::Fifo,
        };
        let mut xattrs = member.xattrs.clone();
        // What others noted is no note.
        xattrs.retain(|name, value| {
            let is_note =
                name == SPECIAL_OWNER_NOTE.to_bytes() && special_owner_of_note(value).is_some();
            is_image_xattr(name) && !is_note
        });
        Ok(Entry {
            path,
            kind,
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
            mtime: member.mtime,
            xattrs,
        })
    }

    /// The file that a hard link names: in this layer, or supposed to be in a lower one.
    fn link_target(&mut self, link: &[u8], path: &TreePath) -> Result<TreePath, LayerError> {
        let raw = TreePath::clean(link);
        let parent = self.directory(&raw.parent().unwrap_or_default())?;
        let target = parent.join_name(raw.name());
        let bad = || LayerError::LinkTarget {
            path: path.clone(),
            target: target.clone(),
        };
        if raw.is_root() {
            return Err(bad());
        }
        match self.entries.get(&target).map(|entry| &entry.kind) {
            Some(Kind::Hardlink { target }) => Ok(target.clone()),
            Some(Kind::Directory { .. } | Kind::Whiteout) => Err(bad()),
            Some(_) => Ok(target),
            None => {
                let node = self.lower.map(|lower| lower.lookup(&target));
                if node.is_some_and(|node| node.is_none_or(|node| node.entry.is_directory())) {
                    return Err(bad());
                }
                Ok(target)
            }
        }
    }

    /// Where a directory is, links followed.
    fn directory(&mut self, path: &TreePath) -> Result<TreePath, LayerError> {
        if path.is_root() || self.entries.get(path).is_some_and(Entry::is_directory) {
            return Ok(path.clone());
        }
        if let Some((asked, place)) = &self.last
            && asked == path
        {
            return Ok(place.clone());
        }
        let place = self.resolve(path)?;
        self.last = Some((path.clone(), place.clone()));
        Ok(place)
    }

    fn resolve(&mut self, path: &TreePath) -> Result<TreePath, LayerError> {
        let mut place = TreePath::root();
        let mut ahead: Vec<Vec<u8>> = Vec::new();
        let names = |path: &[u8]| -> Vec<Vec<u8>> {
            let names = path.split(|byte| *byte == b'/').rev();
            let names = names.filter(|name| !matches!(*name, b"" | b"."));
            names.map(<[u8]>::to_vec).collect()
        };
        ahead.extend(names(path.as_bytes()));
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            if name == b".." {
                place = place.parent().unwrap_or_default();
                continue;
            }
            let next = place.join_name(&name);
            let own = self.entries.get(&next).map(|entry| entry.kind.clone());
            let target = match own {
                Some(Kind::Symlink { target }) => target,
                Some(Kind::Directory { .. }) => {
                    place = next;
                    continue;
                }
                Some(Kind::Whiteout) => {
                    self.opaque(&next);
                    place = next;
                    continue;
                }
                Some(_) => return Err(LayerError::NotDirectory { path: next }),
                None => {
                    let Some(target) = self.lower_link(&next) else {
                        place = next;
                        continue;
                    };
                    target
                }
            };
            links += 1;
            if links > LINKS_MAX {
                let path = path.clone();
                return Err(LayerError::Loop { path });
            }
            if target.starts_with(b"/") {
                place = TreePath::root();
            }
            ahead.extend(names(&target));
        }
        Ok(place)
    }

    /// Whether what lower layers have at a path is not hidden by a directory of this one.
    pub(super) fn shows_lower(&self, path: &TreePath) -> bool {
        !self.hides_below(path.parent())
    }

    fn lower_link(&self, path: &TreePath) -> Option<Vec<u8>> {
        if self.hides_below(path.parent()) {
            return None;
        }
        match &self.lower?.lookup(path)?.entry.kind {
            Kind::Symlink { target } => Some(target.clone()),
            _ => None,
        }
    }

    fn hides_below(&self, mut parent: Option<TreePath>) -> bool {
        while let Some(path) = parent {
            match self.entries.get(&path).map(|entry| &entry.kind) {
                Some(Kind::Directory { opaque: false }) | None => {}
                Some(_) => return true,
            }
            parent = path.parent();
        }
        false
    }
}

impl Assembly<'_, ContentDigest> {
    /// The layer's tree.
    pub(super) fn into_tree(self, kept: BTreeMap<TreePath, Vec<u8>>) -> Tree {
        Tree::new(self.into_entries().collect(), kept)
    }
}
