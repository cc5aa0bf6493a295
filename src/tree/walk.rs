//! Directories and whole subtrees of a view.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

use super::view::Level;
use super::{Entry, Kind, Node, TreePath, View};

/// Whether an entry hides what lower levels have below its path.
fn hides(entry: &Entry) -> bool {
    !matches!(entry.kind, Kind::Directory { opaque: false })
}

impl View {
    /// What is directly in a directory, by name. Empty for anything else.
    pub fn children(&self, path: &TreePath) -> Vec<Node<'_>> {
        let mut names: BTreeMap<&TreePath, Option<(&Entry, usize)>> = BTreeMap::new();
        for (layer, level) in self.visible_levels(path) {
            for entry in direct(level.tree.subtree(path), path) {
                let is_there = !matches!(entry.kind, Kind::Whiteout);
                let place = is_there.then_some((entry, layer));
                names.entry(&entry.path).or_insert(place);
            }
            for entry in direct(implied_within(level, path), path) {
                names.entry(&entry.path).or_insert(Some((entry, layer)));
            }
        }
        let present = names.into_values().flatten();
        present
            .map(|(entry, layer)| self.node(entry, layer))
            .collect()
    }

    /// Everything at and below a path, in tree order. Costs one merge of the layers' entries there.
    pub fn walk(&self, path: &TreePath) -> Walk<'_> {
        let mut walk = Walk {
            view: self,
            heads: BinaryHeap::new(),
            covers: Vec::new(),
            root: None,
        };
        for (layer, level) in self.visible_levels(path) {
            walk.add(level.tree.subtree(path), layer);
            walk.add(implied_within(level, path), layer);
        }
        let has_root = |heads: &BinaryHeap<Head<'_>>| {
            heads.peek().is_some_and(|head| head.first.path.is_root())
        };
        if path.is_root() && !has_root(&walk.heads) {
            walk.root = self.lookup(path);
        }
        walk
    }

    /// The levels, top first, that can say something of what is at and below `path`.
    fn visible_levels(&self, path: &TreePath) -> Vec<(usize, &Level)> {
        let mut visible = Vec::with_capacity(self.levels.len());
        for (layer, level) in self.levels.iter().enumerate().rev() {
            visible.push((layer, level));
            if level.hides_below(Some(path.clone())) {
                break;
            }
        }
        visible
    }
}

/// The implied directories of a level at and below a path.
fn implied_within<'a>(level: &'a Level, path: &TreePath) -> &'a [Entry] {
    let implied = level.implied.as_slice();
    let start = implied.partition_point(|entry| entry.path < *path);
    let rest = &implied[start..];
    let length = rest.partition_point(|entry| entry.path.is_within(path));
    &rest[..length]
}

/// The entries of a subtree that are directly in its top.
fn direct<'a>(mut rest: &'a [Entry], top: &TreePath) -> impl Iterator<Item = &'a Entry> {
    let skip = if top.is_root() {
        0
    } else {
        top.as_bytes().len() + 1
    };
    std::iter::from_fn(move || {
        loop {
            let entry = rest.first()?;
            let path = entry.path.as_bytes();
            if path.len() < skip || path.is_empty() {
                // The top itself.
                rest = &rest[1..];
                continue;
            }
            let name = path[skip..].split(|byte| *byte == b'/').next();
            let length = skip + name.unwrap_or_default().len();
            let child = &path[..length];
            let below = |entry: &Entry| {
                let path = entry.path.as_bytes();
                path.strip_prefix(child)
                    .is_some_and(|tail| tail.first().is_none_or(|byte| *byte == b'/'))
            };
            // Most children are no directories: look at the next before searching.
            let size = match rest.get(1) {
                Some(next) if below(next) => rest.partition_point(below),
                _ => 1,
            };
            rest = &rest[size..];
            if path.len() == length {
                return Some(entry);
            }
        }
    })
}

/// The next entries of one level.
#[derive(Debug)]
struct Head<'a> {
    first: &'a Entry,
    rest: &'a [Entry],
    layer: usize,
}

impl Ord for Head<'_> {
    /// The greatest is the next: the least path, of these the top layer.
    fn cmp(&self, other: &Self) -> Ordering {
        let path = Reverse(&self.first.path).cmp(&Reverse(&other.first.path));
        path.then(self.layer.cmp(&other.layer))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head<'_> {}

/// The nodes of a subtree in tree order; made by [`View::walk`].
#[derive(Debug)]
pub struct Walk<'a> {
    view: &'a View,
    heads: BinaryHeap<Head<'a>>,
    /// Paths below which layers under a number are hidden; the number never falls towards the top.
    covers: Vec<(&'a TreePath, usize)>,
    root: Option<Node<'a>>,
}

impl<'a> Walk<'a> {
    fn add(&mut self, entries: &'a [Entry], layer: usize) {
        if let Some((first, rest)) = entries.split_first() {
            self.heads.push(Head { first, rest, layer });
        }
    }

    fn pop(&mut self) -> Option<(&'a Entry, usize)> {
        let mut head = self.heads.peek_mut()?;
        let found = (head.first, head.layer);
        if let Some((first, rest)) = head.rest.split_first() {
            head.first = first;
            head.rest = rest;
        } else {
            std::collections::binary_heap::PeekMut::pop(head);
        }
        Some(found)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        if let Some(root) = self.root.take() {
            return Some(root);
        }
        loop {
            let (entry, layer) = self.pop()?;
            let path = &entry.path;
            while self
                .covers
                .last()
                .is_some_and(|(cover, _)| !path.is_within(cover))
            {
                self.covers.pop();
            }
            let hidden = self.covers.last().map_or(0, |(_, layer)| *layer);
            let mut cover = (hides(entry) && layer >= hidden).then_some(layer);
            // What lower layers say of the same path matters only in what it hides below.
            while self
                .heads
                .peek()
                .is_some_and(|head| head.first.path == *path)
            {
                let Some((lower, layer)) = self.pop() else {
                    break;
                };
                if cover.is_none() && hides(lower) && layer >= hidden {
                    cover = Some(layer);
                }
            }
            if let Some(cover) = cover {
                self.covers.push((path, cover.max(hidden)));
            }
            if layer >= hidden && !matches!(entry.kind, Kind::Whiteout) {
                return Some(self.view.node(entry, layer));
            }
        }
    }
}
