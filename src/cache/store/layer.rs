//! The faces of a layer: its blobs, its directory, its tree index.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::dir;
use super::faces::{self, Face};
use super::file;
use super::open::Store;
use super::paths::Paths;
use crate::cache::error::{StoreError, at};
use crate::cache::record::BlobForm;
use crate::cache::seal::{seal, unseal};
use crate::digest::DiffId;

/// The longest tree index that is read, in bytes: more than ten million entries.
const TREE_BYTES_MAX: u64 = 2 << 30;
/// The time of last use is written at most so often, in seconds.
const TOUCH_SECONDS: i64 = 3600;

/// How a layer exists in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerFaces {
    /// Its blobs, sorted.
    pub blobs: Vec<BlobForm>,
    /// Its unpacked directory: an overlay lower, never to be changed.
    pub dir: Option<PathBuf>,
    /// Whether its tree index is there.
    pub has_tree: bool,
}

impl LayerFaces {
    /// Whether the layer's bytes can be had without a network.
    pub fn is_available(&self) -> bool {
        self.dir.is_some() || !self.blobs.is_empty()
    }
}

impl Store {
    /// The faces of a layer; none if the layer is unknown. They stay until the store is closed.
    pub fn layer(&self, diff_id: &DiffId) -> LayerFaces {
        if self.pin(&diff_id.0).is_err() {
            return LayerFaces::default();
        }
        let path = self.paths().layer(diff_id);
        let mut found = present(self.paths(), &path);
        found.blobs.extend(self.committer().forms(diff_id));
        found.blobs.sort_unstable();
        found.blobs.dedup();
        found.has_tree = self.paths().tree(diff_id).exists();
        if found.is_available() || found.has_tree {
            self.touch(&path);
        }
        found
    }

    /// Adds a blob as a form of a layer. The blob must have been committed, and the caller must have
    /// proved that it is the layer: that its decompressed bytes have this diff id.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if it was not.
    pub fn add_blob_form(&self, diff_id: &DiffId, form: BlobForm) -> Result<(), StoreError> {
        self.writable()?;
        check_encoder(form.made_by.as_deref())?;
        self.pin(&diff_id.0)?;
        self.pin(&form.digest)?;
        self.relax()?;
        if self.committer().add_form(diff_id, &form)? {
            return Ok(());
        }
        if !self.has_blob(&form.digest) {
            let digest = form.digest;
            return Err(StoreError::Missing { digest });
        }
        let path = self.paths().layer(diff_id);
        add_form(self.paths(), diff_id, &form).map_err(at!(Create, path))
    }

    /// Keeps the tree index of a layer, encoded.
    pub fn put_tree(&self, diff_id: &DiffId, encoded: Vec<u8>) -> Result<(), StoreError> {
        self.pin(&diff_id.0)?;
        self.relax()?;
        let path = self.paths().tree(diff_id);
        let temp = self.temp()?;
        let bytes = seal("tree", encoded);
        file::replace(&temp, &path, &bytes).map_err(at!(Create, path))
    }

    /// The tree index of a layer as it was put; `None` if it is not there or was damaged.
    pub fn tree(&self, diff_id: &DiffId) -> Option<Vec<u8>> {
        self.pin(&diff_id.0).ok()?;
        let path = self.paths().tree(diff_id);
        unseal("tree", file::read(&path, TREE_BYTES_MAX)?)
    }

    /// Whether the layer's bytes are here: as a directory of this boot, or as a blob.
    pub(super) fn is_available(&self, diff_id: &DiffId) -> bool {
        if self.pin(&diff_id.0).is_err() {
            return false;
        }
        if !self.committer().forms(diff_id).is_empty() {
            return true;
        }
        let available = is_available(self.paths(), diff_id);
        if available {
            self.touch(&self.paths().layer(diff_id));
        }
        available
    }

    /// Notes that something was used, in its time of modification.
    pub(super) fn touch(&self, path: &Path) {
        if self.writable().is_ok() {
            touch(path);
        }
    }
}

/// Writes the time of last use unless that was done within the hour.
pub(super) fn touch(path: &Path) {
    let now = crate::clock::now().0;
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    if (now - metadata.mtime()).abs() < TOUCH_SECONDS {
        return;
    }
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps {
        last_access: time(UTIME_OMIT),
        last_modification: time(UTIME_NOW),
    };
    // Only ages depend on it.
    let _ = rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW);
}

/// Whether a published face has the layer's bytes.
pub(super) fn is_available(paths: &Paths, diff_id: &DiffId) -> bool {
    let faces = faces::read(&paths.layer(diff_id));
    let has_dir = || {
        faces
            .dir
            .as_ref()
            .is_some_and(|name| dir::is_valid(paths, name))
    };
    faces.blobs.iter().any(|form| is_here(paths, form)) || has_dir()
}

/// The faces that are really there.
pub(super) fn present(paths: &Paths, layer: &Path) -> LayerFaces {
    let mut faces = faces::read(layer);
    faces.blobs.retain(|form| is_here(paths, form));
    let dir = faces.dir.filter(|name| dir::is_valid(paths, name));
    LayerFaces {
        blobs: faces.blobs,
        dir: dir.map(|name| paths.dir(&name)),
        has_tree: false,
    }
}

fn is_here(paths: &Paths, form: &BlobForm) -> bool {
    let metadata = fs::symlink_metadata(paths.blob(&form.digest));
    metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() == form.size)
}

fn check_encoder(name: Option<&str>) -> Result<(), StoreError> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let valid = |name: &str| {
        name.starts_with(word) && name.len() <= 64 && name.chars().all(|c| word(c) || c == '-')
    };
    match name {
        Some(name) if !valid(name) => {
            let name = name.chars().take(100).collect();
            Err(StoreError::EncoderName { name })
        }
        _ => Ok(()),
    }
}

/// Adds a form whose blob is published, unless it is there.
pub(super) fn add_form(paths: &Paths, diff_id: &DiffId, form: &BlobForm) -> io::Result<()> {
    let path = paths.layer(diff_id);
    if faces::read(&path).blobs.contains(form) {
        return Ok(());
    }
    faces::append(&path, &Face::Blob(form.clone()))
}
