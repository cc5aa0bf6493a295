//! Everything in the store, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ignore::{WalkBuilder, WalkState};

use super::super::file;
use super::super::image::StoredImage;
use super::super::open::Store;
use super::super::paths::Paths;
use super::super::{faces, name};
use crate::digest::{DiffId, Digest};
use crate::image::{Descriptor, Index, Manifest};

/// The longest manifest or index that is looked into, in bytes.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;
/// Indexes of indexes are followed so deep.
const DEPTH_MAX: u32 = 4;

/// One file, or one directory with all that is in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    /// Bytes on the disk.
    pub(super) bytes: u64,
    /// Seconds since 1970.
    pub(super) used: i64,
}

/// A layer and its faces.
#[derive(Clone, Debug)]
pub(super) struct LayerItem {
    /// The file of its faces.
    pub(super) faces: Item,
    /// Its blobs, here or not.
    pub(super) blobs: BTreeSet<Digest>,
    /// Its tree index.
    pub(super) tree: Option<Item>,
    /// Its unpacked directory.
    pub(super) dir: Option<Item>,
}

impl LayerItem {
    /// All but the blobs, which it may share with others.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        let parts = [Some(&self.faces), self.tree.as_ref(), self.dir.as_ref()];
        parts.into_iter().flatten()
    }

    /// Bytes on the disk of all but the blobs.
    pub(super) fn bytes(&self) -> u64 {
        self.items().map(|item| item.bytes).sum()
    }
}

/// Everything that matters for sizes and references.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// Images with all the blobs that they need.
    pub(super) images: Vec<(StoredImage, BTreeSet<Digest>)>,
    pub(super) blobs: BTreeMap<Digest, Item>,
    pub(super) layers: BTreeMap<DiffId, LayerItem>,
    /// Resolved names with the blobs that they keep.
    pub(super) names: Vec<(Item, BTreeSet<Digest>)>,
    pub(super) contexts: Vec<Item>,
    pub(super) mounts: Vec<Item>,
}

impl Inventory {
    pub(super) fn read(store: &Store, images: Vec<StoredImage>) -> Self {
        let paths = store.paths();
        let images = images.into_iter().map(|image| {
            let blobs = closure(paths, &image.descriptor);
            (image, blobs)
        });
        Self {
            images: images.collect(),
            names: names(paths),
            blobs: blobs(paths),
            layers: layers(paths, store.writable().is_ok()),
            contexts: items(&paths.area("contexts")),
            mounts: mounts(&paths.area("mounts")),
        }
    }

    /// The blobs that images need.
    pub(super) fn image_blobs(&self) -> BTreeSet<Digest> {
        let blobs = self.images.iter().flat_map(|(_, blobs)| blobs);
        blobs.copied().collect()
    }
}

/// All blobs that something refers to. Quick: it is asked for while builders wait.
pub(super) fn references(paths: &Paths, images: &[StoredImage]) -> BTreeSet<Digest> {
    let mut needed = BTreeSet::new();
    for image in images {
        needed.append(&mut closure(paths, &image.descriptor));
    }
    for (_, mut blobs) in names(paths) {
        needed.append(&mut blobs);
    }
    let layers = paths.area("layers");
    for layer in file::names(&layers) {
        let faces = faces::read(&layers.join(layer));
        needed.extend(faces.blobs.iter().map(|form| form.digest));
    }
    needed
}

/// The blobs that are here.
pub(super) fn blobs(paths: &Paths) -> BTreeMap<Digest, Item> {
    let files = items(&paths.blobs()).into_iter();
    files
        .filter_map(|item| Some((digest_of(&item.path)?, item)))
        .collect()
}

/// The resolved names with the blobs that they keep.
fn names(paths: &Paths) -> Vec<(Item, BTreeSet<Digest>)> {
    let files = items(&paths.area("names")).into_iter();
    let with_blobs = |item: Item| {
        let kept = name::read_descriptor(&item.path);
        let blobs = kept.map(|descriptor| closure(paths, &descriptor));
        (item, blobs.unwrap_or_default())
    };
    files.map(with_blobs).collect()
}

/// All blobs that a descriptor leads to, itself included, whether they are here or not.
pub(super) fn closure(paths: &Paths, descriptor: &Descriptor) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    follow(paths, descriptor, DEPTH_MAX, &mut found);
    found
}

