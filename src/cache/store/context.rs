//! Stat indexes of build contexts: which file had which content when it was last looked at. What is
//! in them is the context room's business; here they get a place, and an age.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::open::Store;
use crate::digest::{ContentDigest, hex};

impl Store {
    /// Where downloaded files are kept, by address and digest.
    pub fn downloads(&self) -> PathBuf {
        self.paths().area("downloads")
    }

    /// The file for the stat index of a context directory (an absolute path), which is used now.
    pub fn context_index_path(&self, context: &Path) -> PathBuf {
        let digest = ContentDigest::of(context.as_os_str().as_bytes());
        let path = self.paths().area("contexts").join(hex(digest.as_bytes()));
        self.touch(&path);
        path
    }
}
