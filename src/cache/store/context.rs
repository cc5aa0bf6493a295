//! Stat indexes of build contexts: which file had which content when it was last looked at. What is
//! in them is the context room's business; here they get a place, and writes that appear whole.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::file;
use super::open::Store;
use crate::cache::error::{StoreError, at};
use crate::cache::seal::{seal, unseal};
use crate::digest::{ContentDigest, hex};

/// The longest index that is read, in bytes.
const INDEX_BYTES_MAX: u64 = 2 << 30;

impl Store {
    /// Where downloaded files are kept, by address and digest.
    pub fn downloads(&self) -> PathBuf {
        self.paths().area("downloads")
    }

    /// The file for the stat index of a context directory (an absolute path).
    pub fn context_index_path(&self, context: &Path) -> PathBuf {
        let digest = ContentDigest::of(context.as_os_str().as_bytes());
        self.paths().area("contexts").join(hex(digest.as_bytes()))
    }

    /// The stat index of a context directory as it was written; `None` if there is none or it was
    /// damaged.
    pub fn read_context_index(&self, context: &Path) -> Option<Vec<u8>> {
        let path = self.context_index_path(context);
        let bytes = unseal("context", file::read(&path, INDEX_BYTES_MAX)?)?;
        self.touch(&path);
        Some(bytes)
    }

    /// Replaces the stat index of a context directory.
    pub fn write_context_index(&self, context: &Path, index: Vec<u8>) -> Result<(), StoreError> {
        let path = self.context_index_path(context);
        let temp = self.temp()?;
        file::replace(&temp, &path, &seal("context", index)).map_err(at!(Create, &path))
    }
}
