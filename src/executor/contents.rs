//! Contents of layers that are being written.

use std::io::{self, Read};
use std::sync::Arc;

use super::supplies::Files;
use crate::layer::Contents;
use crate::rooted::Root;
use crate::tree::TreePath;

/// Contents that are found under the very path that they have in the layer.
pub(crate) struct FilesOf(pub(crate) Arc<dyn Files>);

impl Contents for FilesOf {
    fn open(&self, _index: usize, path: &TreePath) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(self.0.open(path)?)
    }
}
