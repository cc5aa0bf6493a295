//! Layer blobs for export: from the store, or from where they came from.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use super::images::Place;
use super::street::Street;
use super::supplies::Outside;
use crate::digest::{DiffId, Digest};
use crate::executor::Supplies;
use crate::export::BlobSource;
use crate::failure::{Explain, Failure};
use crate::image::Descriptor;
use crate::reference::Reference;

/// Blobs by digest.
pub(super) struct Blobs<'a> {
    street: &'a Street<'a>,
    outside: &'a Outside<'a>,
    /// Which layer a blob holds.
    layers: Mutex<BTreeMap<Digest, DiffId>>,
}

impl<'a> Blobs<'a> {
    /// Blobs of a build.
    pub(super) fn new(street: &'a Street<'a>, outside: &'a Outside<'a>) -> Self {
        Self {
            street,
            outside,
            layers: Mutex::default(),
        }
    }

    /// Notes which layer a blob holds.
    pub(super) fn learn(&self, descriptor: &Descriptor, diff_id: DiffId) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.insert(descriptor.digest, diff_id);
    }

    fn layer(&self, digest: &Digest) -> Option<DiffId> {
        self.layers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(digest)
            .copied()
    }
}

impl BlobSource for Blobs<'_> {
    fn open(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        let store = self.street.store;
        if store.has_blob(&descriptor.digest) {
            let blob = store.open_blob(&descriptor.digest, descriptor.size);
            return Ok(Box::new(blob.map_err(io::Error::other)?));
        }
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let diff_id = self.layer(&descriptor.digest).ok_or_else(missing)?;
        let stream = self
            .outside
            .layer(&diff_id)
            .map_err(into_io)?
            .ok_or_else(missing)?;
        if stream.form.digest != descriptor.digest {
            return Err(missing());
        }
        Ok(stream.bytes)
    }

    fn mount_candidate(&self, digest: &Digest, target: &Reference) -> Option<Reference> {
        let diff_id = self.layer(digest)?;
        let from_image =
            self.street
                .images
                .origin(&diff_id)
                .and_then(|origin| match origin.place {
                    Place::Registry(name) if origin.descriptor.digest == *digest => Some(name),
                    _ => None,
                });
        let from_cache = || self.street.caches.shared(&diff_id)?.1;
        let same_registry = |name: &Reference| name.registry == target.registry;
        from_image
            .filter(same_registry)
            .or_else(|| from_cache().filter(same_registry))
    }

    fn is_local(&self, digest: &Digest) -> bool {
        self.street.store.has_blob(digest)
    }
}

/// A room's error inside an I/O error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(Box<dyn Explain>);

/// A failure as an I/O error, for traits that speak of those.
pub(super) fn into_io(failure: Failure) -> io::Error {
    match failure {
        Failure::Room(error) | Failure::Placed { cause: error, .. } => {
            io::Error::other(Told(error))
        }
        Failure::Diagnosed(_) => io::Error::from(io::ErrorKind::InvalidInput),
    }
}
