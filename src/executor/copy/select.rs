//! Which files a source of COPY means: a path with its symlinks followed, or a pattern.

use std::collections::BTreeSet;

use super::CopyError;
use crate::pattern::{DeepGlob, Glob, Ignore};
use crate::tree::{Follow, Node, Selected, TreePath, View};

/// One thing that a source named: a file, or a directory with what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Named<'a> {
    /// The number of the source tree.
    pub(crate) root: usize,
    /// The source tree.
    pub(crate) view: &'a View,
    /// Where it is, symlinks followed.
    pub(crate) path: TreePath,
    /// The path as it was named; its last component is what a file is called at its destination.
    pub(crate) given: TreePath,
    /// With `--parents`: what is taken of the directory. All that leads to it is kept.
    pub(crate) includes: Option<DeepGlob>,
    /// `--exclude`.
    pub(crate) excludes: Option<&'a Ignore>,
}

impl<'a> Named<'a> {
    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.view
            .lookup(&self.path)
            .is_some_and(|node| node.entry.is_directory())
    }

    /// Whether what has this name in it is taken for its own sake.
    pub(crate) fn takes(&self, name: &TreePath) -> bool {
        let is_included = self.includes.as_ref().is_none_or(|glob| {
            let mut places = name.ancestors_and_self();
            places.any(|place| glob.matches(place.as_bytes()))
        });
        let is_excluded = |excludes: &Ignore| excludes.excluded(name.as_bytes());
        is_included && (name.is_root() || !self.excludes.is_some_and(is_excluded))
    }

    /// It and all that is in it, parents first, without what is not taken.
    pub(crate) fn select(&self) -> Vec<Selected<'a>> {
        let mut selected = self.view.select(&self.path);
        if self.excludes.is_none() && self.includes.is_none() {
            return selected;
        }
        let names = selected.iter().map(|selected| &selected.name);
        let kept: BTreeSet<TreePath> = names.filter(|name| self.takes(name)).cloned().collect();
        // A directory stays if something in it is taken.
        let leads_to_kept = |name: &TreePath| {
            kept.range(name.clone()..)
                .next()
                .is_some_and(|next| next.is_within(name))
        };
        selected.retain(|selected| {
            kept.contains(&selected.name)
                || (selected.entry.is_directory() && leads_to_kept(&selected.name))
        });
        // A link whose first name was excluded becomes the file, and later links follow it.
        for index in 0..selected.len() {
            let Some(first) = selected[index].same_as.clone() else {
                continue;
            };
            if selected.iter().any(|other| other.name == first) {
                continue;
            }
            let heir = selected[index].name.clone();
            for other in &mut selected {
                if other.same_as.as_ref() == Some(&first) {
                    other.same_as = (other.name != heir).then(|| heir.clone());
                }
            }
        }
        selected
    }
}

/// What a source means in a tree. A pattern that matches nothing means nothing; a plain path that
/// does not exist is an error.
pub(crate) fn name<'a>(
    view: &'a View,
    root: usize,
    source: &str,
    excludes: Option<&'a Ignore>,
) -> Result<Vec<Named<'a>>, CopyError> {
    let glob = Glob::new(source).map_err(|error| CopyError::Pattern {
        pattern: source.to_owned(),
        source: error,
    })?;
    let paths = if glob.has_wildcards() {
        expand(view, &glob)
    } else {
        vec![literal(&glob)]
    };
    let mut found = Vec::with_capacity(paths.len());
    for named in paths {
        let path = view
            .resolve(named.as_bytes(), None, Follow::All)
            .map_err(|source| CopyError::NotFound {
                path: named.to_string(),
                source,
            })?;
        let thing = Named {
            root,
            view,
            path,
            given: named,
            includes: None,
            excludes,
        };
        let is_excluded = |excludes: &Ignore| excludes.excluded(thing.given.name());
        if !thing.is_directory() && excludes.is_some_and(is_excluded) {
            continue;
        }
        found.push(thing);
    }
    Ok(found)
}

/// What a source of `--parents` means: what matches below the root, or below what stands before the
/// pivot `/./`. Only the way to the pivot follows symlinks. A pattern may match nothing; a plain
/// path must exist.
pub(crate) fn name_with_parents<'a>(
    view: &'a View,
    root: usize,
    source: &str,
    excludes: Option<&'a Ignore>,
) -> Result<Vec<Named<'a>>, CopyError> {
    let wrong = |error| CopyError::Pattern {
        pattern: source.to_owned(),
        source: error,
    };
    let (base, pattern) = source.split_once("/./").unwrap_or(("", source));
    let glob = DeepGlob::new(pattern).map_err(wrong)?;
    if let Some(literal) = glob.literal()
        && !Glob::new(base).map_err(wrong)?.has_wildcards()
    {
        let path = TreePath::clean(base).join(&TreePath::clean(literal));
        view.resolve(path.as_bytes(), None, Follow::All)
            .map_err(|source| CopyError::NotFound {
                path: path.to_string(),
                source,
            })?;
    }
    let is_all = glob.literal() == Some(b"");
    let mut found = name(view, root, base, None)?;
    for thing in &mut found {
        if thing.is_directory() {
            thing.includes = (!is_all).then(|| glob.clone());
        }
        thing.excludes = excludes;
    }
    Ok(found)
}

/// The path of a pattern without wildcards.
fn literal(glob: &Glob) -> TreePath {
    (0..glob.depth())
        .filter_map(|depth| glob.component(depth)?.literal())
        .fold(TreePath::root(), |path, name| path.join_name(name))
}

/// The paths that a wildcard matches, in tree order. What is written before the first wildcard may
/// lead through symlinks; after it nothing is followed on the way.
fn expand(view: &View, glob: &Glob) -> Vec<TreePath> {
    let mut level = vec![TreePath::root()];
    let mut follows = true;
    for component in (0..glob.depth()).filter_map(|depth| glob.component(depth)) {
        let mut next = Vec::new();
        for path in level {
            let directory = if follows {
                view.resolve(path.as_bytes(), None, Follow::All)
            } else {
                Ok(path)
            };
            let Ok(directory) = directory else { continue };
            if let Some(name) = component.literal() {
                let path = directory.join_name(name);
                if view.lookup(&path).is_some() {
                    next.push(path);
                }
            } else {
                let children = view.children(&directory);
                let paths = children.iter().map(Node::path);
                next.extend(paths.filter(|path| component.matches(path.name())).cloned());
            }
        }
        follows &= component.literal().is_some();
        level = next;
    }
    level
}
