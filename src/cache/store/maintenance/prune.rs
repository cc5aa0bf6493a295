//! Removal of what was not used for longest.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::file;
use super::super::layer;
use super::super::lock::{self, Share};
use super::super::open::Store;
use super::super::paths::{FORMAT, Paths};
use super::super::session::Sessions;
use super::super::{records, remove};
use super::inventory::{Inventory, Item, closure, digest_of, items};
use super::leftovers;
use super::usage::Class;
use crate::cache::error::{StoreError, at};
use crate::cache::key::Key;
use crate::digest::{DiffId, Digest};
use crate::reference::Reference;

/// What is to go. With no limit at all: everything that no image needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrunePolicy {
    /// Remove the longest unused until the cache (all but images) takes at most so many bytes.
    pub max_size: Option<u64>,
    /// Remove only what was not used for so long.
    pub older_than: Option<Duration>,
    /// Also the cached forms of layers that images need: directories, tree indexes, records. The
    /// images stay.
    pub all: bool,
    /// Only these classes; empty means all of them.
    pub classes: BTreeSet<Class>,
}

impl PrunePolicy {
    fn takes(&self, class: Class) -> bool {
        self.classes.is_empty() || self.classes.contains(&class)
    }
}

/// What went.
#[derive(Debug, Default)]
pub struct Pruned {
    /// Number of layers, mounts, indexes, names and blobs.
    pub count: u64,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Objects that stay because a build uses them.
    pub in_use: u64,
    /// Paths in the trash that could not be removed, and why: files of other users need root, or
    /// root of the user namespace that made them (see [`super::super::remove_tree`]).
    pub left: Vec<(PathBuf, io::Error)>,
}

/// Something that can go as a whole.
struct Candidate {
    class: Class,
    used: i64,
    /// Files and directories of its own.
    items: Vec<Item>,
    /// Blobs that it shares with others.
    blobs: BTreeSet<Digest>,
    /// What a build pins it by.
    pin: Option<Digest>,
    /// A lock that its users hold.
    locks: Option<PathBuf>,
}

impl Store {
    /// Removes what the policy names, longest unused first. Builds may run meanwhile: what they use
    /// stays.
    ///
    /// # Errors
    /// [`StoreError::Newer`] if a newer builder keeps things here, [`StoreError::Index`] if the
    /// images cannot be read (nothing is removed then), [`StoreError::Busy`].
    pub fn prune(&self, policy: &PrunePolicy) -> Result<Pruned, StoreError> {
        self.collectable()?;
        self.clean()?;
        let inventory = Inventory::read(self.paths(), self.images()?);
        let chosen = choose(&inventory, policy);
        let mut pruned = Pruned::default();
        {
            let _lock = leftovers::hold(self.paths())?;
            let sessions = Sessions::read(self.paths());
            for candidate in chosen {
                self.trash_candidate(&candidate, &sessions, &mut pruned)?;
            }
            if policy.takes(Class::Leftover) {
                for item in items(&self.paths().area("quarantine")) {
                    self.trash_candidate(&plain(Class::Leftover, &item), &sessions, &mut pruned)?;
                }
            }
            if policy.takes(Class::Loose) {
                self.trash_loose(&sessions, &mut pruned)?;
            }
        }
        pruned.left = leftovers::empty_trash(self.paths());
        self.drop_dead_records();
        Ok(pruned)
    }

    /// Takes a name away and removes the blobs that only its image needed; `None` if there is no
    /// such name. Layers stay in the cache until they are pruned.
    pub fn remove_image(&self, name: &Reference) -> Result<Option<Pruned>, StoreError> {
        self.collectable()?;
        if !self.untag(name)? {
            return Ok(None);
        }
        self.relax()?;
        let mut pruned = Pruned::default();
        {
            let _lock = leftovers::hold(self.paths())?;
            let sessions = Sessions::read(self.paths());
            self.trash_loose(&sessions, &mut pruned)?;
        }
        pruned.left = leftovers::empty_trash(self.paths());
        Ok(Some(pruned))
    }

