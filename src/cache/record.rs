//! Records: what a key stands for. Immutable; the first writer wins.

use serde::{Deserialize, Serialize};

use super::key::{Key, Material};
use crate::digest::{DiffId, Digest};
use crate::image::Compression;

/// One form in which a layer exists as a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobForm {
    /// Its compression.
    pub compression: Compression,
    /// The digest of the blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The format of this record; readers take only the one they know.
    pub version: u32,
    /// The key it stands for: the definition key or the content key of the step.
    pub key: Key,
    /// The layer that the step made.
    pub diff_id: DiffId,
    /// Bytes of the layer's tar.
    pub size: u64,
    /// The compressed forms known when the record was written; empty in local records (the store
    /// knows its own forms by diff id).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blobs: Vec<BlobForm>,
    /// The blob that holds the layer's tree index, if it was shared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<BlobForm>,
    /// The instruction, for people.
    pub name: String,
    /// What the step cost in milliseconds.
    pub cost_ms: u64,
    /// `os/arch[/variant]`.
    pub platform: String,
    /// The material of the key, for `--explain`.
    pub material: Material,
}

/// The version of [`Record`] that this program writes.
pub const RECORD_VERSION: u32 = 1;
