//! Caches that runners share: records by key, blobs by digest, nothing that two runners would
//! overwrite for each other.
//!
//! - [`RemoteSpec`] is one `--cache-from` or `--cache-to`.
//! - A [`Remote`] is a place: [`LocalRemote`] a directory, [`RegistryRemote`] a repository, which
//!   asks the network through a [`RegistryPort`].
//! - [`Remotes`] are all places of a build: asked in order, many keys at once; one that fails is
//!   reported once and not asked again.
//!
//! A record names its layer's blobs, so a full hit moves no layer bytes: they are fetched when a RUN
//! needs their files, or never. Everything that comes in is verified: a record against its key and
//! its material, a blob against its digest. Who may write to a place decides what its records say;
//! they are not signed.

mod error;
mod local;
mod registry;
mod set;
mod spec;

pub use error::RemoteError;
pub use local::LocalRemote;
pub use registry::{RECORD_TYPE, RegistryPort, RegistryRemote, TREE_TYPE};
pub use set::{Found, Remotes};
pub use spec::{CacheMode, Direction, ParseRemoteError, RemoteKind, RemoteSpec};

use std::io::Read;

use super::error::StoreError;
use super::key::Key;
use super::record::{BlobForm, Record};
use super::store::{Hashing, Store};
use crate::digest::VerifiedReader;
use crate::reference::Reference;

/// A shared cache. Used by many threads at once.
pub trait Remote: Send + Sync {
    /// Names the place, for people.
    fn name(&self) -> String;

    /// The record of a key; costs one request and moves no layer.
    ///
    /// # Errors
    /// [`RemoteError::Refused`] if what is there is not the record of this key; others if the place
    /// cannot be asked.
    fn record(&self, key: &Key) -> Result<Option<Record>, RemoteError>;

    /// Shares a record: first the blobs that it names and the place lacks, from `blobs`, then the
    /// record. The first writer wins: gives the record that stands for the key from now on.
    fn publish(&self, record: &Record, blobs: &dyn BlobSource) -> Result<Record, RemoteError>;

    /// Whether the blob is there.
    fn has_blob(&self, form: &BlobForm) -> Result<bool, RemoteError>;

    /// The bytes of a blob, unverified: see [`fetch_blob`].
    fn open_blob(&self, form: &BlobForm) -> Result<Box<dyn Read + Send>, RemoteError>;

    /// The repository that the blobs are in, if it is one of a registry: a push to the same registry
    /// mounts them from there.
    fn location(&self) -> Option<Reference> {
        None
    }
}

/// Where the bytes of blobs that are to be shared come from.
pub trait BlobSource: Sync {
    /// Opens a blob.
    fn open(&self, form: &BlobForm) -> Result<Box<dyn Read + Send>, StoreError>;
}

impl BlobSource for Store {
    fn open(&self, form: &BlobForm) -> Result<Box<dyn Read + Send>, StoreError> {
        Ok(Box::new(self.open_blob(&form.digest, form.size)?))
    }
}

/// Fetches a blob into the store, verified while it streams; nothing moves if it is there.
///
/// That the blob is the layer that a record says is proved by nobody yet: whoever unpacks it checks
/// its diff id, and only then makes it a face of the layer ([`Store::add_blob_form`]).
pub fn fetch_blob(remote: &dyn Remote, form: &BlobForm, store: &Store) -> Result<(), RemoteError> {
    if store.blob_size(&form.digest) == Some(form.size) {
        return Ok(());
    }
    let reader = remote.open_blob(form)?;
    let mut reader = VerifiedReader::new(reader, form.digest, form.size);
    let mut writer = store.blob_writer(Hashing::ByCaller)?;
    std::io::copy(&mut reader, &mut writer).map_err(|source| RemoteError::Fetch {
        digest: form.digest,
        place: remote.name(),
        source,
    })?;
    writer.commit(Some((form.digest, form.size)))?;
    Ok(())
}

#[cfg(test)]
mod tests;
