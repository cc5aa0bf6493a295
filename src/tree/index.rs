//! One layer's index.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::{Entry, Kind, TreePath};
use crate::digest::Digest;

/// The largest file whose content a tree keeps, in bytes.
pub const KEPT_BYTES_MAX: u64 = 1 << 20;

/// Whether a tree keeps the content of the file at `path`: the user databases, so that owners are
/// resolved without unpacking.
pub fn is_kept(path: &TreePath) -> bool {
    matches!(path.as_bytes(), b"etc/passwd" | b"etc/group")
}

/// What one layer says, in tree order, and the content of the few files that are asked for all the
/// time ([`is_kept`]).
#[derive(Clone, Debug, Default)]
pub struct Tree {
    pub(super) entries: Vec<Entry>,
    pub(super) kept: BTreeMap<TreePath, Vec<u8>>,
    pub(super) implied: OnceLock<Vec<TreePath>>,
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries && self.kept == other.kept
    }
}

impl Eq for Tree {}

impl Tree {
    /// Makes a tree of entries in any order. Of two entries with one path the later counts, except
    /// that a deletion and a directory make an opaque directory; what lies below an entry that is
    /// not a directory is dropped.
    pub fn new(mut entries: Vec<Entry>, kept: BTreeMap<TreePath, Vec<u8>>) -> Self {
        if !entries.is_sorted_by(|one, next| one.path < next.path) {
            entries.sort_by(|one, other| one.path.cmp(&other.path));
            entries.dedup_by(|later, earlier| {
                let same = later.path == earlier.path;
                if same {
                    merge_twins(later, earlier);
                }
                same
            });
        }
        if !is_uncovered(&entries) {
            drop_covered(&mut entries);
        }
        Self {
            entries,
            kept,
            implied: OnceLock::new(),
        }
    }

    /// Wraps entries whose paths ascend; `None` if something lies below what is no directory.
    pub(super) fn of_sorted(
        entries: Vec<Entry>,
        kept: BTreeMap<TreePath, Vec<u8>>,
    ) -> Option<Self> {
        let implied = OnceLock::new();
        is_uncovered(&entries).then_some(Self {
            entries,
            kept,
            implied,
        })
    }

    /// The entries in tree order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The contents kept.
    pub fn kept(&self) -> &BTreeMap<TreePath, Vec<u8>> {
        &self.kept
    }

    /// The entry of a path.
    pub fn entry(&self, path: &TreePath) -> Option<&Entry> {
        let index = self.position(path).ok()?;
        self.entries.get(index)
    }

    /// Where the entry of a path is, or where it would be.
    pub(super) fn position(&self, path: &TreePath) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.path.cmp(path))
    }

    /// The entries at and below a path.
    pub(super) fn subtree(&self, path: &TreePath) -> &[Entry] {
        let start = self.position(path).unwrap_or_else(|index| index);
        let rest = &self.entries[start..];
        let length = if path.is_root() {
            rest.len()
        } else {
            rest.partition_point(|entry| entry.path.is_within(path))
        };
        &rest[..length]
    }

    /// Directories that have entries here but none of their own, in tree order, without the root.
    pub(super) fn implied(&self) -> &[TreePath] {
        self.implied.get_or_init(|| find_implied(&self.entries))
    }

    /// The digest of the tree: equal trees, equal digests.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }
}

/// Folds two entries of one path: `earlier` becomes what counts.
fn merge_twins(later: &mut Entry, earlier: &mut Entry) {
    let is_whiteout = |entry: &Entry| matches!(entry.kind, Kind::Whiteout);
    let was_opaque = matches!(earlier.kind, Kind::Directory { opaque: true });
    // A whiteout speaks of lower layers only, whatever its place in the tar.
    if is_whiteout(later) {
        if let Kind::Directory { opaque } = &mut earlier.kind {
            *opaque = true;
        }
        return;
    }
    let hides = is_whiteout(earlier) || was_opaque;
    std::mem::swap(later, earlier);
    if let Kind::Directory { opaque } = &mut earlier.kind {
        *opaque |= hides;
    }
}