    /// Refuses to collect beside a newer format, whose references are unknown here.
    fn collectable(&self) -> Result<(), StoreError> {
        self.writable()?;
        let dir = self.root().join("builder");
        match file::names(&dir).into_iter().find(|name| name != FORMAT) {
            Some(newer) => Err(StoreError::Newer {
                path: dir.join(newer),
            }),
            None => Ok(()),
        }
    }

    fn trash_candidate(
        &self,
        candidate: &Candidate,
        sessions: &Sessions,
        pruned: &mut Pruned,
    ) -> Result<(), StoreError> {
        let pinned = candidate.pin.is_some_and(|pin| sessions.pins(&pin));
        if pinned || candidate.locks.as_deref().is_some_and(in_use) {
            pruned.in_use += 1;
            return Ok(());
        }
        for item in &candidate.items {
            let gone = remove::trash(self.paths(), &item.path).map_err(at!(Remove, &item.path))?;
            pruned.bytes += gone.map_or(0, |_| item.bytes);
            self.drop_marks(&item.path);
        }
        pruned.count += 1;
        Ok(())
    }

    /// Removes the marks of an unpacked directory.
    fn drop_marks(&self, path: &Path) {
        if path.parent() == Some(&self.paths().area("dirs"))
            && let Some(name) = path.file_name().and_then(OsStr::to_str)
        {
            file::discard(&self.paths().synced(name));
            file::discard(&self.paths().measured(name));
        }
    }

    /// Moves blobs that nothing refers to into the trash. References are read after the pins: a
    /// build that has ended meanwhile has named its image before.
    fn trash_loose(&self, sessions: &Sessions, pruned: &mut Pruned) -> Result<(), StoreError> {
        let inventory = Inventory::read(self.paths(), self.images()?);
        let mut needed = inventory.image_blobs();
        needed.extend(inventory.names.iter().flat_map(|(_, blobs)| blobs));
        needed.extend(inventory.layers.values().flat_map(|layer| &layer.blobs));
        for digest in inventory.blobs.keys() {
            if !needed.contains(digest) && sessions.pins(digest) {
                pruned.in_use += 1;
                // What a pinned manifest leads to was pinned with it, or is needed through it.
                needed.extend(closure_of(self.paths(), digest));
            }
        }
        for (digest, item) in &inventory.blobs {
            if needed.contains(digest) || sessions.pins(digest) {
                continue;
            }
            let gone = remove::trash(self.paths(), &item.path).map_err(at!(Remove, &item.path))?;
            pruned.bytes += gone.map_or(0, |_| item.bytes);
            pruned.count += 1;
        }
        Ok(())
    }

    /// Removes records whose layer is gone. A record that is written again at this moment costs a
    /// rebuild at worst.
    fn drop_dead_records(&self) {
        let area = self.paths().area("records");
        for shard in file::names(&area) {
            for name in file::names(&area.join(&shard)) {
                let path = area.join(&shard).join(&name);
                let layer = name.parse().ok().and_then(|key: Key| {
                    records::read(self.paths(), &key).map(|record| record.diff_id)
                });
                if !layer.is_some_and(|diff_id| layer::is_available(self.paths(), &diff_id)) {
                    file::discard(&path);
                }
            }
        }
        let operations = self.paths().area("operations");
        for name in file::names(&operations) {
            let path = operations.join(name);
            let alive = |key: &Key| self.paths().record(key).exists();
            if !records::newest(&path).iter().any(alive) {
                file::discard(&path);
            }
        }
    }
}

fn closure_of(paths: &Paths, digest: &Digest) -> BTreeSet<Digest> {
    let descriptor = crate::image::Descriptor::new("", *digest, 0);
    closure(paths, &descriptor)
}

/// Whether somebody holds one of the locks of a cache mount.
fn in_use(mount: &Path) -> bool {
    let locks = file::names(mount).into_iter();
    locks.filter(|name| name.ends_with(".lock")).any(|name| {
        match lock::try_lock(&mount.join(name), Share::Exclusive) {
            Ok(lock) => lock.is_none(),
            Err(_) => true,
        }
    })
}

