//! The layers that a step stands on, some of them still being written.
//!
//! A RUN's changes are a directory at once and a digest later: the next RUN may start on the
//! directory while other threads hash it. A [`Cell`] is one layer of which the directory, the
//! diff id, or both are known.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::digest::DiffId;

/// The layer will never be known: writing it failed, and the failure was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

#[derive(Clone, Copy, Debug)]
enum State {
    Pending,
    Known(DiffId),
    Lost,
}

/// One layer.
#[derive(Debug)]
pub struct Cell {
    /// The directory that a RUN left, usable before the diff id is known.
    frozen: Option<PathBuf>,
    state: Mutex<State>,
    settled: Condvar,
}

impl Cell {
    /// A layer that is known.
    pub fn known(diff_id: DiffId) -> Arc<Self> {
        Self::with(None, State::Known(diff_id))
    }

    /// A layer whose directory is complete and whose diff id is being computed.
    pub fn pending(frozen: PathBuf) -> Arc<Self> {
        Self::with(Some(frozen), State::Pending)
    }

    fn with(frozen: Option<PathBuf>, state: State) -> Arc<Self> {
        Arc::new(Self {
            frozen,
            state: Mutex::new(state),
            settled: Condvar::new(),
        })
    }

    /// The directory that a RUN left.
    pub fn frozen(&self) -> Option<&PathBuf> {
        self.frozen.as_ref()
    }

    /// Waits for the diff id.
    pub fn diff_id(&self) -> Result<DiffId, Lost> {
        let mut state = self.lock();
        loop {
            match *state {
                State::Known(diff_id) => return Ok(diff_id),
                State::Lost => return Err(Lost),
                State::Pending => {
                    state = self
                        .settled
                        .wait(state)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Whether the diff id is known, or never will be.
    pub fn is_settled(&self) -> bool {
        !matches!(*self.lock(), State::Pending)
    }

    /// Says what the layer is.
    pub fn settle(&self, outcome: Result<DiffId, Lost>) {
        *self.lock() = outcome.map_or(State::Lost, State::Known);
        self.settled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Layers from the bottom up.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    cells: Vec<Arc<Cell>>,
    /// Whether the layers have the form of Windows images.
    is_windows: bool,
}

impl Chain {
    /// The layers, bottom first.
    pub fn cells(&self) -> &[Arc<Cell>] {
        &self.cells
    }

    /// The same with one more layer on top.
    #[must_use]
    pub fn with(&self, cell: Arc<Cell>) -> Self {
        let mut chain = self.clone();
        chain.cells.push(cell);
        chain
    }

    /// The same as layers of an image for an operating system.
    #[must_use]
    pub fn of_os(self, os: &str) -> Self {
        let is_windows = os == "windows";
        Self { is_windows, ..self }
    }

    /// Whether the layers have the form of Windows images.
    pub fn is_windows(&self) -> bool {
        self.is_windows
    }

    /// Waits for all diff ids.
    pub fn diff_ids(&self) -> Result<Vec<DiffId>, Lost> {
        self.cells.iter().map(|cell| cell.diff_id()).collect()
    }
}

impl FromIterator<Arc<Cell>> for Chain {
    fn from_iter<I: IntoIterator<Item = Arc<Cell>>>(cells: I) -> Self {
        Self {
            cells: cells.into_iter().collect(),
            is_windows: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_pending_layer_is_known_to_all_who_wait() {
        let cell = Cell::pending(PathBuf::from("/x"));
        let diff_id = DiffId(Digest::of(b"x"));
        let waiting = std::thread::spawn({
            let chain = Chain::default().with(Arc::clone(&cell));
            move || chain.diff_ids()
        });
        cell.settle(Ok(diff_id));
        assert_eq!(waiting.join().unwrap(), Ok(vec![diff_id]));
    }

    #[test]
    fn a_lost_layer_ends_the_wait() {
        let cell = Cell::pending(PathBuf::from("/x"));
        cell.settle(Err(Lost));
        assert_eq!(cell.diff_id(), Err(Lost));
    }
}
