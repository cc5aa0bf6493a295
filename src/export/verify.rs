//! Recomputes an image from its bytes and lists all that does not agree.
//!
//! The documents are also read by the `oci-spec` crate, which knows nothing of our own types: what
//! it cannot read, others cannot either.

use std::io::{self, Read};

use oci_spec::image as oracle;

use super::set::{Document, ExportImage, ExportSet, is_foreign};
use super::source::BlobSource;
use crate::digest::{DiffId, Digest, HashWriter, VerifiedReader};
use crate::image::{Compression, Descriptor, ImageConfig, Index, Manifest};

/// Something about an image that is not as stated elsewhere in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Bytes that are not those of their descriptor.
    #[error("{what} {digest} is stored with other bytes")]
    Bytes {
        /// `config`, `manifest`, `index`.
        what: &'static str,
        /// The digest stated.
        digest: Digest,
    },
    /// A document that a strict reader refuses.
    #[error("{what} {digest} is not understood: {reason}")]
    Unreadable {
        /// `config`, `manifest`, `index`.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// Why.
        reason: String,
    },
    /// A document that does not list what it should.
    #[error("{what} {digest} does not name its {part}")]
    Listing {
        /// `manifest`, `config` or `index`.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// `config`, `layers`, `diff ids`, `manifests`, `platform`.
        part: &'static str,
    },
    /// A layer that cannot be read as stated.
    #[error("layer {digest} cannot be read: {reason}")]
    Layer {
        /// The blob.
        digest: Digest,
        /// Why.
        reason: String,
    },
    /// A layer whose content is not that of its diff id.
    #[error("layer {digest} unpacks to {actual} instead of {expected}")]
    DiffId {
        /// The blob.
        digest: Digest,
        /// What the config states.
        expected: DiffId,
        /// What it is.
        actual: DiffId,
    },
}

/// Checks a set completely, layers included; an empty list means that all agrees. Layers that are
/// not on this machine are left out unless `remote_layers` is set.
pub fn verify(set: &ExportSet, blobs: &dyn BlobSource, remote_layers: bool) -> Vec<Mismatch> {
    let mut found = Vec::new();
    for image in &set.images {
        verify_documents(image, &mut found);
        for layer in &image.layers {
            let descriptor = &layer.descriptor;
            let here = remote_layers || blobs.is_local(&descriptor.digest);
            if here && !is_foreign(descriptor) {
                found.extend(verify_layer(descriptor, layer.diff_id, blobs));
            }
        }
    }
    if let Some(index) = &set.index {
        verify_index(set, index, &mut found);
    }
    found
}

fn verify_documents(image: &ExportImage, found: &mut Vec<Mismatch>) {
    verify_bytes("config", &image.config, found);
    verify_bytes("manifest", &image.manifest, found);
    let digest = image.manifest.descriptor.digest;
    match parse::<Manifest, oracle::ImageManifest>("manifest", &image.manifest) {
        Err(mismatch) => found.push(mismatch),
        Ok((manifest, foreign)) => {
            let stated: Vec<String> = foreign
                .layers()
                .iter()
                .map(|layer| layer.digest().to_string())
                .collect();
            let layers = || image.layers.iter().map(|layer| &layer.descriptor);
            let mut listing = |part| {
                found.push(Mismatch::Listing {
                    what: "manifest",
                    digest,
                    part,
                });
            };
            if manifest.config != image.config.descriptor
                || foreign.config().digest().to_string()
                    != image.config.descriptor.digest.to_string()
            {
                listing("config");
            }
            let same = layers().map(|layer| layer.digest.to_string()).eq(stated);
            if !same || !manifest.layers.iter().eq(layers()) {
                listing("layers");
            }
        }
    }
    verify_config(image, found);
}

