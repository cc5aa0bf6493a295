//! A chain of layers as one file system.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::resolve::Follow;
use super::windows::{stored, unwrap_windows};
use super::{Entry, Kind, Tree, TreePath};

/// The directory that every file system has, for chains that say nothing of it.
static ROOT: LazyLock<Entry> = LazyLock::new(|| Entry::directory(TreePath::root(), 0));

/// A chain of layers, merged when it is asked. Cloning and pushing are cheap: entries are shared.
///
/// A layer's entry may lie below a symbolic link of a lower layer (`var/run/x` above
/// `var/run -> /run`): it is then where the link leads (`run/x`). Directories that are implied and
/// that no layer below has are root's, with mode 0755 and time 0.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub(super) levels: Vec<Level>,
}

/// One layer of a view.
#[derive(Clone, Debug)]
pub(super) struct Level {
    /// Its entries, where they are in the view.
    pub(super) tree: Arc<Tree>,
    /// Implied directories that no lower level has, in tree order.
    pub(super) implied: Arc<Vec<Entry>>,
    /// Where moved entries are in the layer itself.
    pub(super) moved: Arc<BTreeMap<TreePath, TreePath>>,
}

/// What a view has at a path.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// What is there. For a hard link it is the file itself, so that its path may be another one.
    pub entry: &'a Entry,
    /// The hard link as the layer has it, if there is one.
    pub link: Option<&'a Entry>,
    /// Which layer says so, counted from the bottom.
    pub layer: usize,
}

impl<'a> Node<'a> {
    /// The path in the view; the file's other name for a hard link is `entry.path`.
    pub fn path(&self) -> &'a TreePath {
        &self.link.unwrap_or(self.entry).path
    }
}

/// What a view keeps of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept<'a> {
    /// The content.
    Content(&'a [u8]),
    /// The path exists but its content is only in the layer.
    NotKept,
    /// The path does not exist.
    Missing,
}

/// What one level says of a path.
enum Said<'a> {
    Nothing,
    Hidden,
    Entry(&'a Entry),
}

impl Level {
    fn find(&self, path: &TreePath) -> Option<&Entry> {
        if let Some(entry) = self.tree.entry(path) {
            return Some(entry);
        }
        let search = |entry: &Entry| entry.path.cmp(path);
        let index = self.implied.binary_search_by(search).ok()?;
        self.implied.get(index)
    }

    fn say(&self, path: &TreePath) -> Said<'_> {
        match self.find(path) {
            Some(entry) if matches!(entry.kind, Kind::Whiteout) => Said::Hidden,
            Some(entry) => Said::Entry(entry),
            None if self.hides_below(path.parent()) => Said::Hidden,
            None => Said::Nothing,
        }
    }

    /// Whether lower levels cannot be seen in the directory `parent` or one above it.
    pub(super) fn hides_below(&self, parent: Option<TreePath>) -> bool {
        tree_hides_below(&self.tree, parent)
    }
}

fn tree_hides_below(tree: &Tree, mut parent: Option<TreePath>) -> bool {
    while let Some(path) = parent {
        match tree.entry(&path).map(|entry| &entry.kind) {
            Some(Kind::Directory { opaque: false }) | None => {}
            Some(_) => return true,
        }
        parent = path.parent();
    }
    false
}

impl View {
    /// The view of no layer: an empty root directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Merges layers, bottom first.
    pub fn merge(trees: &[Arc<Tree>]) -> Self {
        let mut view = Self::new();
        for tree in trees {
            view.push(Arc::clone(tree));
        }
        view
    }

    /// Puts a layer on top. Costs nothing per entry of the layers below, and one look-up per
    /// directory that the layer implies.
    pub fn push(&mut self, tree: Arc<Tree>) {
        let (tree, moved) = self.settle(tree);
        let is_missing = |path: &&TreePath| {
            let below = self.lookup(path);
            below.is_none_or(|node| !node.entry.is_directory())
                || tree_hides_below(&tree, path.parent())
        };
        let missing = tree.implied().iter().filter(is_missing);
        let implied: Vec<Entry> = missing
            .map(|path| Entry::directory(path.clone(), 0))
            .collect();
        self.levels.push(Level {
            tree,
            implied: Arc::new(implied),
            moved: Arc::new(moved),
        });
    }

    /// Puts a layer of a Windows image on top: what it has of files.
    pub fn push_windows(&mut self, layer: &Tree) {
        let unwrapped = unwrap_windows(layer);
        let places: Vec<TreePath> = unwrapped
            .entries()
            .iter()
            .map(|entry| entry.path.clone())
            .collect();
        self.push(Arc::new(unwrapped));
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        let mut moved: BTreeMap<TreePath, TreePath> = places
            .into_iter()
            .map(|path| (path.clone(), stored(&path)))
            .collect();
        for (path, place) in &*level.moved {
            moved.insert(path.clone(), stored(place));
        }
        level.moved = Arc::new(moved);
    }

