//! The layers that a step stands on, some of them still being written.
//!
//! A RUN's changes are a directory at once and a digest later: the next RUN may start on the
//! directory while other threads hash it. A [`Cell`] is one layer of which the directory, the
//! identity, or both are known.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::digest::DiffId;

/// What a layer is called and how big it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Bytes of its tar.
    pub size: u64,
}

/// The layer will never be known: writing it failed, and the failure was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

#[derive(Clone, Copy, Debug)]
enum State {
    Pending,
    Known(Identity),
    Lost,
}

/// One layer.
#[derive(Debug)]
pub struct Cell {
    /// The directory that a RUN left, usable before the identity is known.
    frozen: Option<PathBuf>,
    state: Mutex<State>,
    settled: Condvar,
}

impl Cell {
    /// A layer that is known.
    pub fn known(identity: Identity) -> Arc<Self> {
        Self::with(None, State::Known(identity))
    }

    /// A layer whose directory is complete and whose identity is being computed.
    pub fn pending(frozen: PathBuf) -> Arc<Self> {
        Self::with(Some(frozen), State::Pending)
    }

    fn with(frozen: Option<PathBuf>, state: State) -> Arc<Self> {
        Arc::new(Self { frozen, state: Mutex::new(state), settled: Condvar::new() })
    }

    /// The directory that a RUN left.
    pub fn frozen(&self) -> Option<&PathBuf> {
        self.frozen.as_ref()
    }

    /// Waits for the identity.
    pub fn identity(&self) -> Result<Identity, Lost> {
        let mut state = self.lock();
        loop {
            match *state {
                State::Known(identity) => return Ok(identity),
                State::Lost => return Err(Lost),
                State::Pending => {
                    state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Says what the layer is.
    pub fn settle(&self, outcome: Result<Identity, Lost>) {
        *self.lock() = outcome.map_or(State::Lost, State::Known);
        self.settled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Layers from the bottom up.
#[derive(Clone, Debug, Default)]
pub struct Chain(Vec<Arc<Cell>>);

impl Chain {
    /// The layers, bottom first.
    pub fn cells(&self) -> &[Arc<Cell>] {
        &self.0
    }

    /// The same with one more layer on top.
    #[must_use]
    pub fn with(&self, cell: Arc<Cell>) -> Self {
        let mut cells = self.0.clone();
        cells.push(cell);
        Self(cells)
    }

    /// Waits for all identities.
    pub fn identities(&self) -> Result<Vec<Identity>, Lost> {
        self.0.iter().map(|cell| cell.identity()).collect()
    }
}

impl FromIterator<Arc<Cell>> for Chain {
    fn from_iter<I: IntoIterator<Item = Arc<Cell>>>(cells: I) -> Self {
        Self(cells.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_pending_layer_is_known_to_all_who_wait() {
        let cell = Cell::pending(PathBuf::from("/x"));
        let identity = Identity { diff_id: DiffId(Digest::of(b"x")), size: 1 };
        let waiting = std::thread::spawn({
            let chain = Chain::default().with(Arc::clone(&cell));
            move || chain.identities()
        });
        cell.settle(Ok(identity));
        assert_eq!(waiting.join().unwrap(), Ok(vec![identity]));
    }

    #[test]
    fn a_lost_layer_ends_the_wait() {
        let cell = Cell::pending(PathBuf::from("/x"));
        cell.settle(Err(Lost));
        assert_eq!(cell.identity(), Err(Lost));
    }
}
