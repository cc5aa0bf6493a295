//! Opening a store, and what its parts share.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use super::committer::Committer;
use super::paths::Paths;
use super::session::Session;
use super::{file, remove};
use crate::cache::error::{StoreError, at};
use crate::digest::Digest;

/// What an opener wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Use and add.
    ReadWrite,
    /// Use only; every attempt to add is [`StoreError::ReadOnly`].
    ReadOnly,
}

/// An open store. Clones are handles to the same one; the last one that goes away publishes what
/// is still being written and ends the session.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    paths: Paths,
    access: Access,
    committer: Committer,
    /// Directories that lost against another builder's; their users end with this process.
    doomed: Mutex<Vec<PathBuf>>,
    /// Last, so that it outlives what it protects.
    session: Mutex<Session>,
}

impl Store {
    /// Opens the store at `root`, an absolute path. Costs one system call and makes nothing: the
    /// directory comes into being with the first thing that is put into it.
    ///
    /// # Errors
    /// [`StoreError::Owner`] if it belongs to somebody else, [`StoreError::ReadOnly`] if it was to
    /// be written and cannot be, [`StoreError::Open`] if it is no directory.
    pub fn open(root: impl AsRef<Path>, access: Access) -> Result<Self, StoreError> {
        let paths = Paths::new(root.as_ref());
        let reading = rustix::fs::Access::READ_OK | rustix::fs::Access::EXEC_OK;
        let wanted = match access {
            Access::ReadWrite => reading | rustix::fs::Access::WRITE_OK,
            Access::ReadOnly => reading,
        };
        match rustix::fs::accessat(CWD, paths.base(), wanted, AtFlags::EACCESS) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(refusal(paths.root(), access, error)),
        }
        Ok(Self {
            inner: Arc::new(Inner {
                committer: Committer::new(paths.clone()),
                session: Mutex::new(Session::new(&paths, access == Access::ReadWrite)),
                paths,
                access,
                doomed: Mutex::default(),
            }),
        })
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        self.inner.paths.root()
    }

    /// What it was opened for.
    pub fn access(&self) -> Access {
        self.inner.access
    }

    /// Waits until everything put into the store so far is durable and published. To be called
    /// before anything outside the store refers to its content; tagging does it by itself.
    ///
    /// # Errors
    /// The first failure to write, from then on at every call: what failed is not in the store.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.inner.committer.flush()
    }

    pub(super) fn paths(&self) -> &Paths {
        &self.inner.paths
    }

    pub(super) fn committer(&self) -> &Committer {
        &self.inner.committer
    }

    /// Refuses to write into a store that was opened for reading.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        match self.inner.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(StoreError::ReadOnly {
                path: self.root().to_owned(),
            }),
        }
    }

    /// A new path for a temporary file of this session.
    pub(super) fn temp(&self) -> Result<PathBuf, StoreError> {
        self.writable()?;
        self.with_session(|session| session.temp(&self.inner.paths))
    }

    /// A new name for a directory of unpacked files; the caller makes it.
    pub(super) fn new_dir(&self) -> Result<String, StoreError> {
        self.writable()?;
        let boot = self.paths().boot();
        self.with_session(|session| session.dir_name(&self.inner.paths, boot))
    }

    /// Lets collections in: a builder that has just looked for things keeps them out until it does
    /// something that takes long. Most operations that do call this by themselves; whoever waits for
    /// a network or a person after looking things up calls it first.
    ///
    /// # Errors
    /// [`StoreError::Write`], [`StoreError::Lock`].
    pub fn relax(&self) -> Result<(), StoreError> {
        self.with_session(|session| session.relax(&self.inner.paths))
    }

    /// Keeps an object from the collector; always before looking for it.
    pub(super) fn pin(&self, digest: &Digest) -> Result<(), StoreError> {
        self.with_session(|session| session.pin(&self.inner.paths, digest))
    }

    /// Removes a directory when the store is closed.
    pub(super) fn doom(&self, dir: PathBuf) {
        locked(&self.inner.doomed).push(dir);
    }

    fn with_session<T>(
        &self,
        action: impl FnOnce(&mut Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut session = locked(&self.inner.session);
        action(&mut session)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.committer.stop();
        for dir in locked(&self.doomed).drain(..) {
            // What cannot be removed now is a leftover for the collector.
            drop(remove::discard_dir(&self.paths, &dir));
        }
    }
}

/// Locks a mutex; a panic of another thread does not make its data wrong (each change is one
/// insertion or removal).
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the directories that everything else relies on, and the layout's two files.
pub(super) fn initialize(paths: &Paths) -> Result<(), StoreError> {
    let layout = r#"{"imageLayoutVersion":"1.0.0"}"#;
    let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    file::make_dir(paths.root()).map_err(at!(Create, paths.root()))?;
    for (path, text) in [(paths.oci_layout(), layout), (paths.index(), index)] {
        // A torn file would be worse than none; a temporary of a session cannot be had yet.
        let mut temp =
            tempfile::NamedTempFile::new_in(paths.root()).map_err(at!(Create, paths.root()))?;
        io::Write::write_all(&mut temp, text.as_bytes()).map_err(at!(Create, &path))?;
        temp.as_file().sync_all().map_err(at!(Sync, &path))?;
        match temp.persist_noclobber(&path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(at!(Create, &path)(error.error)),
        }
    }
    for area in ["sessions", "tmp"] {
        let path = paths.area(area);
        file::make_dir(&path).map_err(at!(Create, &path))?;
    }
    Ok(())
}

/// Says why the root cannot be used.
fn refusal(root: &Path, access: Access, error: Errno) -> StoreError {
    let path = root.to_owned();
    let source = io::Error::from(error);
    if error == Errno::ROFS && access == Access::ReadWrite {
        return StoreError::ReadOnly { path };
    }
    let owner = std::fs::metadata(root).map(|metadata| metadata.uid());
    match owner {
        Ok(owner) if error == Errno::ACCESS && owner != rustix::process::geteuid().as_raw() => {
            StoreError::Owner {
                path,
                owner,
                source,
            }
        }
        _ => StoreError::Open { path, source },
    }
}
