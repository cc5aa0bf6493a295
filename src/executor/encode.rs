//! Compression of the layers of targets, on a thread of its own while other steps still run.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Executor;
use super::chain::Chain;
use crate::failure::Failure;

/// Layers waiting to be compressed.
#[derive(Debug, Default)]
pub(crate) struct Encoders {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    chains: Vec<Chain>,
    closed: bool,
}

impl Encoders {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the top layer of a chain.
    pub(crate) fn submit(&self, chain: Chain) {
        self.lock().chains.push(chain);
        self.changed.notify_one();
    }

    /// No more will come.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn next(&self) -> Option<Chain> {
        let mut queue = self.lock();
        loop {
            if !queue.chains.is_empty() {
                return Some(queue.chains.remove(0));
            }
            if queue.closed {
                return None;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Executor<'_> {
    /// Compresses queued layers until the queue is closed. Failures are kept for the end: the
    /// layers themselves are good.
    pub(crate) fn encode_queued(&self) -> Result<(), Failure> {
        let mut seen = BTreeSet::new();
        while let Some(chain) = self.encoders.next() {
            let Some(cell) = chain.cells().last() else {
                continue;
            };
            let Ok(diff_id) = cell.diff_id() else {
                continue;
            };
            let Some(encoding) = self.input.options.encoding else {
                continue;
            };
            if seen.insert(diff_id) && !self.input.cancel.is_cancelled() {
                self.faces.blob(diff_id, encoding)?;
            }
        }
        Ok(())
    }
}
