//! Shared caches: which there are, how they reach registries, and what a build puts into them.

use std::io::{self, Read};
use std::sync::Arc;

use crate::cache::remote::{
    LocalRemote, RegistryPort, RegistryRemote, Remote, RemoteKind, RemoteSpec,
};
use crate::digest::Digest;
use crate::image::Descriptor;
use crate::reference::Reference;
use crate::registry::{Client, RegistryError};

/// Opens a shared cache. Nothing is asked yet.
pub(super) fn open(spec: &RemoteSpec, client: &Client) -> Arc<dyn Remote> {
    match &spec.kind {
        RemoteKind::Local { directory, .. } => Arc::new(LocalRemote::new(directory.clone())),
        RemoteKind::Registry { reference, .. } => {
            Arc::new(RegistryRemote::new(Port(client.clone()), reference))
        }
    }
}

/// The registry client as shared caches want it.
#[derive(Debug)]
struct Port(Client);

impl RegistryPort for Port {
    type Error = RegistryError;

    fn get_manifest(&self, reference: &Reference) -> Result<Option<Vec<u8>>, RegistryError> {
        match self.0.manifest(reference) {
            Ok((_, bytes)) => Ok(Some(bytes)),
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        self.0.push_manifest(reference, media_type, bytes).map(drop)
    }

    fn has_blob(&self, repository: &Reference, digest: &Digest) -> Result<bool, RegistryError> {
        self.0.has_blob(repository, digest)
    }

    fn open_blob(
        &self,
        repository: &Reference,
        digest: &Digest,
        size: u64,
    ) -> Result<Box<dyn Read + Send>, RegistryError> {
        let descriptor = Descriptor::new("application/octet-stream", *digest, size);
        Ok(Box::new(self.0.blob(repository, &descriptor)?))
    }

    fn push_blob(
        &self,
        repository: &Reference,
        (digest, size): (&Digest, u64),
        open: &dyn Fn() -> io::Result<Box<dyn Read + Send>>,
    ) -> Result<(), RegistryError> {
        let descriptor = Descriptor::new("application/octet-stream", *digest, size);
        self.0
            .push_blob(repository, &descriptor, open, None)
            .map(drop)
    }
}
