//! What the executor gets from outside while it works. `pipeline` implements it.

use std::io::{self, Read};
use std::sync::Arc;

use super::agent::Agent;
use crate::cache::BlobForm;
use crate::digest::DiffId;
use crate::failure::Failure;
use crate::planner::op::CopyInput;
use crate::tree::{TreePath, View};

/// Opens the files of a tree.
pub trait Files: Send + Sync {
    /// Opens the regular file at a path of the tree; never anything outside of it.
    fn open(&self, path: &TreePath) -> io::Result<Box<dyn Read + Send>>;
}

/// A tree and the way to its contents.
#[derive(Clone)]
pub struct FileTree {
    /// The entries.
    pub view: View,
    /// The contents.
    pub files: Arc<dyn Files>,
}

impl std::fmt::Debug for FileTree {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FileTree")
            .field("view", &self.view)
            .finish_non_exhaustive()
    }
}

/// A blob on its way.
pub struct BlobStream {
    /// What it is.
    pub form: BlobForm,
    /// Its bytes, verified while they are read.
    pub bytes: Box<dyn Read + Send>,
}

impl std::fmt::Debug for BlobStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BlobStream")
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

/// Contexts, base layers, fetched files, secrets.
pub trait Supplies: Sync + std::fmt::Debug {
    /// The files of a context that this build may read.
    fn context(&self, name: &str) -> Result<FileTree, Failure>;

    /// A fetched file or git tree: one tree a source.
    fn fetched(&self, input: &CopyInput) -> Result<FileTree, Failure>;

    /// A layer that the store does not have: from the registry or layout of its image, or from a
    /// shared cache. `None` if nobody has it.
    fn layer(&self, diff_id: &DiffId) -> Result<Option<BlobStream>, Failure>;

    /// The tree index of a layer, if a shared cache has it: then the layer need not be fetched.
    fn tree(&self, diff_id: &DiffId) -> Option<Vec<u8>>;

    /// The bytes of a secret; `None` if the user gave none of that name.
    fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, Failure>;

    /// An ssh agent; `None` if the user gave none of that name.
    fn ssh(&self, id: &str) -> Option<Agent>;
}
