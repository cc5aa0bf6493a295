//! Cache mounts: directories that RUN steps keep between builds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::claim::{Patience, Waiting};
use super::file;
use super::layer;
use super::lock::{self, Lock, Pause, Share};
use super::open::Store;
use super::remove;
use crate::cache::error::{StoreError, at};
use crate::clock::Stopwatch;
use crate::digest::Digest;

/// `sharing=` of `RUN --mount=type=cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Many users at once.
    Shared,
    /// One user; a second one gets a directory of its own.
    Private,
    /// One user; a second one waits.
    Locked,
}

/// A cache mount in use.
#[derive(Debug)]
pub struct CacheMountLease {
    path: PathBuf,
    fresh: bool,
    #[expect(dead_code, reason = "held, never read")]
    lock: Lock,
}

impl CacheMountLease {
    /// The directory to mount.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was made just now: it is empty, mode 0755, and its first content (`from=`,
    /// `mode=`, `uid=`) is to be set.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }
}

impl Store {
    /// Takes the cache mount named by `id`, a digest of all that tells it from others. It stays on
    /// the disk between builds. While another step holds it (only `locked`), `wait` is asked every
    /// few milliseconds what to do; [`Patience::Proceed`] gives a directory of its own.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`] if `wait` says so, [`StoreError::Lock`], [`StoreError::Create`].
    pub fn cache_mount(
        &self,
        id: &Digest,
        sharing: Sharing,
        mut wait: impl FnMut(&Waiting) -> Patience,
    ) -> Result<CacheMountLease, StoreError> {
        self.writable()?;
        self.pin(id)?;
        self.relax()?;
        let dir = self.paths().area("mounts").join(id.hex());
        let share = match sharing {
            Sharing::Shared => Share::Shared,
            Sharing::Private | Sharing::Locked => Share::Exclusive,
        };
        let (clock, mut pause) = (Stopwatch::start(), Pause::default());
        let mut alone = sharing != Sharing::Locked;
        let mut instance = 0_u32;
        loop {
            let path = dir.join(instance.to_string());
            let lock_path = dir.join(format!("{instance}.lock"));
            if let Some(lock) = lock::try_lock(&lock_path, share)? {
                layer::touch(&dir);
                return enter(path, lock);
            }
            if alone {
                instance += 1;
                continue;
            }
            let (holder, elapsed) = (None, clock.elapsed());
            match wait(&Waiting { holder, elapsed }) {
                Patience::Wait => pause.sleep(),
                Patience::Proceed => alone = true,
                Patience::Cancel => return Err(StoreError::Cancelled),
            }
        }
    }
}

impl Store {
    /// Makes the cache mount named by `id` empty, as `--no-cache` has it: who takes it next finds it fresh. A
    /// directory that somebody uses now stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Lock`], [`StoreError::Remove`].
    pub fn empty_cache_mount(&self, id: &Digest) -> Result<(), StoreError> {
        self.writable()?;
        let dir = self.paths().area("mounts").join(id.hex());
        for instance in 0_u32.. {
            let path = dir.join(instance.to_string());
            if !path.is_dir() {
                break;
            }
            let lock_path = dir.join(format!("{instance}.lock"));
            if let Some(_lock) = lock::try_lock(&lock_path, Share::Exclusive)? {
                remove::discard_dir(self.paths(), &path).map_err(at!(Remove, &path))?;
            }
        }
        Ok(())
    }
}

fn enter(path: PathBuf, lock: Lock) -> Result<CacheMountLease, StoreError> {
    let fresh = !path.is_dir();
    if fresh {
        file::make_dir(&path).map_err(at!(Create, &path))?;
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, mode).map_err(at!(Create, &path))?;
    }
    Ok(CacheMountLease { path, fresh, lock })
}
