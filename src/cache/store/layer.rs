//! The faces of a layer: its blobs, its directory, its tree index.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::dir;
use super::file;
use super::open::Store;
use super::paths::Paths;
use crate::cache::error::{StoreError, at};
use crate::cache::record::BlobForm;
use crate::cache::seal::{seal, unseal};
use crate::digest::{DiffId, Digest};
use crate::image::Compression;

/// The name of the link to the directory face.
pub(super) const DIR: &str = "dir";
/// The name of the tree index.
pub(super) const TREE: &str = "tree";
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
        let mut faces = faces_of(self.paths(), &path);
        faces.blobs.extend(self.committer().forms(diff_id));
        faces.blobs.sort_unstable();
        faces.blobs.dedup();
        if faces.is_available() || faces.has_tree {
            self.touch(&path);
        }
        faces
    }

    /// Adds a blob as a form of a layer. The blob must have been committed.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if it was not.
    pub fn add_blob_form(&self, diff_id: &DiffId, form: BlobForm) -> Result<(), StoreError> {
        self.writable()?;
        check_encoder(form.made_by.as_deref())?;
        self.pin(&diff_id.0)?;
        self.pin(&form.digest)?;
        if self.committer().add_form(diff_id, &form)? {
            return Ok(());
        }
        if !self.has_blob(&form.digest) {
            let digest = form.digest;
            return Err(StoreError::Missing { digest });
        }
        let path = self.paths().layer(diff_id);
        link_form(self.paths(), diff_id, &form).map_err(at!(Create, path))
    }

    /// Keeps the tree index of a layer, encoded.
    pub fn put_tree(&self, diff_id: &DiffId, encoded: Vec<u8>) -> Result<(), StoreError> {
        self.pin(&diff_id.0)?;
        let path = self.paths().layer(diff_id).join(TREE);
        let temp = self.temp()?;
        let bytes = seal("tree", encoded);
        file::replace(&temp, &path, &bytes).map_err(at!(Create, path))
    }

    /// The tree index of a layer as it was put; `None` if it is not there or was damaged.
    pub fn tree(&self, diff_id: &DiffId) -> Option<Vec<u8>> {
        self.pin(&diff_id.0).ok()?;
        let path = self.paths().layer(diff_id).join(TREE);
        unseal("tree", file::read(&path, TREE_BYTES_MAX)?)
    }

    /// Whether the layer's bytes are here: as a directory of this boot, or as a blob. Costs three
    /// or four system calls.
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

    /// Notes that something was used: its directory's time of access (the kernel does not change
    /// it behind our back in a way that matters: a collector only compares ages).
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
    let layer = paths.layer(diff_id);
    let Ok(entries) = fs::read_dir(&layer) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let path = layer.join(&name);
        match name.to_str() {
            Some(DIR) => dir::target(&path, paths.boot()).is_some(),
            Some(name) => parse_form(name).is_some() && fs::metadata(&path).is_ok(),
            None => false,
        }
    })
}

/// Reads the faces of a layer from its directory.
pub(super) fn faces_of(paths: &Paths, layer: &Path) -> LayerFaces {
    let mut faces = LayerFaces::default();
    for name in file::names(layer) {
        let path = layer.join(&name);
        match name.as_str() {
            DIR => {
                faces.dir = dir::target(&path, paths.boot()).map(|name| dir::fs_of(paths, &name))
            }
            TREE => faces.has_tree = true,
            _ => faces.blobs.extend(read_form(&path, &name)),
        }
    }
    faces
}

/// Reads the link of a form whose blob is there.
fn read_form(path: &Path, name: &str) -> Option<BlobForm> {
    let (compression, made_by) = parse_form(name)?;
    let size = fs::metadata(path).ok().filter(fs::Metadata::is_file)?.len();
    let digest = link_digest(path)?;
    Some(BlobForm {
        compression,
        digest,
        size,
        made_by,
    })
}

/// The digest that a form's link points to, whether the blob is there or not.
pub(super) fn link_digest(path: &Path) -> Option<Digest> {
    let target = fs::read_link(path).ok()?;
    let hex = target.file_name()?.to_str()?;
    format!("sha256:{hex}").parse().ok()
}

const COMPRESSIONS: [(&str, Compression); 3] = [
    ("tar", Compression::Uncompressed),
    ("gzip", Compression::Gzip),
    ("zstd", Compression::Zstd),
];

/// The name of a form's link: `gzip.gzip-6-v1` for one of ours, `gzip.@<12 digits of the digest>`
/// for one that came from elsewhere.
fn form_name(form: &BlobForm) -> String {
    let word = COMPRESSIONS
        .iter()
        .find(|(_, compression)| *compression == form.compression)
        .map_or("tar", |(word, _)| word);
    match &form.made_by {
        Some(encoder) => format!("{word}.{encoder}"),
        None => format!("{word}.@{}", form.digest.short()),
    }
}

/// The compression and the encoder that a link's name states; `None` for other files.
pub(super) fn parse_form(name: &str) -> Option<(Compression, Option<String>)> {
    let (word, maker) = name.split_once('.')?;
    let (_, compression) = COMPRESSIONS.iter().find(|(name, _)| *name == word)?;
    let made_by = (!maker.starts_with('@')).then(|| maker.to_owned());
    Some((*compression, made_by))
}

fn check_encoder(name: Option<&str>) -> Result<(), StoreError> {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match name {
        Some(name) if name.is_empty() || name.len() > 64 || !name.chars().all(word) => {
            let name = name.chars().take(100).collect();
            Err(StoreError::EncoderName { name })
        }
        _ => Ok(()),
    }
}

/// Writes the link of a form whose blob is published.
pub(super) fn link_form(paths: &Paths, diff_id: &DiffId, form: &BlobForm) -> io::Result<()> {
    let path = paths.layer(diff_id).join(form_name(form));
    set_link(&Paths::blob_from_layer(&form.digest), &path)
}

/// Makes a symbolic link, replacing one that points elsewhere.
pub(super) fn set_link(target: &Path, path: &Path) -> io::Result<()> {
    match file::with_parent(path, || symlink(target, path)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => return result,
    }
    if fs::read_link(path).is_ok_and(|found| found == target) {
        return Ok(());
    }
    // Never absent in between; the name is unlike any face's, so that readers skip a leftover.
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    file::discard(&beside);
    symlink(target, &beside)?;
    fs::rename(&beside, path).inspect_err(|_| file::discard(&beside))
}
