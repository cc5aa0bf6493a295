//! All shared caches of a build.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Remote;
use super::error::RemoteError;
use crate::cache::key::Key;
use crate::cache::record::Record;

/// So many requests are under way at once.
const REQUESTS_MAX: usize = 16;

/// A record that a shared cache has, and where its blobs are.
#[derive(Clone)]
pub struct Found {
    /// The record, verified.
    pub record: Record,
    /// Where it is.
    pub remote: Arc<dyn Remote>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Found({:?} in {})",
            self.record.key,
            self.remote.name()
        )
    }
}

/// The caches to import from, in order of preference.
#[derive(Default)]
pub struct Remotes {
    places: Vec<Place>,
    warnings: Mutex<Vec<String>>,
}

struct Place {
    remote: Arc<dyn Remote>,
    /// Set after the first failure: a build does not wait for a dead cache at every step.
    dead: AtomicBool,
}

impl std::fmt::Debug for Remotes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.places.iter().map(|place| place.remote.name());
        formatter.debug_list().entries(names).finish()
    }
}

impl Remotes {
    /// No cache, or those given.
    pub fn new(remotes: Vec<Arc<dyn Remote>>) -> Self {
        let place = |remote| Place {
            remote,
            dead: AtomicBool::new(false),
        };
        Self {
            places: remotes.into_iter().map(place).collect(),
            warnings: Mutex::default(),
        }
    }

    /// Whether there is none to ask.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Asks for one key. Failures are warnings ([`Remotes::take_warnings`]) and misses.
    pub fn probe(&self, key: &Key) -> Option<Found> {
        self.places.iter().find_map(|place| {
            if place.dead.load(Ordering::Relaxed) {
                return None;
            }
            match place.remote.record(key) {
                Ok(record) => Some(Found {
                    record: record?,
                    remote: Arc::clone(&place.remote),
                }),
                Err(error) => {
                    let first =
                        error.is_of_one_entry() || !place.dead.swap(true, Ordering::Relaxed);
                    if first {
                        self.warn(&error);
                    }
                    None
                }
            }
        })
    }

    /// Asks for many keys at once, with at most 16 requests under way: all keys of a build that do
    /// not depend on what it makes cost one round trip or a few.
    pub fn probe_all(&self, keys: &[Key]) -> BTreeMap<Key, Found> {
        let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        let work = || {
            while let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(hit) = self.probe(key) {
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.insert(*key, hit);
                }
            }
        };
        if !self.is_empty() {
            std::thread::scope(|scope| {
                for _ in 1..keys.len().min(REQUESTS_MAX) {
                    // Fewer threads are slower, not wrong.
                    drop(std::thread::Builder::new().spawn_scoped(scope, work));
                }
                work();
            });
        }
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// What went wrong since the last call, one line each.
    pub fn take_warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut warnings)
    }

    fn warn(&self, error: &RemoteError) {
        let line = format!("cache import: {}", error.line());
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.push(line);
    }
}
