//! Sizes.

use std::collections::{BTreeMap, BTreeSet};

use super::super::image::StoredImage;
use super::super::open::Store;
use super::inventory::{Inventory, items, tree_bytes};
use super::leftovers;
use crate::cache::error::StoreError;
use crate::digest::Digest;

/// A kind of object, as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Blobs that images need.
    Image,
    /// Layers that only the cache needs: their blobs, directories and tree indexes.
    Layer,
    /// Cache mounts of RUN.
    Mount,
    /// Stat indexes of contexts.
    Context,
    /// Resolved names of base images.
    Name,
    /// Records and the lists that find them.
    Record,
    /// Blobs that nothing refers to.
    Loose,
    /// What killed builders left, what is being removed, what was damaged.
    Leftover,
}

/// The size of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassUsage {
    /// Number of objects.
    pub count: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Bytes that `prune` could free.
    pub reclaimable: u64,
}

/// The size of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUsage {
    /// The image.
    pub image: StoredImage,
    /// Bytes of all its blobs that are here.
    pub bytes: u64,
    /// Bytes that no other image needs.
    pub unique: u64,
    /// Blobs that it needs and that are not here.
    pub missing: u64,
}

/// What the store takes on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// By class.
    pub classes: BTreeMap<Class, ClassUsage>,
    /// By image.
    pub images: Vec<ImageUsage>,
}

impl Usage {
    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.classes.values().map(|class| class.bytes).sum()
    }

    /// All bytes that `prune` could free.
    pub fn reclaimable(&self) -> u64 {
        self.classes.values().map(|class| class.reclaimable).sum()
    }

    fn add(&mut self, class: Class, bytes: u64, reclaimable: bool) {
        let usage = self.classes.entry(class).or_default();
        usage.count += 1;
        usage.bytes += bytes;
        usage.reclaimable += if reclaimable { bytes } else { 0 };
    }
}

impl Store {
    /// What the store takes on the disk, by class and by image. Reads every directory entry, no
    /// contents.
    pub fn du(&self) -> Result<Usage, StoreError> {
        let inventory = Inventory::read(self, self.images()?);
        let mut usage = Usage {
            images: images(&inventory),
            ..Usage::default()
        };
        add_blobs(&mut usage, &inventory);
        let image_blobs = inventory.image_blobs();
        for layer in inventory.layers.values() {
            let in_image = layer.blobs.iter().any(|blob| image_blobs.contains(blob));
            usage.add(Class::Layer, layer.bytes(), !in_image);
        }
        for (class, items) in [
            (Class::Mount, &inventory.mounts),
            (Class::Context, &inventory.contexts),
        ] {
            for item in items {
                usage.add(class, item.bytes, true);
            }
        }
        for (item, _) in &inventory.names {
            usage.add(Class::Name, item.bytes, true);
        }
        let shards = items(&self.paths().area("records")).into_iter();
        let records = shards.flat_map(|shard| items(&shard.path));
        for item in records.chain(items(&self.paths().area("operations"))) {
            usage.add(Class::Record, item.bytes, false);
        }
        for item in items(&self.paths().area("quarantine")) {
            usage.add(Class::Leftover, item.bytes, true);
        }
        for path in leftovers::find(self.paths()) {
            usage.add(Class::Leftover, tree_bytes(&path), true);
        }
        Ok(usage)
    }
}

fn add_blobs(usage: &mut Usage, inventory: &Inventory) {
    let image_blobs = inventory.image_blobs();
    let mut owners: BTreeMap<&Digest, Class> = BTreeMap::new();
    for (_, blobs) in &inventory.names {
        owners.extend(blobs.iter().map(|blob| (blob, Class::Name)));
    }
    for layer in inventory.layers.values() {
        owners.extend(layer.blobs.iter().map(|blob| (blob, Class::Layer)));
    }
    owners.extend(image_blobs.iter().map(|blob| (blob, Class::Image)));
    for (digest, item) in &inventory.blobs {
        let class = owners.get(digest).copied().unwrap_or(Class::Loose);
        usage.add(class, item.bytes, class != Class::Image);
    }
}

fn images(inventory: &Inventory) -> Vec<ImageUsage> {
    let mut users: BTreeMap<Digest, u32> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (image, blobs) in &inventory.images {
        // Two names of one image are one user.
        if seen.insert(image.descriptor.digest) {
            for blob in blobs {
                *users.entry(*blob).or_default() += 1;
            }
        }
    }
    let usage = |(image, blobs): &(StoredImage, BTreeSet<Digest>)| {
        let mut usage = ImageUsage {
            image: image.clone(),
            bytes: 0,
            unique: 0,
            missing: 0,
        };
        for blob in blobs {
            match inventory.blobs.get(blob) {
                Some(item) => {
                    usage.bytes += item.bytes;
                    usage.unique += if users.get(blob) == Some(&1) {
                        item.bytes
                    } else {
                        0
                    };
                }
                None => usage.missing += 1,
            }
        }
        usage
    };
    inventory.images.iter().map(usage).collect()
}