/// Whether nothing lies below what is no directory. In tree order it would come directly after it.
fn is_uncovered(entries: &[Entry]) -> bool {
    let mut pairs = entries.windows(2);
    pairs.all(|pair| pair[0].is_directory() || !pair[1].path.is_within(&pair[0].path))
}

fn drop_covered(entries: &mut Vec<Entry>) {
    let mut cover: Option<TreePath> = None;
    entries.retain(|entry| {
        if let Some(path) = &cover
            && entry.path.is_within(path)
        {
            return false;
        }
        cover = (!entry.is_directory()).then(|| entry.path.clone());
        true
    });
}

fn find_implied(entries: &[Entry]) -> Vec<TreePath> {
    let mut implied = Vec::new();
    // The directories from the root to the last entry, all of them known.
    let mut known: &[u8] = b"";
    for entry in entries {
        let path = entry.path.as_bytes();
        let shared = super::path::shared_prefix(known, path);
        // Every directory above `known`, and `known` itself, is settled.
        let ends = path.iter().enumerate().skip(shared);
        for (end, _) in ends.filter(|(_, byte)| **byte == b'/') {
            if end > shared || known.len() != end {
                implied.push(TreePath::clean(&path[..end]));
            }
        }
        known = path;
    }
    implied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(path: &str) -> Entry {
        Entry::directory(TreePath::clean(path), 0)
    }

    fn fifo(path: &str) -> Entry {
        Entry {
            kind: Kind::Fifo,
            ..directory(path)
        }
    }

    fn paths(tree: &Tree) -> Vec<String> {
        let paths = tree.entries().iter().map(|entry| entry.path.to_string());
        paths.collect()
    }

    #[test]
    fn nothing_lies_below_what_is_no_directory() {
        let tree = Tree::new(
            vec![directory("a/b"), fifo("a"), fifo("a.x"), fifo("a/b/c")],
            BTreeMap::new(),
        );
        assert_eq!(paths(&tree), ["/a", "/a.x"]);
    }

    #[test]
    fn a_whiteout_beside_a_directory_makes_it_opaque() {
        let opaque =
            |entries: Vec<Entry>| match Tree::new(entries, BTreeMap::new()).entries()[0].kind {
                Kind::Directory { opaque } => Some(opaque),
                _ => None,
            };
        let whiteout = || Entry::whiteout(TreePath::clean("a"));
        assert_eq!(opaque(vec![whiteout(), directory("a")]), Some(true));
        assert_eq!(opaque(vec![directory("a"), whiteout()]), Some(true));
        assert_eq!(opaque(vec![directory("a"), directory("a")]), Some(false));
        assert_eq!(opaque(vec![whiteout(), fifo("a")]), None);
    }

    #[test]
    fn implied_directories_are_found() {
        let implied = |entries: &[&str]| {
            let entries = entries.iter().map(|path| {
                if path.ends_with('/') {
                    directory(path)
                } else {
                    fifo(path)
                }
            });
            let tree = Tree::new(entries.collect(), BTreeMap::new());
            let paths = tree.implied().iter().map(ToString::to_string);
            paths.collect::<Vec<_>>()
        };
        assert_eq!(implied(&["a/", "a/b/", "a/b/c"]), [""; 0]);
        assert_eq!(implied(&["a/b/c", "a/b/d", "a/x"]), ["/a", "/a/b"]);
        assert_eq!(implied(&["a/", "a/b/c", "a-/d"]), ["/a/b", "/a-"]);
        assert_eq!(implied(&["ab/c", "a/c"]), ["/a", "/ab"]);
        assert_eq!(
            implied(&["a/b", "a/bc/d", "a/bcd/e"]),
            ["/a", "/a/bc", "/a/bcd"]
        );
    }

    #[test]
    fn a_subtree_is_a_range() {
        let tree = Tree::new(
            vec![directory("a"), fifo("a/b"), fifo("a.b"), directory("b")],
            BTreeMap::new(),
        );
        let count = |path: &str| tree.subtree(&TreePath::clean(path)).len();
        assert_eq!(
            (count(""), count("a"), count("a.b"), count("c")),
            (4, 2, 1, 0)
        );
    }
}