/// Picks what goes, longest unused first.
fn choose(inventory: &Inventory, policy: &PrunePolicy) -> Vec<Candidate> {
    let mut candidates = candidates(inventory, policy);
    candidates.sort_by_key(|candidate| candidate.used);
    let now = crate::clock::now().0;
    let age = policy
        .older_than
        .map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    let Some(max_size) = policy.max_size else {
        candidates.retain(|candidate| now.saturating_sub(candidate.used) >= age);
        return candidates;
    };
    let mut users = blob_users(inventory);
    let mut total = cache_bytes(inventory, &users);
    let mut chosen = Vec::new();
    for candidate in candidates {
        if total <= max_size || now.saturating_sub(candidate.used) < age {
            continue;
        }
        let mut freed: u64 = candidate.items.iter().map(|item| item.bytes).sum();
        for blob in &candidate.blobs {
            if let Some(count) = users.get_mut(blob) {
                *count -= 1;
                if *count == 0 {
                    freed += inventory.blobs.get(blob).map_or(0, |item| item.bytes);
                }
            }
        }
        total = total.saturating_sub(freed);
        chosen.push(candidate);
    }
    chosen
}

/// How many layers and names need a blob; images need it for ever.
fn blob_users(inventory: &Inventory) -> BTreeMap<Digest, u64> {
    let mut users = BTreeMap::new();
    let layers = inventory.layers.values().flat_map(|layer| &layer.blobs);
    let names = inventory.names.iter().flat_map(|(_, blobs)| blobs);
    for blob in layers.chain(names) {
        *users.entry(*blob).or_insert(0) += 1;
    }
    for blob in inventory.image_blobs() {
        users.insert(blob, u64::MAX);
    }
    users
}

/// Bytes of everything but images.
fn cache_bytes(inventory: &Inventory, users: &BTreeMap<Digest, u64>) -> u64 {
    let layers = inventory.layers.values();
    let layers = layers.map(super::inventory::LayerItem::bytes);
    let blobs = inventory.blobs.iter();
    let blobs =
        blobs.filter(|(digest, _)| users.get(digest).is_some_and(|count| *count < u64::MAX));
    let files = inventory.mounts.iter().chain(&inventory.contexts);
    layers.sum::<u64>()
        + blobs.map(|(_, item)| item.bytes).sum::<u64>()
        + files.map(|item| item.bytes).sum::<u64>()
        + inventory
            .names
            .iter()
            .map(|(item, _)| item.bytes)
            .sum::<u64>()
}

fn candidates(inventory: &Inventory, policy: &PrunePolicy) -> Vec<Candidate> {
    let image_blobs = inventory.image_blobs();
    // A limit is kept by giving up what can be made again, images' layers included.
    let spare_images = !policy.all && policy.max_size.is_none() && policy.older_than.is_none();
    let mut candidates = Vec::new();
    for (DiffId(diff_id), layer) in &inventory.layers {
        if spare_images && layer.blobs.iter().any(|blob| image_blobs.contains(blob)) {
            continue;
        }
        candidates.push(Candidate {
            class: Class::Layer,
            used: layer.faces.used,
            items: layer.items().cloned().collect(),
            blobs: layer.blobs.clone(),
            pin: Some(*diff_id),
            locks: None,
        });
    }
    for mount in &inventory.mounts {
        candidates.push(Candidate {
            pin: digest_of(&mount.path),
            locks: Some(mount.path.clone()),
            ..plain(Class::Mount, mount)
        });
    }
    candidates.extend(
        inventory
            .contexts
            .iter()
            .map(|item| plain(Class::Context, item)),
    );
    for (item, blobs) in &inventory.names {
        let blobs = blobs.clone();
        candidates.push(Candidate {
            blobs,
            ..plain(Class::Name, item)
        });
    }
    candidates.retain(|one| policy.takes(one.class));
    candidates
}

fn plain(class: Class, item: &Item) -> Candidate {
    Candidate {
        class,
        used: item.used,
        items: vec![item.clone()],
        blobs: BTreeSet::new(),
        pin: None,
        locks: None,
    }
}
