//! Where things are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::super::key::Key;
use crate::digest::{DiffId, Digest};

/// The format of everything below `builder/`; a newer format lives beside it under another name.
pub(crate) const FORMAT: &str = "v1";

/// All paths of a store (see the picture in [`super`]).
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    root: PathBuf,
    base: PathBuf,
    boot: Arc<OnceLock<String>>,
}

impl Paths {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            base: root.join("builder").join(FORMAT),
            boot: Arc::default(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `builder/v1`
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Names the running system: the first 12 digits of the kernel's boot id. Where `/proc` is not
    /// to be had, a name of this process: its directories are of use to nobody else.
    pub(crate) fn boot(&self) -> &str {
        self.boot.get_or_init(|| {
            let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
            let digits = id.unwrap_or_default();
            let digits = digits.chars().filter(char::is_ascii_hexdigit).take(12);
            let id: String = digits.collect();
            match id.len() {
                12 => id,
                _ => format!("p{}x{}", std::process::id(), crate::clock::now().0),
            }
        })
    }

    /// A directory of ours.
    pub(crate) fn area(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    pub(crate) fn oci_layout(&self) -> PathBuf {
        self.root.join("oci-layout")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("index.json")
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let mut path = self.blobs();
        path.push(digest.hex());
        path
    }

    pub(crate) fn layer(&self, diff_id: &DiffId) -> PathBuf {
        let mut path = self.area("layers");
        path.push(diff_id.0.hex());
        path
    }

    pub(crate) fn tree(&self, diff_id: &DiffId) -> PathBuf {
        self.area("trees").join(diff_id.0.hex())
    }

    /// An unpacked directory.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        self.area("dirs").join(name)
    }

    /// The overlay's work directory that belongs to it.
    pub(crate) fn work(&self, name: &str) -> PathBuf {
        self.area("work").join(name)
    }

    /// The mark that its files are on the disk.
    pub(crate) fn synced(&self, name: &str) -> PathBuf {
        self.area("synced").join(name)
    }

    /// Its size, once it was measured.
    pub(crate) fn measured(&self, name: &str) -> PathBuf {
        self.area("sizes").join(name)
    }

    /// Records are spread over 256 directories: caches of years hold many.
    pub(crate) fn record(&self, key: &Key) -> PathBuf {
        let hex = key.to_string();
        let mut path = self.area("records");
        path.push(&hex[..2]);
        path.push(hex);
        path
    }

    pub(crate) fn operation(&self, operation: &Key) -> PathBuf {
        self.area("operations").join(operation.to_string())
    }

    pub(crate) fn claim(&self, key: &Key) -> PathBuf {
        self.area("claims").join(key.to_string())
    }
}
