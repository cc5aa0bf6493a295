//! Claims: two builders never run the same step at once.

use std::time::Duration;

use super::lock::{self, Lock, Pause};
use super::open::Store;
use crate::cache::error::StoreError;
use crate::cache::key::Key;
use crate::cache::record::Record;
use crate::clock::Stopwatch;

/// What became of a claim.
#[derive(Debug)]
pub enum Claim {
    /// The step was done, here or meanwhile by another builder.
    Hit(Record),
    /// The step is to be done by the holder of the lease.
    Miss(Lease),
}

/// The right to do a step. Dropped without [`Lease::commit`] it leaves nothing, and the next one
/// who waits gets it.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    key: Key,
    /// `None` if the step is done without the right: after waiting too long, or on a store that
    /// cannot be written.
    lock: Option<Lock>,
}

/// How it stands with a claim that another builder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What the holder says about itself: `process 4711, RUN make`.
    pub holder: Option<String>,
    /// How long this claim has waited.
    pub elapsed: Duration,
}

/// Whether to go on waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Wait on.
    Wait,
    /// Do the step without waiting: the holder may be stopped.
    Proceed,
    /// Stop: the build is cancelled.
    Cancel,
}

impl Store {
    /// Takes the right to do a step, or learns that it is done. `name` tells others what is being
    /// done. While another builder does it, `wait` is asked every few milliseconds what to do.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`] if `wait` says so; [`StoreError::Lock`] where there are no locks.
    pub fn claim(
        &self,
        key: &Key,
        name: &str,
        mut wait: impl FnMut(&Waiting) -> Patience,
    ) -> Result<Claim, StoreError> {
        if let Some(record) = self.record(key) {
            return Ok(Claim::Hit(record));
        }
        if self.writable().is_err() {
            return Ok(Claim::Miss(self.lease(key, None)));
        }
        self.relax()?;
        let path = self.paths().claim(key);
        let (clock, mut pause) = (Stopwatch::start(), Pause::default());
        loop {
            if let Some(mut lock) = lock::try_lock_once(&path)? {
                // The last holder may have committed between the look above and the lock.
                if let Some(record) = self.record(key) {
                    return Ok(Claim::Hit(record));
                }
                lock.sign(&format!("process {}, {name}", std::process::id()));
                return Ok(Claim::Miss(self.lease(key, Some(lock))));
            }
            let (holder, elapsed) = (lock::holder(&path), clock.elapsed());
            match wait(&Waiting { holder, elapsed }) {
                Patience::Wait => pause.sleep(),
                Patience::Proceed => return Ok(Claim::Miss(self.lease(key, None))),
                Patience::Cancel => return Err(StoreError::Cancelled),
            }
            if let Some(record) = self.record(key) {
                return Ok(Claim::Hit(record));
            }
        }
    }

    fn lease(&self, key: &Key, lock: Option<Lock>) -> Lease {
        Lease {
            store: self.clone(),
            key: *key,
            lock,
        }
    }
}

impl Lease {
    /// The key that was claimed.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Whether the step is done by this holder alone.
    pub fn is_exclusive(&self) -> bool {
        self.lock.is_some()
    }

    /// Writes the record of the step, whose layer is in the store by now, and lets others go on as
    /// soon as they can see it. Gives the record that stands for the key: this one, or one that was
    /// there first.
    pub fn commit(self, record: Record) -> Result<Record, StoreError> {
        self.store.commit_claimed(record, self.lock)
    }
}
