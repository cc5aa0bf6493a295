//! Locks between processes: `flock`, which belongs to the open file, ends with its holder however
//! that ends, and needs no file to be removed by anybody.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};

use super::file;
use crate::cache::error::{StoreError, at};
use crate::clock::Stopwatch;

/// How much of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// With others.
    Shared,
    /// Alone.
    Exclusive,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    /// The file to remove on release, for locks that have one each.
    remove: Option<PathBuf>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while still locked: whoever opened the old file meanwhile notices (see
        // `try_lock`) and opens the new one.
        if let Some(path) = &self.remove {
            file::discard(path);
        }
    }
}

/// Opens a lock file, making it where needed.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let open = || rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o600));
    Ok(file::with_parent(path, || Ok(open()?))?.into())
}

/// Takes a lock if nobody holds it; the file stays. It is made where needed.
pub(crate) fn try_lock(path: &Path, share: Share) -> Result<Option<Lock>, StoreError> {
    loop {
        let file = open(path).map_err(at!(Lock, path))?;
        if !flock(&file, share).map_err(at!(Lock, path))? {
            return Ok(None);
        }
        if is_still(&file, path) {
            let remove = None;
            return Ok(Some(Lock { file, remove }));
        }
    }
}

/// Takes a lock whose file is removed when it is released.
pub(crate) fn try_lock_once(path: &Path) -> Result<Option<Lock>, StoreError> {
    let lock = try_lock(path, Share::Exclusive)?;
    Ok(lock.map(|mut lock| {
        lock.remove = Some(path.to_owned());
        lock
    }))
}

/// Waits for a lock, at most `limit`; then [`StoreError::Busy`].
pub(crate) fn lock(path: &Path, share: Share, limit: Duration) -> Result<Lock, StoreError> {
    let file = open(path).map_err(at!(Lock, path))?;
    wait(&file, path, share, limit)?;
    Ok(Lock { file, remove: None })
}

/// Waits for the lock of an open file that nobody removes.
pub(crate) fn wait(
    file: &File,
    path: &Path,
    share: Share,
    limit: Duration,
) -> Result<(), StoreError> {
    if flock(file, share).map_err(at!(Lock, path))? {
        return Ok(());
    }
    let (clock, mut pause) = (Stopwatch::start(), Pause::default());
    loop {
        pause.sleep();
        if flock(file, share).map_err(at!(Lock, path))? {
            return Ok(());
        }
        if clock.elapsed() > limit {
            return Err(StoreError::Busy {
                path: path.to_owned(),
            });
        }
    }
}

/// Gives the lock of an open file back.
pub(crate) fn release(file: &File) -> io::Result<()> {
    Ok(rustix::fs::flock(file, FlockOperation::Unlock)?)
}

/// Locks an open file; `false` if somebody else has it.
pub(crate) fn flock(file: &File, share: Share) -> io::Result<bool> {
    let operation = match share {
        Share::Shared => FlockOperation::NonBlockingLockShared,
        Share::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    loop {
        match rustix::fs::flock(file, operation) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the path still names the open file: a holder removes its file before it lets go.
pub(crate) fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => open.ino() == named.ino() && open.dev() == named.dev(),
        _ => false,
    }
}

impl Lock {
    /// Writes who holds the lock, for those who wait. Best effort.
    pub(crate) fn sign(&mut self, text: &str) {
        drop(self.file.set_len(0));
        drop(self.file.write_all(text.as_bytes()));
    }
}

/// What the holder of a lock wrote about itself, at most 200 characters, without control
/// characters.
pub(crate) fn holder(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    let file = file::open(path).ok()?;
    file.take(800).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    (!text.is_empty()).then_some(text)
}

/// Growing pauses between looks at a lock: 1 ms at first, 50 ms at most.
#[derive(Debug, Default)]
pub(crate) struct Pause(u32);

impl Pause {
    pub(crate) fn sleep(&mut self) {
        std::thread::sleep(
            Duration::from_millis(1 << self.0.min(5)).min(Duration::from_millis(50)),
        );
        self.0 += 1;
    }
}