fn verify_config(image: &ExportImage, found: &mut Vec<Mismatch>) {
    let digest = image.config.descriptor.digest;
    match parse::<ImageConfig, oracle::ImageConfiguration>("config", &image.config) {
        Err(mismatch) => found.push(mismatch),
        Ok((config, foreign)) => {
            let expected = || image.layers.iter().map(|layer| layer.diff_id);
            let stated = foreign.rootfs().diff_ids().iter().cloned();
            let mut listing = |part| {
                found.push(Mismatch::Listing {
                    what: "config",
                    digest,
                    part,
                });
            };
            if !config.rootfs.diff_ids.iter().copied().eq(expected())
                || !stated.eq(expected().map(|diff_id| diff_id.to_string()))
            {
                listing("diff ids");
            }
            let layers = config
                .history
                .iter()
                .filter(|entry| !entry.empty_layer)
                .count();
            if !config.history.is_empty() && layers != image.layers.len() {
                listing("layers");
            }
            if config.platform() != image.platform {
                listing("platform");
            }
        }
    }
}

fn verify_index(set: &ExportSet, index: &Document, found: &mut Vec<Mismatch>) {
    verify_bytes("index", index, found);
    match parse::<Index, oracle::ImageIndex>("index", index) {
        Err(mismatch) => found.push(mismatch),
        Ok((parsed, foreign)) => {
            let expected = || {
                set.images
                    .iter()
                    .map(|image| image.manifest.descriptor.digest)
            };
            let stated = foreign
                .manifests()
                .iter()
                .map(|entry| entry.digest().to_string());
            if !parsed
                .manifests
                .iter()
                .map(|entry| entry.digest)
                .eq(expected())
                || !stated.eq(expected().map(|digest| digest.to_string()))
            {
                found.push(Mismatch::Listing {
                    what: "index",
                    digest: index.descriptor.digest,
                    part: "manifests",
                });
            }
        }
    }
}

fn verify_bytes(what: &'static str, document: &Document, found: &mut Vec<Mismatch>) {
    let descriptor = &document.descriptor;
    let same_size = descriptor.size == document.bytes.len() as u64;
    if !same_size || Digest::of(&document.bytes) != descriptor.digest {
        found.push(Mismatch::Bytes {
            what,
            digest: descriptor.digest,
        });
    }
}

/// Reads a document as our own type and as the oracle's.
fn parse<T, O>(what: &'static str, document: &Document) -> Result<(T, O), Mismatch>
where
    T: serde::de::DeserializeOwned,
    O: serde::de::DeserializeOwned,
{
    let unreadable = |error: serde_json::Error| Mismatch::Unreadable {
        what,
        digest: document.descriptor.digest,
        reason: error.to_string(),
    };
    let own = serde_json::from_slice(&document.bytes).map_err(unreadable)?;
    let foreign = serde_json::from_slice(&document.bytes).map_err(unreadable)?;
    Ok((own, foreign))
}

fn verify_layer(
    descriptor: &Descriptor,
    expected: DiffId,
    blobs: &dyn BlobSource,
) -> Option<Mismatch> {
    let digest = descriptor.digest;
    match diff_id(descriptor, blobs) {
        Ok(actual) if actual == expected => None,
        Ok(actual) => Some(Mismatch::DiffId {
            digest,
            expected,
            actual,
        }),
        Err(error) => Some(Mismatch::Layer {
            digest,
            reason: error.to_string(),
        }),
    }
}

/// Unpacks a blob, verified, and computes the digest of its content.
fn diff_id(descriptor: &Descriptor, blobs: &dyn BlobSource) -> io::Result<DiffId> {
    let unknown = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "its media type is not a layer's",
        )
    };
    let compression = Compression::of_media_type(&descriptor.media_type).ok_or_else(unknown)?;
    let mut blob = VerifiedReader::new(blobs.open(descriptor)?, descriptor.digest, descriptor.size);
    let mut content = HashWriter::new(io::sink());
    match compression {
        Compression::Uncompressed => io::copy(&mut blob, &mut content)?,
        Compression::Gzip => io::copy(
            &mut flate2::read::MultiGzDecoder::new(&mut blob),
            &mut content,
        )?,
        Compression::Zstd => io::copy(&mut zstd::Decoder::new(&mut blob)?, &mut content)?,
    };
    // A decoder may stop before the end of the blob; its digest counts all the same.
    let rest = io::copy(&mut blob.by_ref(), &mut io::sink())?;
    if rest > 0 {
        let text = format!("{rest} bytes follow the compressed content");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let (_, digest, _) = content.finish();
    Ok(DiffId(digest))
}
