//! Links that sources name are followed, inside the root.
//!
//! As BuildKit's fsutil: each component of a source that is a link adds the link itself and its
//! target, taken as if the context were the root of the file system. Absolute targets and `..`
//! are clamped, loops end.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::ContextError;
use super::root::{DIRECTORY, open_beneath};
use super::walk::list;
use crate::pattern::Glob;
use crate::tree::TreePath;

/// As many links as Linux follows in one path.
const HOPS_MAX: usize = 40;

/// What must be walked besides `globs` themselves: links on their way, and what those lead to.
pub(super) fn follow<'a>(
    root: &OwnedFd,
    globs: impl Iterator<Item = &'a Glob>,
) -> Result<Vec<Glob>, ContextError> {
    let mut follower = Follower {
        root,
        seen: BTreeSet::new(),
        found: Vec::new(),
    };
    for glob in globs {
        follower.glob(glob, &TreePath::root(), 0, 0)?;
    }
    Ok(follower.found)
}

struct Follower<'a> {
    root: &'a OwnedFd,
    /// Links followed so far, with the rest of the pattern behind each.
    seen: BTreeSet<(TreePath, usize, String)>,
    found: Vec<Glob>,
}

impl Follower<'_> {
    /// Looks for links from component `depth` of `glob` on, whose earlier components have led to
    /// `directory` without links.
    fn glob(
        &mut self,
        glob: &Glob,
        directory: &TreePath,
        mut depth: usize,
        hops: usize,
    ) -> Result<(), ContextError> {
        let mut directory = directory.clone();
        while let Some(component) = glob.component(depth) {
            let Some(opened) = self.open(&directory)? else {
                return Ok(());
            };
            depth += 1;
            let Some(name) = component.literal() else {
                return self.wildcard(glob, (&directory, &opened), depth, hops);
            };
            let path = directory.join_name(name);
            if let Some(target) = read_link(&opened, name) {
                return self.link(glob, &path, &target, (depth, hops + 1));
            }
            directory = path;
        }
        Ok(())
    }

    /// Looks at all names that match the component before `depth`.
    fn wildcard(
        &mut self,
        glob: &Glob,
        (directory, opened): (&TreePath, &OwnedFd),
        depth: usize,
        hops: usize,
    ) -> Result<(), ContextError> {
        let component = glob.component(depth - 1);
        let last = depth == glob.depth();
        let mut names = Vec::new();
        let listed = list(opened, |name, file_type| {
            let possible = match file_type {
                FileType::Symlink | FileType::Unknown => true,
                FileType::Directory => !last,
                _ => false,
            };
            let name = name.to_bytes();
            if possible && component.is_some_and(|component| component.matches(name)) {
                names.push(name.to_vec());
            }
        });
        listed.map_err(|source| ContextError::Read {
            path: directory.clone(),
            source,
        })?;
        for name in names {
            let path = directory.join_name(&name);
            match read_link(opened, &name) {
                Some(target) => self.link(glob, &path, &target, (depth, hops + 1))?,
                None => self.glob(glob, &path, depth, hops)?,
            }
        }
        Ok(())
    }

    /// Opens a directory; `None` if it is not there or no directory.
    fn open(&self, directory: &TreePath) -> Result<Option<OwnedFd>, ContextError> {
        match open_beneath(self.root, directory.as_bytes(), DIRECTORY) {
            Ok(opened) => Ok(Some(opened)),
            Err(error) if is_absence(&error) => Ok(None),
            Err(source) => Err(ContextError::Read {
                path: directory.clone(),
                source,
            }),
        }
    }

    /// Follows one link; what is left of `glob` starts at component `depth`.
    fn link(
        &mut self,
        glob: &Glob,
        path: &TreePath,
        target: &[u8],
        (depth, hops): (usize, usize),
    ) -> Result<(), ContextError> {
        let left = glob.depth() - depth;
        let fresh = self
            .seen
            .insert((path.clone(), left, glob.as_str().to_owned()));
        if !fresh || hops > HOPS_MAX {
            return Ok(());
        }
        self.found.push(Glob::literal(path.as_bytes()));
        let mut whole = Vec::new();
        if !target.starts_with(b"/") {
            whole.extend_from_slice(path.parent().unwrap_or_default().as_bytes());
            whole.push(b'/');
        }
        whole.extend_from_slice(target);
        let target = TreePath::clean(&whole);
        let rebased = glob.rebased(target.as_bytes(), depth);
        self.glob(&rebased, &TreePath::root(), 0, hops)?;
        self.found.push(rebased);
        Ok(())
    }
}

/// The target, if `name` is a link.
fn read_link(directory: &impl AsFd, name: &[u8]) -> Option<Vec<u8>> {
    rustix::fs::readlinkat(directory, name, Vec::new())
        .ok()
        .map(std::ffi::CString::into_bytes)
}

fn is_absence(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(
        errno,
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
    )
}
