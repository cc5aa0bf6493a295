//! An OCI image layout as a directory (image-spec, image-layout.md).
//!
//! Blobs come first, each by rename; the index that names them is replaced last. Images that the
//! layout has under other names stay.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::archive::{Blob, all_blobs, blob_path, copy_layer};
use super::destination::replace_file;
use super::error::ExportError;
use super::set::ExportSet;
use super::source::BlobSource;
use crate::image::{Descriptor, Index, MediaType};
use crate::reference::Reference;

pub(super) const LAYOUT_FILE: &str = "oci-layout";
pub(super) const LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX_FILE: &str = "index.json";
const INDEX_BYTES_MAX: u64 = 64 << 20;
/// The tag, for tools that follow the image-spec.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole name, for containerd and BuildKit.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Writes a set into the layout at `directory`, which is made if it is missing.
pub fn write_layout(
    set: &ExportSet,
    names: &[Reference],
    blobs: &dyn BlobSource,
    directory: &Path,
) -> Result<(), ExportError> {
    let old = open_layout(directory)?;
    for (digest, blob) in all_blobs(set) {
        let path = directory.join(blob_path(&digest));
        let size = match &blob {
            Blob::Document(document) => document.descriptor.size,
            Blob::Layer(descriptor) => descriptor.size,
        };
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() == size) {
            continue;
        }
        replace_file(&path, |out| match &blob {
            Blob::Document(document) => out
                .write_all(&document.bytes)
                .map_err(|source| ExportError::Stream { source }),
            Blob::Layer(descriptor) => copy_layer(blobs, descriptor, out),
        })?;
    }
    let text = |bytes: &'static [u8]| {
        move |out: &mut dyn Write| {
            out.write_all(bytes)
                .map_err(|source| ExportError::Stream { source })
        }
    };
    replace_file(&directory.join(LAYOUT_FILE), text(LAYOUT_TEXT))?;
    let index = merged(old, entries(set, names));
    let bytes = serde_json::to_vec(&index).map_err(|source| ExportError::Encode { source })?;
    replace_file(&directory.join(INDEX_FILE), |out| {
        out.write_all(&bytes)
            .map_err(|source| ExportError::Stream { source })
    })
}

/// The bytes of `index.json` of a layout that holds this set alone.
pub(super) fn layout_index(set: &ExportSet, names: &[Reference]) -> Result<Vec<u8>, ExportError> {
    serde_json::to_vec(&merged(None, entries(set, names)))
        .map_err(|source| ExportError::Encode { source })
}

/// The entries of a set: one for each name, or one without.
fn entries(set: &ExportSet, names: &[Reference]) -> Vec<Descriptor> {
    let plain = &set.root().descriptor;
    let mut entries: Vec<Descriptor> = names
        .iter()
        .map(|name| {
            let mut entry = plain.clone();
            entry
                .annotations
                .insert(IMAGE_NAME.to_owned(), name.to_string());
            if let Some(tag) = &name.tag {
                entry.annotations.insert(REF_NAME.to_owned(), tag.clone());
            }
            entry
        })
        .collect();
    if entries.is_empty() {
        entries.push(plain.clone());
    }
    entries
}

/// The index with new entries in place of those with the same name, or the same nameless image.
fn merged(old: Option<Index>, new: Vec<Descriptor>) -> Index {
    let mut index = old.unwrap_or_else(|| Index {
        schema_version: 2,
        media_type: Some(MediaType::OciIndex.as_str().to_owned()),
        manifests: Vec::new(),
        annotations: BTreeMap::new(),
    });
    let name = |entry: &Descriptor| {
        let annotations = &entry.annotations;
        annotations
            .get(IMAGE_NAME)
            .or(annotations.get(REF_NAME))
            .cloned()
    };
    index.manifests.retain(|old| {
        !new.iter().any(|new| match (name(old), name(new)) {
            (None, None) => old.digest == new.digest,
            (old, new) => old == new,
        })
    });
    index.manifests.extend(new);
    index
}

/// Prepares the directories and reads the index that is there.
fn open_layout(directory: &Path) -> Result<Option<Index>, ExportError> {
    let failed = |source| ExportError::Write {
        path: directory.to_owned(),
        source,
    };
    let is_layout = directory.join(LAYOUT_FILE).is_file();
    let is_empty = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(failed(error)),
    };
    if !is_layout && !is_empty {
        return Err(ExportError::NotALayout {
            path: directory.to_owned(),
        });
    }
    fs::create_dir_all(directory.join("blobs/sha256")).map_err(failed)?;
    read_index(&directory.join(INDEX_FILE))
}

fn read_index(path: &PathBuf) -> Result<Option<Index>, ExportError> {
    let mut bytes = Vec::new();
    let read =
        fs::File::open(path).and_then(|file| file.take(INDEX_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => {
            serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|source| ExportError::LayoutIndex {
                    path: path.clone(),
                    source,
                })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ExportError::Write {
            path: path.clone(),
            source,
        }),
    }
}
