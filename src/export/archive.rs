//! Archives: an OCI image layout in a tar, with or without what `docker load` looks for.
//!
//! The bytes depend on the set, the names and the epoch alone: entries sorted by name, mode 0644
//! (directories 0755), owner 0:0, one time.

use std::io::{self, Read, Write};

use serde::Serialize;

use super::error::ExportError;
use super::layout::{LAYOUT_FILE, LAYOUT_TEXT, layout_index};
use super::set::{Document, ExportSet};
use super::source::BlobSource;
use crate::clock::Epoch;
use crate::digest::{Digest, VerifiedReader};
use crate::image::Descriptor;
use crate::reference::Reference;

const BLOCK: u64 = 512;

/// Writes an OCI image layout as tar. `names` become annotated entries of its index.
pub fn write_oci_archive(
    set: &ExportSet,
    names: &[Reference],
    blobs: &dyn BlobSource,
    epoch: Epoch,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let mut archive = Archive::new(out, epoch);
    archive.blobs(set, blobs)?;
    archive.file("index.json", &layout_index(set, names)?)?;
    archive.file(LAYOUT_FILE, LAYOUT_TEXT)?;
    archive.end()
}

/// Writes an archive that `docker load` and `podman load` take: the same layout and a
/// `manifest.json`. One platform only.
pub fn write_docker_archive(
    set: &ExportSet,
    names: &[Reference],
    blobs: &dyn BlobSource,
    epoch: Epoch,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let manifest = docker_manifest(set, names)?;
    let mut archive = Archive::new(out, epoch);
    archive.blobs(set, blobs)?;
    archive.file("index.json", &layout_index(set, names)?)?;
    archive.file("manifest.json", &manifest)?;
    archive.file(LAYOUT_FILE, LAYOUT_TEXT)?;
    archive.end()
}

/// One entry of `manifest.json` (Docker's image-spec v1.2, "Combined Image JSON").
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

fn docker_manifest(set: &ExportSet, names: &[Reference]) -> Result<Vec<u8>, ExportError> {
    let [image] = set.images.as_slice() else {
        return Err(ExportError::ManyPlatforms);
    };
    let entry = DockerEntry {
        config: blob_path(&image.config.descriptor.digest),
        repo_tags: names
            .iter()
            .filter(|name| name.tag.is_some())
            .map(Reference::familiar)
            .collect(),
        layers: image
            .layers
            .iter()
            .map(|layer| blob_path(&layer.descriptor.digest))
            .collect(),
    };
    serde_json::to_vec(&[entry]).map_err(|source| ExportError::Encode { source })
}

pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Where a blob of a set comes from.
pub(super) enum Blob<'a> {
    Document(&'a Document),
    Layer(&'a Descriptor),
}

/// All blobs of a set, each once, in the order of their digests.
pub(super) fn all_blobs(set: &ExportSet) -> Vec<(Digest, Blob<'_>)> {
    let documents = set
        .documents()
        .map(|document| (document.descriptor.digest, Blob::Document(document)));
    let layers = set
        .layer_blobs()
        .into_iter()
        .map(|(digest, layer)| (digest, Blob::Layer(layer)));
    let mut blobs: Vec<_> = documents.chain(layers).collect();
    blobs.sort_by_key(|(digest, _)| *digest);
    blobs.dedup_by_key(|(digest, _)| *digest);
    blobs
}

/// Copies a layer's blob, verified, to `out`.
pub(super) fn copy_layer(
    blobs: &dyn BlobSource,
    descriptor: &Descriptor,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    let failed = |source| ExportError::Blob {
        digest: descriptor.digest,
        source,
    };
    let reader = blobs.open(descriptor).map_err(failed)?;
    let mut reader = VerifiedReader::new(reader, descriptor.digest, descriptor.size);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = reader.read(&mut buffer).map_err(failed)?;
        if count == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..count])
            .map_err(|source| ExportError::Stream { source })?;
    }
}

/// A deterministic tar under way.
struct Archive<'a> {
    out: &'a mut dyn Write,
    mtime: u64,
}

impl<'a> Archive<'a> {
    fn new(out: &'a mut dyn Write, epoch: Epoch) -> Self {
        Self {
            out,
            mtime: u64::try_from(epoch.0).unwrap_or(0),
        }
    }

    fn blobs(&mut self, set: &ExportSet, blobs: &dyn BlobSource) -> Result<(), ExportError> {
        self.header("blobs/", None)?;
        self.header("blobs/sha256/", None)?;
        for (digest, blob) in all_blobs(set) {
            let path = blob_path(&digest);
            match blob {
                Blob::Document(document) => self.file(&path, &document.bytes)?,
                Blob::Layer(descriptor) => {
                    self.header(&path, Some(descriptor.size))?;
                    copy_layer(blobs, descriptor, self.out)?;
                    self.pad(descriptor.size)?;
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<(), ExportError> {
        self.header(path, Some(bytes.len() as u64))?;
        self.write(bytes)?;
        self.pad(bytes.len() as u64)
    }

    /// Writes the header of a file of `size` bytes, or of a directory.
    fn header(&mut self, path: &str, size: Option<u64>) -> Result<(), ExportError> {
        let mut header = tar::Header::new_ustar();
        let (kind, mode) = match size {
            Some(_) => (tar::EntryType::Regular, 0o644),
            None => (tar::EntryType::Directory, 0o755),
        };
        header
            .set_path(path)
            .map_err(|source| ExportError::Stream { source })?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.mtime);
        header.set_size(size.unwrap_or(0));
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> Result<(), ExportError> {
        let rest = usize::try_from((BLOCK - size % BLOCK) % BLOCK).unwrap_or(0);
        self.write(&[0; 512][..rest])
    }

    fn end(&mut self) -> Result<(), ExportError> {
        self.write(&[0; 1024])?;
        self.out
            .flush()
            .map_err(|source| ExportError::Stream { source })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.out
            .write_all(bytes)
            .map_err(|source| ExportError::Stream { source })
    }
}

/// What ends an archive.
pub(super) fn end_of_archive(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&[0; 1024])?;
    out.flush()
}
