//! The directories of the target: made when something is put in them, described at the end.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::{LayerError, create_error};
use crate::layer::assemble::Assembly;
use crate::tree::{Entry, TreePath, Unread, View};

#[derive(Debug)]
pub(super) struct Directories<'a> {
    lower: &'a View,
    /// Those made so far and what they are to look like.
    made: BTreeMap<TreePath, Entry<Unread>>,
    /// The open directories from the root to the last one asked for.
    way: Vec<(TreePath, Arc<OwnedFd>)>,
    root: Arc<OwnedFd>,
}

impl<'a> Directories<'a> {
    pub(super) fn new(root: OwnedFd, lower: &'a View) -> Self {
        let mut directories = Self {
            lower,
            made: BTreeMap::new(),
            way: Vec::new(),
            root: Arc::new(root),
        };
        let path = TreePath::root();
        let like = directories.like_lower(&path);
        directories.made.insert(path, like);
        directories
    }

    /// A directory as the layers below have it; root's with mode 0755 if they have none.
    fn like_lower(&self, path: &TreePath) -> Entry<Unread> {
        let node = self.lower.lookup(path);
        match node
            .map(|node| node.entry)
            .filter(|entry| entry.is_directory())
        {
            Some(entry) => entry.clone().map_content(|_| Unread),
            None => Entry::directory(path.clone(), 0),
        }
    }

    /// Opens a directory; it and those above it are made if they are missing.
    pub(super) fn open(
        &mut self,
        path: &TreePath,
        assembly: &Assembly<'_, Unread>,
    ) -> Result<Arc<OwnedFd>, LayerError> {
        while self
            .way
            .last()
            .is_some_and(|(open, _)| !path.is_within(open))
        {
            self.way.pop();
        }
        let (known, mut directory) = match self.way.last() {
            Some((open, directory)) => (open.clone(), Arc::clone(directory)),
            None => (TreePath::root(), Arc::clone(&self.root)),
        };
        let Some(rest) = path.below(&known) else {
            return Ok(directory);
        };
        let mut here = known;
        for name in rest.components() {
            here = here.join_name(name);
            directory = Arc::new(self.step(&directory, &here, assembly)?);
            self.way.push((here.clone(), Arc::clone(&directory)));
        }
        Ok(directory)
    }

    fn step(
        &mut self,
        parent: &OwnedFd,
        path: &TreePath,
        assembly: &Assembly<'_, Unread>,
    ) -> Result<OwnedFd, LayerError> {
        let name = CString::new(path.name()).map_err(|error| create_error(path, error))?;
        if !self.made.contains_key(path) {
            // A deletion that was put here before something in it: the directory is opaque now.
            match rustix::fs::mkdirat(parent, &name, Mode::RWXU) {
                Err(Errno::EXIST) => {
                    crate::rooted::remove_all_at(parent.as_fd(), &name)
                        .map_err(|error| create_error(path, error))?;
                    rustix::fs::mkdirat(parent, &name, Mode::RWXU)
                }
                other => other,
            }
            .map_err(|error| create_error(path, error))?;
            let like = if assembly.shows_lower(path) && assembly.get(path).is_none() {
                self.like_lower(path)
            } else {
                Entry::directory(path.clone(), 0)
            };
            self.made.insert(path.clone(), like);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(parent, &name, flags, Mode::empty())
            .map_err(|error| create_error(path, error))
    }

    /// Says what a directory that was opened before is to look like.
    pub(super) fn describe(&mut self, entry: Entry<Unread>) {
        self.made.insert(entry.path.clone(), entry);
    }

    /// Whether a directory was made.
    pub(super) fn has(&self, path: &TreePath) -> bool {
        self.made.contains_key(path)
    }

    /// Forgets a path that is going to be removed, and all below it.
    pub(super) fn forget(&mut self, path: &TreePath) {
        let range = self.made.range(path.clone()..);
        let gone: Vec<TreePath> = range
            .map(|(made, _)| made)
            .take_while(|made| made.is_within(path))
            .cloned()
            .collect();
        for path in gone {
            self.made.remove(&path);
        }
        self.way.retain(|(open, _)| !open.is_within(path));
    }

    /// Shows all directories, the last in tree order first: setting the time of one must come after
    /// all that happens in it. Only one is open at once.
    pub(super) fn finish(
        &mut self,
        mut show: impl FnMut(&Entry<Unread>, BorrowedFd<'_>) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        self.way.clear();
        for (path, entry) in std::mem::take(&mut self.made).into_iter().rev() {
            let directory = self.reopen(&path)?;
            show(&entry, directory.as_fd())?;
        }
        Ok(())
    }

    fn reopen(&self, path: &TreePath) -> Result<Arc<OwnedFd>, LayerError> {
        let mut directory = Arc::clone(&self.root);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for part in path.ancestors_and_self() {
            let name = CString::new(part.name()).map_err(|error| create_error(&part, error))?;
            let open = rustix::fs::openat(&directory, &name, flags, Mode::empty());
            directory = Arc::new(open.map_err(|error| create_error(&part, error))?);
        }
        Ok(directory)
    }
}
