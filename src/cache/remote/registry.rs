//! A repository of a registry as a shared cache: one small artifact a record, tagged by its key.
//!
//! The manifest carries the record as an annotation, so that one GET answers a probe, and lists the
//! record's blobs as its layers, so that the registry's garbage collection keeps them. Nothing is
//! ever changed: a registry has no conditional PUT, so a writer looks before and reads back after,
//! and adopts what it finds.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::RemoteError;
use super::{BlobSource, Remote};
use crate::cache::key::Key;
use crate::cache::record::{BlobForm, Record, RecordFault};
use crate::digest::{Digest, VerifiedReader};
use crate::failure::Explain;
use crate::image::{Compression, Descriptor, Manifest, MediaType};
use crate::reference::Reference;

/// What kind of artifact a record is.
pub const RECORD_TYPE: &str = "application/vnd.builder.cache.record.v1+json";
/// The media type of a tree index.
pub const TREE_TYPE: &str = "application/vnd.builder.tree.v1";
/// The annotation that holds the record.
const RECORD_ANNOTATION: &str = "builder.cache.record";
/// OCI's empty config (image-spec, manifest.md "Guidance for an Empty Descriptor").
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";
/// Registries refuse longer manifests (distribution: 4 MiB); the record is escaped inside.
const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// What a shared cache asks of a registry client. All of it knows how to authenticate, retry and
/// time out; `repository` is a name whose tag and digest are not looked at.
pub trait RegistryPort: Send + Sync {
    /// The client's error.
    type Error: Explain;

    /// The manifest of a tag, at most 4 MiB; `None` if there is none (404).
    fn get_manifest(&self, reference: &Reference) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Puts a manifest under a tag.
    fn put_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), Self::Error>;

    /// Whether a blob is there.
    fn has_blob(&self, repository: &Reference, digest: &Digest) -> Result<bool, Self::Error>;

    /// The bytes of a blob.
    fn open_blob(
        &self,
        repository: &Reference,
        digest: &Digest,
        size: u64,
    ) -> Result<Box<dyn Read + Send>, Self::Error>;

    /// Uploads a blob of known digest and size in bytes; `open` gives its bytes, once for each try.
    fn push_blob(
        &self,
        repository: &Reference,
        blob: (&Digest, u64),
        open: &dyn Fn() -> io::Result<Box<dyn Read + Send>>,
    ) -> Result<(), Self::Error>;
}

/// A repository that runners share.
#[derive(Debug)]
pub struct RegistryRemote<P> {
    port: P,
    repository: Reference,
    /// The blobs this process has put there or found there. Records are published side by side and
    /// share blobs (the empty config all of them); two uploads of one blob at once make a registry
    /// answer that it does not know the blob.
    present: Mutex<BTreeMap<Digest, Arc<Mutex<bool>>>>,
}

impl<P: RegistryPort> RegistryRemote<P> {
    /// The cache in a repository; a tag or a digest of the name is dropped.
    pub fn new(port: P, repository: &Reference) -> Self {
        let (tag, digest) = (None, None);
        let repository = Reference {
            tag,
            digest,
            ..repository.clone()
        };
        let present = Mutex::default();
        Self {
            port,
            repository,
            present,
        }
    }

    fn tag(&self, key: &Key) -> Reference {
        self.repository.tagged(key.to_string())
    }

    fn failed(&self, action: &'static str) -> impl Fn(P::Error) -> RemoteError {
        let place = self.name();
        move |error| RemoteError::Registry {
            action,
            place: place.clone(),
            kind: error.kind(),
            hints: error.hints(),
            source: Box::new(error),
        }
    }

    /// Sees to it that a blob is there; the second caller waits for the first.
    fn ensure(
        &self,
        (digest, size): (&Digest, u64),
        open: &dyn Fn() -> io::Result<Box<dyn Read + Send>>,
    ) -> Result<(), RemoteError> {
        let slot = {
            let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(present.entry(*digest).or_default())
        };
        let mut there = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if *there {
            return Ok(());
        }
        let has = self.port.has_blob(&self.repository, digest);
        if !has.map_err(self.failed("write"))? {
            self.port
                .push_blob(&self.repository, (digest, size), open)
                .map_err(self.failed("write"))?;
        }
        *there = true;
        Ok(())
    }