    /// The number of layers.
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    /// Whether there is no layer: `FROM scratch`.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// What is at a path whose parents are directories: no symbolic link is followed.
    pub fn lookup(&self, path: &TreePath) -> Option<Node<'_>> {
        self.lookup_within(path, self.levels.len())
    }

    /// The same, seen by the lowest `count` layers only.
    pub(super) fn lookup_within(&self, path: &TreePath, count: usize) -> Option<Node<'_>> {
        for (layer, level) in self.levels[..count].iter().enumerate().rev() {
            match level.say(path) {
                Said::Nothing => {}
                Said::Hidden => return None,
                Said::Entry(entry) => return Some(self.node(entry, layer)),
            }
        }
        let entry = &*ROOT;
        path.is_root().then_some(Node {
            entry,
            link: None,
            layer: 0,
        })
    }

    /// The node of an entry of a level: hard links are followed to their file.
    pub(super) fn node<'a>(&'a self, entry: &'a Entry, layer: usize) -> Node<'a> {
        let mut node = Node {
            entry,
            link: None,
            layer,
        };
        // Chains of links are rare and their length is bounded.
        for _ in 0..16 {
            let Kind::Hardlink { target } = &node.entry.kind else {
                return node;
            };
            let level = &self.levels[node.layer];
            let found = match level.tree.entry(target) {
                Some(file) => Some((file, node.layer)),
                None => self.link_target(target, node.layer),
            };
            let Some((file, layer)) = found else { break };
            node = Node {
                entry: file,
                link: Some(entry),
                layer,
            };
        }
        node
    }

    /// Finds a hard link's file through symbolic links and lower layers.
    fn link_target(&self, target: &TreePath, layer: usize) -> Option<(&Entry, usize)> {
        let seen = Self {
            levels: self.levels[..=layer].to_vec(),
        };
        let path = seen
            .resolve(target.as_bytes(), None, Follow::Parents)
            .ok()?;
        for (layer, level) in self.levels[..=layer].iter().enumerate().rev() {
            match level.say(&path) {
                Said::Nothing => {}
                Said::Hidden => return None,
                Said::Entry(entry) => return Some((entry, layer)),
            }
        }
        None
    }

    /// Where a node's content is in its layer's tar: its path there, which differs from
    /// `entry.path` for entries below symbolic links of lower layers.
    pub fn stored_path<'a>(&'a self, node: &Node<'a>) -> &'a TreePath {
        let path = &node.entry.path;
        let level = self.levels.get(node.layer);
        level
            .and_then(|level| level.moved.get(path))
            .unwrap_or(path)
    }

    /// The content of a small well-known file ([`super::is_kept`]), through symbolic links.
    pub fn file_content(&self, path: &TreePath) -> Kept<'_> {
        let Ok(path) = self.resolve(path.as_bytes(), None, Follow::All) else {
            return Kept::Missing;
        };
        let Some(node) = self.lookup(&path) else {
            return Kept::Missing;
        };
        let level = self.levels.get(node.layer);
        level
            .and_then(|level| level.tree.kept.get(self.stored_path(&node)))
            .map_or(Kept::NotKept, |content| Kept::Content(content))
    }

    /// Moves the entries of a new layer that lie below symbolic links of this view to where the
    /// links lead.
    fn settle(&self, tree: Arc<Tree>) -> (Arc<Tree>, BTreeMap<TreePath, TreePath>) {
        let mut moved = BTreeMap::new();
        if self.levels.is_empty() {
            return (tree, moved);
        }
        let mut directories: BTreeMap<&TreePath, TreePath> = BTreeMap::new();
        for path in tree.implied() {
            if let Some(place) = self.moved_directory(path, &tree) {
                directories.insert(path, place);
            }
        }
        if directories.is_empty() {
            return (tree, moved);
        }
        let place = |path: &TreePath| {
            let mut parent = path.parent();
            while let Some(directory) = parent {
                if let Some(place) = directories.get(&directory) {
                    return Some(place.join(&path.below(&directory)?));
                }
                parent = directory.parent();
            }
            None
        };
        let mut entries = Vec::with_capacity(tree.entries.len());
        for entry in &tree.entries {
            let mut entry = entry.clone();
            if let Some(path) = place(&entry.path) {
                moved.insert(path.clone(), std::mem::replace(&mut entry.path, path));
            }
            if let Kind::Hardlink { target } = &mut entry.kind
                && let Some(path) = place(target)
            {
                *target = path;
            }
            entries.push(entry);
        }
        let tree = Tree::new(entries, tree.kept.clone());
        (Arc::new(tree), moved)
    }

    /// Where an implied directory of a new layer really is, if that is somewhere else.
    fn moved_directory(&self, path: &TreePath, tree: &Tree) -> Option<TreePath> {
        // What the layer itself has on the way is above every link of lower layers.
        let own = |path: &TreePath| tree.entry(path).is_some();
        let resolved = self.resolve_directory(path, own)?;
        (resolved != *path).then_some(resolved)
    }
}
