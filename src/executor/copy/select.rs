//! Which files a source of COPY means: a path with its symlinks followed, or a pattern.

use std::collections::BTreeSet;

use super::CopyError;
use crate::pattern::{Glob, Ignore};
use crate::tree::{Entry, Kind, TreePath, View};

/// One thing that a source pattern named: a file, or a directory with what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Selected<'a> {
    /// The number of the source root that `view` shows.
    pub(crate) root: usize,
    /// The tree it is in.
    pub(crate) view: &'a View,
    /// Where it is, symlinks followed.
    pub(crate) path: TreePath,
    /// The last component of the path as it was named: what a file is called at its destination.
    pub(crate) name: Vec<u8>,
    /// `--exclude`.
    pub(crate) excludes: Option<&'a Ignore>,
    /// Files of the view that have more than one name.
    pub(crate) linked: &'a BTreeSet<TreePath>,
}

impl Selected<'_> {
    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.path.is_root()
            || self.view.lookup(&self.path).is_some_and(|node| node.entry.is_directory())
    }

    /// The entry at a path below it.
    pub(crate) fn entry(&self, below: &TreePath) -> Entry {
        let path = self.path.join(below);
        self.file(&path)
    }

    /// The entry at a path of the view; the root may have none of its own.
    pub(crate) fn file(&self, path: &TreePath) -> Entry {
        self.view
            .lookup(path)
            .map_or_else(|| Entry::directory(path.clone(), 0), |node| node.entry_at(path))
    }

    /// Whether a file has more than one name in its view.
    pub(crate) fn has_links(&self, path: &TreePath) -> bool {
        self.linked.contains(path)
    }

    /// Everything in the directory, parents first, relative to it, without what is excluded.
    pub(crate) fn descendants(&self) -> Vec<TreePath> {
        let mut found: Vec<TreePath> = self
            .view
            .walk(&self.path)
            .into_iter()
            .filter_map(|node| node.path().below(&self.path))
            .filter(|below| !below.is_root())
            .collect();
        let Some(excludes) = self.excludes else { return found };
        let kept: BTreeSet<TreePath> =
            found.iter().filter(|below| !excludes.excluded(below)).cloned().collect();
        // An excluded directory stays if an exception brought back something in it.
        found.retain(|below| {
            kept.contains(below)
                || (self.entry(below).is_directory()
                    && kept
                        .range(below.clone()..)
                        .nth(usize::from(kept.contains(below)))
                        .is_some_and(|next| next.below(below).is_some()))
        });
        found
    }
}

/// A tree that files come from.
#[derive(Debug)]
pub(crate) struct SourceRoot {
    /// Its number.
    pub(crate) number: usize,
    /// Its entries.
    pub(crate) view: View,
    /// Files with more than one name.
    pub(crate) linked: BTreeSet<TreePath>,
}

impl SourceRoot {
    /// Wraps a view.
    pub(crate) fn new(number: usize, view: View) -> Self {
        let linked = view
            .walk(&TreePath::root())
            .into_iter()
            .filter_map(|node| match &node.entry.kind {
                Kind::Hardlink { target } => Some(target.clone()),
                _ => None,
            })
            .collect();
        Self { number, view, linked }
    }

    /// What `pattern` means here. A pattern that matches nothing means nothing; a plain path that
    /// does not exist is an error.
    pub(crate) fn select<'a>(
        &'a self,
        pattern: &str,
        excludes: Option<&'a Ignore>,
    ) -> Result<Vec<Selected<'a>>, CopyError> {
        let clean = TreePath::clean(pattern);
        let paths = if Glob::has_magic(pattern) { self.expand(pattern)? } else { vec![clean] };
        let wild = Glob::has_magic(pattern);
        let mut selected = Vec::with_capacity(paths.len());
        for named in paths {
            let name = named.name().to_vec();
            if let Some(excludes) = excludes.filter(|_| wild) {
                if excludes.excluded(&TreePath::clean(&name)) {
                    continue;
                }
            }
            let path = self.view.resolve(named.as_bytes()).map_err(|source| {
                CopyError::NotFound { path: named.to_string(), source }
            })?;
            let (root, view, linked) = (self.number, &self.view, &self.linked);
            selected.push(Selected { root, view, path, name, excludes, linked });
        }
        Ok(selected)
    }

    /// The paths that a wildcard matches, in tree order; nothing below a match matches again.
    fn expand(&self, pattern: &str) -> Result<Vec<TreePath>, CopyError> {
        let components: Vec<&str> =
            pattern.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
        let fixed = components.iter().take_while(|name| !Glob::has_magic(name)).count();
        let start = TreePath::clean(components[..fixed].join("/"));
        let Ok(start) = self.view.resolve(start.as_bytes()) else { return Ok(Vec::new()) };
        let mut level = vec![start];
        for component in &components[fixed..] {
            let glob = Glob::new(component).map_err(|source| CopyError::Pattern {
                pattern: pattern.to_owned(),
                source,
            })?;
            let mut next = Vec::new();
            for directory in &level {
                for node in self.view.children(directory) {
                    if glob.matches(node.path().name()) {
                        next.push(node.path().clone());
                    }
                }
            }
            level = next;
        }
        Ok(level)
    }
}
