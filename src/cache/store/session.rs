//! A session: what one opened store has in use, so that garbage collection leaves it alone.
//!
//! The session is a file under `sessions/` with an exclusive `flock` for as long as its process
//! lives, and with the digests that it uses appended, 32 bytes each. The protocol, which needs no
//! time and no pid:
//!
//! - a build writes the digest first and looks for the object then; while it writes, it shares the
//!   collector's lock;
//! - a collector reads all pins and moves what is not pinned into the trash, holding its lock alone;
//!   it removes the trash after it has let go.
//!
//! So a pin is either seen by the collector, or written when the object is gone already, and an
//! object that a build has found stays where it is. Temporary files and directories carry the
//! session's name: they are leftovers as soon as nobody holds its lock.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::file;
use super::lock::{self, Lock, Share};
use super::paths::Paths;
use crate::cache::error::{StoreError, at};
use crate::digest::Digest;

/// How long a session without a pin file waits for a running collection.
const COLLECTION_WAIT: Duration = Duration::from_secs(30);

/// How the session keeps the collector away.
#[derive(Debug)]
enum Guard {
    /// By the list of its pins, and the collector's lock to share while adding to it.
    Pins { list: File, collector: File },
    /// By the collector's own lock: on a full or read-only store no list can be kept. `None` if
    /// there is no lock to take (nobody can collect either).
    All { _lock: Option<Lock> },
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    name: String,
    path: PathBuf,
    temps: PathBuf,
    guard: Guard,
    pinned: BTreeSet<Digest>,
    next: AtomicU64,
}

impl Session {
    /// Starts a session in a store that can be written.
    pub(crate) fn start(paths: &Paths) -> Result<Self, StoreError> {
        let dir = paths.area("sessions");
        loop {
            let made = tempfile::Builder::new()
                .prefix("")
                .rand_bytes(8)
                .tempfile_in(&dir)
                .map_err(at!(Create, &dir))?;
            let (file, path) = made
                .keep()
                .map_err(|error| error.error)
                .map_err(at!(Create, &dir))?;
            if !lock::flock(&file, Share::Exclusive).map_err(at!(Lock, &path))?
                || !lock::is_still(&file, &path)
            {
                // A collector took it for a dead one between its making and its locking.
                continue;
            }
            let collector = collector_lock(paths);
            let collector = lock::open(&collector).map_err(at!(Lock, collector))?;
            let guard = Guard::Pins {
                list: file,
                collector,
            };
            return Ok(Self::with(paths, path, guard));
        }
    }

    /// Starts a session that writes nothing.
    pub(crate) fn start_reading(paths: &Paths) -> Result<Self, StoreError> {
        let _lock = hold_collector(paths)?;
        let path = paths.area("sessions").join("reader");
        Ok(Self::with(paths, path, Guard::All { _lock }))
    }

    fn with(paths: &Paths, path: PathBuf, guard: Guard) -> Self {
        let name = path.file_name().unwrap_or_default();
        Self {
            name: name.to_string_lossy().into_owned(),
            path,
            temps: paths.area("tmp"),
            guard,
            pinned: BTreeSet::new(),
            next: AtomicU64::new(0),
        }
    }

    /// A number that this session never gave before.
    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A new path for a temporary file.
    pub(crate) fn temp(&self) -> PathBuf {
        self.temps.join(format!("{}-{}", self.name, self.number()))
    }

    /// A new name for a directory of unpacked files.
    pub(crate) fn dir_name(&self, boot: &str) -> String {
        format!("{boot}-{}-{}", self.name, self.number())
    }

    /// Keeps the object of a digest until the session ends; to be called before looking for it.
    pub(crate) fn pin(&mut self, paths: &Paths, digest: &Digest) -> Result<(), StoreError> {
        // Inserted first: a failure below removes it again or fails the build.
        if !self.pinned.insert(*digest) {
            return Ok(());
        }
        let Guard::Pins { list, collector } = &mut self.guard else {
            return Ok(());
        };
        let path = collector_lock(paths);
        lock::wait(collector, &path, Share::Shared, COLLECTION_WAIT)?;
        let written = list.write_all(digest.as_bytes());
        lock::release(collector).map_err(at!(Lock, path))?;
        match written {
            Ok(()) => Ok(()),
            Err(error) if is_full(&error) => {
                // No room for the pin: keep the collector away altogether.
                let _lock = hold_collector(paths)?;
                self.guard = Guard::All { _lock };
                Ok(())
            }
            Err(source) => {
                self.pinned.remove(digest);
                let (path, written) = (self.path.clone(), 0);
                Err(StoreError::Write {
                    path,
                    written,
                    source,
                })
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.name != "reader" {
            file::discard(&self.path);
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// The lock that a collection holds alone.
pub(crate) fn collector_lock(paths: &Paths) -> PathBuf {
    paths.area("collector.lock")
}

fn hold_collector(paths: &Paths) -> Result<Option<Lock>, StoreError> {
    let path = collector_lock(paths);
    match lock::lock(&path, Share::Shared, COLLECTION_WAIT) {
        Ok(lock) => Ok(Some(lock)),
        Err(busy @ StoreError::Busy { .. }) => Err(busy),
        // A store that nobody can write has no lock file, and no collector.
        Err(_) => Ok(None),
    }
}

/// What all sessions together have in use.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// Names of sessions whose process lives.
    live: BTreeSet<String>,
    /// What they pinned.
    pins: BTreeSet<Digest>,
}

impl Sessions {
    /// Reads all sessions and removes those whose process is gone.
    pub(crate) fn read(paths: &Paths) -> Self {
        let mut sessions = Self::default();
        let dir = paths.area("sessions");
        for name in file::names(&dir) {
            let path = dir.join(&name);
            if remove_if_dead(&path) {
                continue;
            }
            let pins = file::read(&path, u64::MAX).unwrap_or_default();
            let digests = pins
                .chunks_exact(32)
                .filter_map(|bytes| bytes.try_into().ok());
            sessions.pins.extend(digests.map(Digest::from_bytes));
            sessions.live.insert(name);
        }
        sessions
    }

    /// Whether somebody uses the object of this digest.
    pub(crate) fn pins(&self, digest: &Digest) -> bool {
        self.pins.contains(digest)
    }

    /// Whether the session that made a temporary file or directory lives. Names have the form
    /// `[boot-]session-number`.
    pub(crate) fn owns(&self, name: &str) -> bool {
        let mut parts = name.rsplit('-').skip(1);
        parts.next().is_some_and(|name| self.live.contains(name))
    }
}

/// Removes the file of a dead session: one whose lock can be taken.
fn remove_if_dead(path: &Path) -> bool {
    let Ok(file) = file::open(path) else {
        return true;
    };
    let dead = lock::flock(&file, Share::Exclusive).unwrap_or(false);
    if dead && lock::is_still(&file, path) {
        file::discard(path);
    }
    dead
}
