//! Records: in the store first, then in the caches that runners share.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::cache::remote::Remote;
use crate::cache::{Key, Record, Store};
use crate::digest::DiffId;
use crate::event::Reporter;
use crate::executor::{BlobStream, Records};
use crate::failure::Failure;
use crate::planner::ports::CacheProbe;

/// Records of a store and of shared caches.
pub(super) struct Caches<'a> {
    store: &'a Store,
    reporter: &'a Reporter,
    /// `--cache-from`, in order.
    remotes: Vec<Box<dyn Remote>>,
    /// Records that came from a shared cache: which one has their layers.
    found: Mutex<BTreeMap<DiffId, (usize, Record)>>,
    /// Shared caches that failed once are not asked again.
    broken: Mutex<Vec<bool>>,
}

impl std::fmt::Debug for Caches<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Caches").finish_non_exhaustive()
    }
}

impl<'a> Caches<'a> {
    /// A store and shared caches.
    pub(super) fn new(
        store: &'a Store,
        reporter: &'a Reporter,
        remotes: Vec<Box<dyn Remote>>,
    ) -> Self {
        let broken = Mutex::new(vec![false; remotes.len()]);
        Self { store, reporter, remotes, found: Mutex::default(), broken }
    }

    fn from_remotes(&self, key: &Key) -> Option<Record> {
        for (number, remote) in self.remotes.iter().enumerate() {
            if self.broken.lock().unwrap_or_else(PoisonError::into_inner)[number] {
                continue;
            }
            match remote.get(key) {
                Ok(Some(record)) => {
                    let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.insert(record.diff_id, (number, record.clone()));
                    return Some(record);
                }
                Ok(None) => {}
                Err(error) => {
                    self.broken.lock().unwrap_or_else(PoisonError::into_inner)[number] = true;
                    self.reporter
                        .notice(format!("cache {} is not used: {error}", remote.describe()));
                }
            }
        }
        None
    }

    /// Opens a layer that a shared cache has.
    pub(super) fn open(&self, diff_id: &DiffId) -> Result<Option<BlobStream>, Failure> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(diff_id).cloned();
        let Some((number, record)) = found else { return Ok(None) };
        let Some(form) = record.blobs.first() else { return Ok(None) };
        let bytes = self.remotes[number].open(form)?;
        Ok(Some(BlobStream { form: form.clone(), bytes }))
    }

    /// The record by which a layer came from a shared cache, and the repository that has its blob.
    pub(super) fn shared(&self, diff_id: &DiffId) -> Option<(Record, Option<crate::reference::Reference>)> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let (number, record) = found.get(diff_id)?;
        Some((record.clone(), self.remotes[*number].repository()))
    }

    /// The tree index of a layer, if a shared cache has it.
    pub(super) fn tree(&self, diff_id: &DiffId) -> Option<Vec<u8>> {
        let key = crate::cache::remote::tree_key(diff_id);
        let from = self.shared(diff_id).map(|(record, _)| record);
        let record = match from {
            Some(record) if record.tree.is_some() => record,
            _ if self.remotes.is_empty() => return None,
            _ => self.from_remotes(&key)?,
        };
        let number = self.found.lock().unwrap_or_else(PoisonError::into_inner).get(diff_id)?.0;
        self.remotes[number].read_tree(&record)
    }
}

impl CacheProbe for Caches<'_> {
    fn probe(&self, key: &Key) -> Option<Record> {
        self.store.record(key).or_else(|| self.from_remotes(key))
    }

    fn probe_all(&self, keys: &[Key]) -> Vec<Option<Record>> {
        let mut records: Vec<_> = keys.iter().map(|key| self.store.record(key)).collect();
        if self.remotes.is_empty() {
            return records;
        }
        // Round trips overlap; eight at once is polite to a registry.
        let missing: Vec<usize> =
            (0..keys.len()).filter(|index| records[*index].is_none()).collect();
        let share = missing.len().div_ceil(8).max(1);
        let found: Vec<(usize, Option<Record>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = missing
                .chunks(share)
                .map(|part| {
                    scope.spawn(move || {
                        part.iter()
                            .map(|index| (*index, self.from_remotes(&keys[*index])))
                            .collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        });
        for (index, record) in found {
            records[index] = record;
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
