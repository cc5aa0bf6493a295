//! A session: what one opened store has in use, so that garbage collection leaves it alone.
//!
//! A build *pins* the digest of an object before it looks for it. While it looks, it shares the
//! collector's lock, and nothing can go. Before it does anything that takes long it writes its pins
//! into its list (`sessions/<name>`, with an exclusive `flock` for as long as the process lives) and
//! gives the lock back. A collector reads all lists and moves what is not pinned into the trash,
//! holding its lock alone; it empties the trash after it has let go.
//!
//! So a pin is either seen by the collector, or made when the object is gone already, and an object
//! that a build has found stays where it is: without clocks, without pids. A build that finds
//! everything takes one lock and writes nothing. A list that cannot be written (full disk, read-only
//! store) keeps the lock shared until the store is closed.
//!
//! Temporary files and directories carry the session's name: they are leftovers as soon as nobody
//! holds its lock.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file;
use super::lock::{self, Share};
use super::open::initialize;
use super::paths::Paths;
use crate::cache::error::{StoreError, at};
use crate::clock::Stopwatch;
use crate::digest::Digest;

/// How long a build waits for a running collection, which only renames while it holds its lock.
const COLLECTION_WAIT: Duration = Duration::from_mins(1);
/// A build that has looked for things for so long lets collections in between.
const HOLD_MAX: Duration = Duration::from_secs(1);

/// The file that a living session keeps locked.
#[derive(Debug)]
struct List {
    name: String,
    path: PathBuf,
    file: File,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    temps: PathBuf,
    writable: bool,
    /// `None` until the first temporary file, or the first pin that must be written.
    list: Option<List>,
    /// The collector's lock, once it was opened.
    collector: Option<File>,
    /// Since when it is shared.
    held: Option<Stopwatch>,
    pinned: BTreeSet<Digest>,
    unwritten: Vec<u8>,
    next: u64,
}

impl Session {
    pub(crate) fn new(paths: &Paths, writable: bool) -> Self {
        Self {
            temps: paths.area("tmp"),
            writable,
            list: None,
            collector: None,
            held: None,
            pinned: BTreeSet::new(),
            unwritten: Vec::new(),
            next: 0,
        }
    }

    /// A new path for a temporary file.
    pub(crate) fn temp(&mut self, paths: &Paths) -> Result<PathBuf, StoreError> {
        let name = self.unique(paths)?;
        Ok(self.temps.join(name))
    }

    /// A new name for a directory of unpacked files.
    pub(crate) fn dir_name(&mut self, paths: &Paths, boot: &str) -> Result<String, StoreError> {
        Ok(format!("{boot}-{}", self.unique(paths)?))
    }

    /// A name that was never given before.
    fn unique(&mut self, paths: &Paths) -> Result<String, StoreError> {
        self.next += 1;
        let next = self.next;
        let list = self.list(paths)?;
        Ok(format!("{}-{next}", list.name))
    }

    fn list(&mut self, paths: &Paths) -> Result<&mut List, StoreError> {
        let list = match self.list.take() {
            Some(list) => list,
            None => start(paths)?,
        };
        Ok(self.list.insert(list))
    }

    /// Keeps the object of a digest until the session ends; to be called before looking for it.
    pub(crate) fn pin(&mut self, paths: &Paths, digest: &Digest) -> Result<(), StoreError> {
        if self.pinned.contains(digest) {
            return Ok(());
        }
        match &self.held {
            None => self.hold(paths)?,
            Some(since) if since.elapsed() > HOLD_MAX => {
                self.relax(paths)?;
                self.hold(paths)?;
            }
            Some(_) => {}
        }
        self.pinned.insert(*digest);
        self.unwritten.extend_from_slice(digest.as_bytes());
        Ok(())
    }

    fn hold(&mut self, paths: &Paths) -> Result<(), StoreError> {
        if self.held.is_some() {
            return Ok(());
        }
        let path = collector_lock(paths);
        let collector = match (self.collector.take(), self.writable) {
            (Some(file), _) => file,
            (None, true) => lock::open(&path).map_err(at!(Lock, &path))?,
            // A store that nobody ever wrote to has no lock, and no collector.
            (None, false) => match file::open(&path) {
                Ok(file) => file,
                Err(_) => return Ok(()),
            },
        };
        let collector = self.collector.insert(collector);
        lock::wait(collector, &path, Share::Shared, COLLECTION_WAIT)?;
        self.held = Some(Stopwatch::start());
        Ok(())
    }

    /// Writes the pins and gives the collector's lock back, before something that takes long.
    pub(crate) fn relax(&mut self, paths: &Paths) -> Result<(), StoreError> {
        if self.held.is_none() || !self.writable {
            return Ok(());
        }
        let pins = std::mem::take(&mut self.unwritten);
        let written = self.list(paths).and_then(|list| {
            list.file.write_all(&pins).map_err(|source| {
                let (path, written) = (list.path.clone(), 0);
                StoreError::Write {
                    path,
                    written,
                    source,
                }
            })
        });
        match written {
            Ok(()) => {}
            Err(error) if is_full(&error) => {
                // No room for the pins: the collector stays away. (A torn list pins what is not
                // there, at worst.)
                self.unwritten = pins;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        if let Some(collector) = &self.collector {
            lock::release(collector).map_err(at!(Lock, collector_lock(paths)))?;
        }
        self.held = None;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(list) = &self.list {
            file::discard(&list.path);
        }
    }
}

/// Makes a list and locks it, making the store's first directories if need be.
fn start(paths: &Paths) -> Result<List, StoreError> {
    let dir = paths.area("sessions");
    let made = || {
        tempfile::Builder::new()
            .prefix("")
            .rand_bytes(8)
            .tempfile_in(&dir)
    };
    loop {
        let temp = match made() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                initialize(paths)?;
                made()
            }
            result => result,
        };
        let kept = temp.and_then(|temp| temp.keep().map_err(|error| error.error));
        let (file, path) = kept.map_err(at!(Create, &dir))?;
        // A collector may take it for a dead one between its making and its locking.
        if lock::flock(&file, Share::Exclusive).map_err(at!(Lock, &path))?
            && lock::is_still(&file, &path)
        {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.into_owned();
            return Ok(List { name, path, file });
        }
    }
}

fn is_full(error: &StoreError) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error {
        StoreError::Create { source, .. } | StoreError::Write { source, .. } => {
            matches!(
                source.kind(),
                StorageFull | QuotaExceeded | ReadOnlyFilesystem
            )
        }
        _ => false,
    }
}

/// The lock that a collection holds alone.
pub(crate) fn collector_lock(paths: &Paths) -> PathBuf {
    paths.area("collector.lock")
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

/// Whether a session is there whose process is gone.
pub(crate) fn has_dead(paths: &Paths) -> bool {
    let dir = paths.area("sessions");
    let is_dead = |name: &String| {
        file::open(&dir.join(name))
            .is_ok_and(|file| lock::flock(&file, Share::Exclusive).unwrap_or(false))
    };
    file::names(&dir).iter().any(is_dead)
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
