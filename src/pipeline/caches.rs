//! Records: in the store first, then in the caches that runners share.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

use crate::cache::remote::{Found, Remotes};
use crate::cache::{Key, Record, Store};
use crate::digest::{DiffId, VerifiedReader};
use crate::event::Reporter;
use crate::executor::{BlobStream, Records};
use crate::failure::Failure;
use crate::planner::ports::CacheProbe;
use crate::reference::Reference;
use crate::tree::TREE_FORMAT;

/// The largest tree index that is fetched, in bytes.
const TREE_BYTES_MAX: u64 = 256 << 20;

/// Records of a store and of shared caches.
#[derive(Debug)]
pub(super) struct Caches<'a> {
    store: &'a Store,
    reporter: &'a Reporter,
    remotes: Remotes,
    /// Layers that a shared cache has.
    found: Mutex<BTreeMap<DiffId, Found>>,
}

impl<'a> Caches<'a> {
    /// A store and shared caches.
    pub(super) fn new(store: &'a Store, reporter: &'a Reporter, remotes: Remotes) -> Self {
        Self {
            store,
            reporter,
            remotes,
            found: Mutex::default(),
        }
    }

    fn learn(&self, found: Found) -> Record {
        let record = found.record.clone();
        let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(record.diff_id, found);
        record
    }

    fn known(&self, diff_id: &DiffId) -> Option<Found> {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(diff_id)
            .cloned()
    }

    /// Opens a layer that a shared cache has.
    pub(super) fn open(&self, diff_id: &DiffId) -> Result<Option<BlobStream>, Failure> {
        let Some(found) = self.known(diff_id) else {
            return Ok(None);
        };
        let Some(form) = found.record.blobs.first() else {
            return Ok(None);
        };
        let bytes = found.remote.open_blob(form)?;
        let bytes = Box::new(VerifiedReader::new(bytes, form.digest, form.size));
        Ok(Some(BlobStream {
            form: form.clone(),
            bytes,
        }))
    }

    /// The record by which a layer came from a shared cache, and the repository that has its blob.
    pub(super) fn shared(&self, diff_id: &DiffId) -> Option<(Record, Option<Reference>)> {
        let found = self.known(diff_id)?;
        Some((found.record, found.remote.location()))
    }

    /// The tree index of a layer, if a shared cache has it.
    pub(super) fn tree(&self, diff_id: &DiffId) -> Option<Vec<u8>> {
        if self.remotes.is_empty() {
            return None;
        }
        let known = self
            .known(diff_id)
            .filter(|found| found.record.tree.is_some());
        let found = match known {
            Some(found) => found,
            None => self
                .remotes
                .probe(&Record::tree_material(diff_id, TREE_FORMAT).key())?,
        };
        let form = found
            .record
            .tree
            .as_ref()
            .filter(|form| form.size <= TREE_BYTES_MAX)?;
        let bytes = found.remote.open_blob(form).ok()?;
        let mut bytes = VerifiedReader::new(bytes, form.digest, form.size);
        let mut tree = Vec::new();
        bytes.read_to_end(&mut tree).ok()?;
        Some(tree)
    }

    fn tell(&self) {
        for warning in self.remotes.take_warnings() {
            self.reporter.notice(warning);
        }
    }
}

impl CacheProbe for Caches<'_> {
    fn probe(&self, key: &Key) -> Option<Record> {
        if let Some(record) = self.store.record(key) {
            return Some(record);
        }
        let found = self.remotes.probe(key);
        self.tell();
        found.map(|found| self.learn(found))
    }

    fn probe_all(&self, keys: &[Key]) -> Vec<Option<Record>> {
        let mut records: Vec<_> = keys.iter().map(|key| self.store.record(key)).collect();
        if self.remotes.is_empty() {
            return records;
        }
        let pairs = keys.iter().zip(&records);
        let missing: Vec<Key> = pairs
            .filter(|(_, record)| record.is_none())
            .map(|(key, _)| *key)
            .collect();
        let mut found = self.remotes.probe_all(&missing);
        self.tell();
        for (record, key) in records.iter_mut().zip(keys) {
            if record.is_none() {
                *record = found.remove(key).map(|found| self.learn(found));
            }
        }
        records
    }

    fn similar(&self, operation: &Key) -> Vec<Record> {
        self.store.similar(operation)
    }
}

impl Records for Caches<'_> {
    fn probe(&self, key: &Key) -> Option<Record> {
        CacheProbe::probe(self, key)
    }

    fn similar(&self, operation: &Key) -> bool {
        !self.store.similar(operation).is_empty()
    }
}
