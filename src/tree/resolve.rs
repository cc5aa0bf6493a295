//! Paths through symbolic links, as a process whose root is the tree sees them.

use super::{Kind, ResolveError, TreePath, View};

/// The kernel gives up after 40; archives may be stranger, so moby's bound is used.
const LINKS_MAX: usize = 255;

/// Which symbolic links a resolution follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// All.
    All,
    /// All but one in the last component.
    Parents,
}

/// A path that exists only in part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The part that exists, without symbolic links.
    pub existing: TreePath,
    /// What follows it; empty if all exists.
    pub rest: TreePath,
}

impl Missing {
    /// The whole path.
    pub fn path(&self) -> TreePath {
        self.existing.join(&self.rest)
    }
}

impl View {
    /// Resolves a path to one without symbolic links; something is there.
    ///
    /// A relative `path` starts at `cwd`, or at the root. Links are followed inside the root,
    /// absolute ones and those with too many `..` too.
    pub fn resolve(
        &self,
        path: &[u8],
        cwd: Option<&TreePath>,
        follow: Follow,
    ) -> Result<TreePath, ResolveError> {
        let found = self.walk_path(path, cwd, follow)?;
        if found.rest.is_root() {
            Ok(found.existing)
        } else {
            let path = found.path();
            Err(ResolveError::NotFound { path })
        }
    }

    /// Resolves as much of a path as exists: the place where something is going to be made. `..`
    /// after a missing component goes back over it.
    pub fn resolve_missing(
        &self,
        path: &[u8],
        cwd: Option<&TreePath>,
        follow: Follow,
    ) -> Result<Missing, ResolveError> {
        self.walk_path(path, cwd, follow)
    }

    fn walk_path(
        &self,
        path: &[u8],
        cwd: Option<&TreePath>,
        follow: Follow,
    ) -> Result<Missing, ResolveError> {
        let mut walk = PathWalk::start(path, cwd);
        while let Some(name) = walk.next_name() {
            if walk.step_over(&name) {
                continue;
            }
            let next = walk.existing.join_name(&name);
            let is_last = walk.ahead.is_empty();
            match self.lookup(&next).map(|node| &node.entry.kind) {
                None => walk.rest = TreePath::clean(&name),
                Some(Kind::Directory { .. }) => walk.existing = next,
                Some(Kind::Symlink { target }) if !(is_last && follow == Follow::Parents) => {
                    walk.follow(target, &next)?;
                }
                Some(_) if is_last => walk.existing = next,
                Some(_) => return Err(ResolveError::NotDirectory { path: next }),
            }
        }
        Ok(Missing {
            existing: walk.existing,
            rest: walk.rest,
        })
    }

    /// Where a directory that may not exist is. Components for which `own` says so count as
    /// directories, whatever this view has; so does what is neither directory nor link. `None`
    /// for a loop.
    pub(super) fn resolve_directory(
        &self,
        path: &TreePath,
        own: impl Fn(&TreePath) -> bool,
    ) -> Option<TreePath> {
        let mut walk = PathWalk::start(path.as_bytes(), None);
        while let Some(name) = walk.next_name() {
            if matches!(name.as_slice(), b"." | b"..") {
                walk.step_over(&name);
                continue;
            }
            let next = walk.existing.join_name(&name);
            let kind = if own(&next) {
                None
            } else {
                self.lookup(&next).map(|node| &node.entry.kind)
            };
            match kind {
                Some(Kind::Symlink { target }) => walk.follow(target, &next).ok()?,
                _ => walk.existing = next,
            }
        }
        Some(walk.existing)
    }
}

/// A resolution on its way.
struct PathWalk {
    /// What exists so far, without links.
    existing: TreePath,
    /// What follows it and is missing.
    rest: TreePath,
    /// Components to come, the next one last.
    ahead: Vec<Vec<u8>>,
    links: usize,
}

impl PathWalk {
    fn start(path: &[u8], cwd: Option<&TreePath>) -> Self {
        let mut walk = Self {
            existing: TreePath::root(),
            rest: TreePath::root(),
            ahead: Vec::new(),
            links: 0,
        };
        walk.push(path);
        // The working directory may go through links itself.
        if !path.starts_with(b"/")
            && let Some(cwd) = cwd
        {
            walk.push(cwd.as_bytes());
        }
        walk
    }

    fn push(&mut self, path: &[u8]) {
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        let names = path.split(|byte| *byte == b'/').rev();
        let names = names.filter(|name| !matches!(*name, b"" | b"."));
        self.ahead.extend(names.map(<[u8]>::to_vec));
    }

    fn next_name(&mut self) -> Option<Vec<u8>> {
        self.ahead.pop()
    }

    /// Handles what needs no look at the tree: `..`, and everything below a missing component.
    fn step_over(&mut self, name: &[u8]) -> bool {
        let place = if self.rest.is_root() {
            &mut self.existing
        } else {
            &mut self.rest
        };
        if name == b".." {
            *place = place.parent().unwrap_or_default();
            return true;
        }
        if self.rest.is_root() {
            return false;
        }
        self.rest.push(name);
        true
    }

    fn follow(&mut self, target: &[u8], link: &TreePath) -> Result<(), ResolveError> {
        self.links += 1;
        if self.links > LINKS_MAX {
            let path = link.clone();
            return Err(ResolveError::Loop { path });
        }
        if target.starts_with(b"/") {
            self.existing = TreePath::root();
        }
        self.push(target);
        Ok(())
    }
}