fn follow(paths: &Paths, descriptor: &Descriptor, depth: u32, found: &mut BTreeSet<Digest>) {
    if !found.insert(descriptor.digest) || depth == 0 {
        return;
    }
    let Some(bytes) = file::read(&paths.blob(&descriptor.digest), MANIFEST_BYTES_MAX) else {
        return;
    };
    // Blobs that are neither are layers and configs: they do not parse as these.
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) {
        found.insert(manifest.config.digest);
        found.extend(manifest.layers.iter().map(|layer| layer.digest));
    } else if let Ok(index) = serde_json::from_slice::<Index>(&bytes) {
        for manifest in &index.manifests {
            follow(paths, manifest, depth - 1, found);
        }
    }
}

/// Files of a directory with sizes and ages.
pub(super) fn items(dir: &Path) -> Vec<Item> {
    file::names(dir)
        .into_iter()
        .filter_map(|name| item(dir.join(name)))
        .collect()
}

fn item(path: PathBuf) -> Option<Item> {
    let metadata = fs::symlink_metadata(&path).ok()?;
    let (bytes, used) = (metadata.blocks() * 512, metadata.mtime());
    Some(Item { path, bytes, used })
}

/// The digest that a file is named by.
pub(super) fn digest_of(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    format!("sha256:{name}").parse().ok()
}

fn layers(paths: &Paths, writable: bool) -> BTreeMap<DiffId, LayerItem> {
    let mut layers = BTreeMap::new();
    // A tree index may stand alone: of a layer that was never fetched.
    let known = items(&paths.area("layers")).into_iter();
    for faces in known.chain(items(&paths.area("trees"))) {
        let Some(diff_id) = digest_of(&faces.path).map(DiffId) else {
            continue;
        };
        layers
            .entry(diff_id)
            .or_insert_with(|| layer_item((paths, writable), &diff_id, faces));
    }
    layers
}

fn layer_item((paths, writable): (&Paths, bool), diff_id: &DiffId, faces: Item) -> LayerItem {
    let found = faces::read(&paths.layer(diff_id));
    let tree = paths.tree(diff_id);
    let dir = found.dir.map(|name| dir_item(paths, &name, writable));
    LayerItem {
        tree: item(tree.clone()).filter(|_| faces.path != tree),
        blobs: found.blobs.iter().map(|form| form.digest).collect(),
        dir: dir.filter(|dir| dir.path.exists()),
        faces,
    }
}

/// An unpacked directory. Its size is measured once.
fn dir_item(paths: &Paths, name: &str, writable: bool) -> Item {
    let (path, known) = (paths.dir(name), paths.measured(name));
    let measured = file::read(&known, 64)
        .and_then(|bytes| String::from_utf8(bytes).ok()?.trim().parse::<u64>().ok());
    let bytes = measured.unwrap_or_else(|| {
        let bytes = tree_bytes(&path);
        // Only the time of the next measurement depends on it.
        if writable {
            let write = || fs::write(&known, bytes.to_string());
            drop(file::with_parent(&known, write));
        }
        bytes
    });
    Item {
        path,
        bytes,
        used: 0,
    }
}

fn mounts(dir: &Path) -> Vec<Item> {
    let mut mounts = items(dir);
    for mount in &mut mounts {
        mount.bytes = tree_bytes(&mount.path);
    }
    mounts
}

/// Bytes on the disk of everything below a path; files with several names count once. What may not
/// be read counts nothing. Walked by all processors: an unpacked base has 100,000 files.
pub(super) fn tree_bytes(path: &Path) -> u64 {
    let (bytes, linked) = (AtomicU64::new(0), Mutex::new(BTreeSet::new()));
    let is_new = |metadata: &Metadata| {
        let name = (metadata.dev(), metadata.ino());
        let mut linked = linked.lock().unwrap_or_else(PoisonError::into_inner);
        linked.insert(name)
    };
    let every_file = WalkBuilder::new(path)
        .standard_filters(false)
        .build_parallel();
    every_file.run(|| {
        Box::new(|entry| {
            if let Ok(metadata) = entry.and_then(|entry| entry.metadata())
                && (metadata.is_dir() || metadata.nlink() == 1 || is_new(&metadata))
            {
                bytes.fetch_add(metadata.blocks() * 512, Ordering::Relaxed);
            }
            WalkState::Continue
        })
    });
    bytes.into_inner()
}