    fn push_missing(&self, record: &Record, blobs: &dyn BlobSource) -> Result<(), RemoteError> {
        for form in record.blobs.iter().chain(&record.tree) {
            let (digest, size) = (form.digest, form.size);
            self.ensure((&digest, size), &|| {
                let blob = blobs.open(form).map_err(io::Error::other)?;
                Ok(Box::new(VerifiedReader::new(blob, digest, size)))
            })?;
        }
        self.ensure((&Digest::of(EMPTY), EMPTY.len() as u64), &|| {
            Ok(Box::new(EMPTY))
        })
    }
}

impl<P: RegistryPort> Remote for RegistryRemote<P> {
    fn name(&self) -> String {
        format!("`{}`", self.repository.familiar())
    }

    fn record(&self, key: &Key) -> Result<Option<Record>, RemoteError> {
        let manifest = self
            .port
            .get_manifest(&self.tag(key))
            .map_err(self.failed("read"))?;
        let Some(manifest) = manifest else {
            return Ok(None);
        };
        let record = decode(&manifest, key).map_err(|source| RemoteError::Refused {
            key: *key,
            place: self.name(),
            source,
        })?;
        Ok(Some(record))
    }

    fn publish(&self, record: &Record, blobs: &dyn BlobSource) -> Result<Record, RemoteError> {
        let winner = |found| match found {
            Err(error @ RemoteError::Registry { .. }) => Err(error),
            // A refused entry is no winner.
            found => Ok(found.ok().flatten()),
        };
        if let Some(winner) = winner(self.record(&record.key))? {
            return Ok(winner);
        }
        let manifest = encode(record)?;
        self.push_missing(record, blobs)?;
        let media_type = MediaType::OciManifest.as_str();
        self.port
            .put_manifest(&self.tag(&record.key), media_type, &manifest)
            .map_err(self.failed("write"))?;
        let winner = winner(self.record(&record.key))?;
        Ok(winner.unwrap_or_else(|| record.clone()))
    }

    fn has_blob(&self, form: &BlobForm) -> Result<bool, RemoteError> {
        let has = self.port.has_blob(&self.repository, &form.digest);
        has.map_err(self.failed("read"))
    }

    fn open_blob(&self, form: &BlobForm) -> Result<Box<dyn Read + Send>, RemoteError> {
        self.port
            .open_blob(&self.repository, &form.digest, form.size)
            .map_err(self.failed("read"))
    }

    fn location(&self) -> Option<Reference> {
        Some(self.repository.clone())
    }
}

/// The manifest of a record.
fn encode(record: &Record) -> Result<Vec<u8>, RemoteError> {
    let key = record.key;
    let fault = |error: serde_json::Error| RemoteError::Encode {
        key,
        reason: error.to_string(),
    };
    let text = record.encode().map_err(fault)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let empty = Descriptor::new(EMPTY_TYPE, Digest::of(EMPTY), EMPTY.len() as u64);
    let mut layers: Vec<Descriptor> = record.blobs.iter().map(layer).collect();
    let tree = record.tree.as_ref();
    layers.extend(tree.map(|form| Descriptor::new(TREE_TYPE, form.digest, form.size)));
    if layers.is_empty() {
        layers.push(empty.clone());
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MediaType::OciManifest.as_str().to_owned()),
        artifact_type: Some(RECORD_TYPE.to_owned()),
        config: empty,
        layers,
        subject: None,
        annotations: BTreeMap::from([(RECORD_ANNOTATION.to_owned(), text)]),
    };
    let bytes = serde_json::to_vec(&manifest).map_err(fault)?;
    if bytes.len() > MANIFEST_BYTES_MAX {
        let reason = format!("its manifest would have {} bytes", bytes.len());
        return Err(RemoteError::Encode { key, reason });
    }
    Ok(bytes)
}

fn layer(form: &BlobForm) -> Descriptor {
    let compression: Compression = form.compression;
    Descriptor::new(compression.layer_media_type(true), form.digest, form.size)
}

fn decode(manifest: &[u8], key: &Key) -> Result<Record, RecordFault> {
    let manifest: Manifest = serde_json::from_slice(manifest).map_err(RecordFault::Syntax)?;
    let text = manifest.annotations.get(RECORD_ANNOTATION);
    Record::decode(text.map_or("", String::as_str).as_bytes(), key)
}
