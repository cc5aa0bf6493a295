//! ADD of archives: recognised by content, extracted aside, then placed like any tree.

use std::io::{self, Read};
use std::sync::Arc;

use super::CopyError;
use crate::cache::Store;
use crate::cache::store::DirDraft;
use crate::executor::contents::{lower_options, open_archive};
use crate::executor::supplies::Files;
use crate::failure::Failure;
use crate::layer::{self, ApplyOptions, Limits, Ownership};
use crate::rooted::Root;
use crate::tree::{Tree, TreePath, View};

/// An archive laid out in a scratch directory.
pub(super) struct Extracted {
    tree: Arc<Tree>,
    root: Arc<Root>,
    /// Removed when dropped.
    _scratch: DirDraft,
}

struct ExtractedFiles(Arc<Root>);

impl Files for ExtractedFiles {
    fn open(&self, path: &TreePath) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.0.open_file(path.as_bytes())?))
    }
}

impl Extracted {
    /// What it holds.
    pub(super) fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// Its contents.
    pub(super) fn files(&self) -> Arc<dyn Files> {
        Arc::new(ExtractedFiles(Arc::clone(&self.root)))
    }
}

/// Extracts what `open` opens if it is a tar, bare or compressed; `None` if it is anything else
/// (a compressed file that is no tar is copied as it is). What follows the end of the archive, zeros
/// or anything else, does not matter.
pub(super) fn extract<'a>(
    store: &Store,
    open: &dyn Fn() -> io::Result<Box<dyn Read + Send + 'a>>,
    path: &TreePath,
) -> Result<Option<Extracted>, Failure> {
    let failed = |source| CopyError::Archive {
        path: path.clone(),
        source,
    };
    let read = |source| CopyError::Read {
        path: path.clone(),
        source,
    };
    let Some(tar) = open().map(open_archive).map_err(read)? else {
        return Ok(None);
    };
    let (tree, size) = layer::index_archive(tar, Limits::default()).map_err(failed)?;
    let Some(tar) = open().map(open_archive).map_err(read)? else {
        return Ok(None);
    };
    let scratch = store.draft_dir()?;
    // Owners and devices are in the tree; here they would only need privileges.
    let below = View::new();
    let options = ApplyOptions {
        ownership: Ownership::Recorded,
        ..lower_options(&below, &[])
    };
    layer::apply(tar.take(size), scratch.fs(), &options).map_err(failed)?;
    let root = Root::open(scratch.fs()).map_err(|source| CopyError::Scratch { source })?;
    Ok(Some(Extracted {
        tree: Arc::new(tree),
        root: Arc::new(root),
        _scratch: scratch,
    }))
}
