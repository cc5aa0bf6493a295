//! Records: what a key stands for. Immutable; the first writer wins.

use serde::{Deserialize, Serialize};

use super::key::{Key, Material};
use crate::digest::{DiffId, Digest};
use crate::image::Compression;

/// The version of [`Record`] that this program writes.
pub const RECORD_VERSION: u32 = 1;

/// The longest encoded record that is read, in bytes.
pub const RECORD_BYTES_MAX: u64 = 4 << 20;

/// One form in which a layer exists as a blob.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobForm {
    /// Its compression.
    pub compression: Compression,
    /// The digest of the blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// How this program made the bytes: encoder, level and version as one word of lower-case
    /// letters, digits and `-`, such as `gzip-6-v1`. Absent for bytes that came from elsewhere.
    ///
    /// A layer may exist in several forms of one compression. Which of them goes into an image must
    /// not depend on what happens to be cached: an image takes the form of its base's manifest, or
    /// the form made by the encoder that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The format of this record; readers take only the one they know.
    pub version: u32,
    /// The key it stands for: the definition key or the content key of the step.
    pub key: Key,
    /// The key of the operation alone, without its inputs: what [`super::Store::similar`] finds it
    /// by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Key>,
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

/// Why bytes are not the record of a key. Each is a miss, never a failure of the build.
#[derive(Debug, thiserror::Error)]
pub enum RecordFault {
    /// The bytes are not a record at all.
    #[error("it is not a record")]
    Syntax(#[source] serde_json::Error),
    /// Another format.
    #[error("its format is {version}, this program reads {RECORD_VERSION}")]
    Version {
        /// The format that it states.
        version: u32,
    },
    /// It stands for another key.
    #[error("it stands for the key {found}")]
    Key {
        /// The key that it states.
        found: Key,
    },
    /// Its material is not that of its key: somebody put it under a name it has no right to.
    #[error("its material has the key {actual}")]
    Material {
        /// The key of the material.
        actual: Key,
    },
}

impl Record {
    /// The record that shares the tree index of a layer nobody built here (a base image's), so that
    /// a runner needs not fetch the layer to know what is in it. `format` is the version of the
    /// encoded index; `size` the bytes of the layer's tar.
    pub fn of_tree(diff_id: DiffId, format: u32, size: u64, tree: BlobForm) -> Self {
        let material = Self::tree_material(&diff_id, format);
        Self {
            version: RECORD_VERSION,
            key: material.key(),
            operation: None,
            diff_id,
            size,
            blobs: Vec::new(),
            tree: Some(tree),
            name: format!("tree of {diff_id}"),
            cost_ms: 0,
            platform: String::new(),
            material,
        }
    }

    /// The material of [`Record::of_tree`]: its key is what a shared cache is asked for.
    pub fn tree_material(diff_id: &DiffId, format: u32) -> Material {
        Material::new("tree")
            .with("diff_id", diff_id.to_string())
            .with("format", format)
    }

    /// The JSON text that stores and remotes keep.
    ///
    /// # Errors
    /// None for a record made of valid parts; serde_json's signature has one.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Reads the record of `key` and proves that it is: format, key, and the material's key.
    pub fn decode(bytes: &[u8], key: &Key) -> Result<Self, RecordFault> {
        let record: Self = serde_json::from_slice(bytes).map_err(RecordFault::Syntax)?;
        record.check(key)?;
        let actual = record.material.key();
        if actual != *key {
            return Err(RecordFault::Material { actual });
        }
        Ok(record)
    }

    /// Checks format and key, not the material: enough for bytes under a checksum of ours.
    pub(crate) fn check(&self, key: &Key) -> Result<(), RecordFault> {
        if self.version != RECORD_VERSION {
            let version = self.version;
            return Err(RecordFault::Version { version });
        }
        if self.key != *key {
            return Err(RecordFault::Key { found: self.key });
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record of the operation `op` whose material differs by `input`.
    pub(crate) fn record(input: &str, layer: &[u8]) -> Record {
        let material = Material::new("run").with("input", input);
        Record {
            version: RECORD_VERSION,
            key: material.key(),
            operation: Some(Material::new("run").key()),
            diff_id: DiffId(Digest::of(layer)),
            size: layer.len() as u64,
            blobs: Vec::new(),
            tree: None,
            name: format!("RUN {input}"),
            cost_ms: 12,
            platform: "linux/amd64".to_owned(),
            material,
        }
    }

    #[test]
    fn a_record_round_trips() {
        let record = record("a", b"layer");
        let bytes = record.encode().unwrap();
        assert_eq!(Record::decode(&bytes, &record.key).unwrap(), record);
    }

    #[test]
    fn the_tree_of_a_layer_has_a_record_too() {
        let tree = BlobForm {
            compression: Compression::Zstd,
            digest: Digest::of(b"tree"),
            size: 4,
            made_by: None,
        };
        let diff_id = DiffId(Digest::of(b"layer"));
        let record = Record::of_tree(diff_id, 1, 5, tree);
        let key = Record::tree_material(&diff_id, 1).key();
        let bytes = record.encode().unwrap();
        assert_eq!(Record::decode(&bytes, &key).unwrap(), record);
        assert_ne!(Record::tree_material(&diff_id, 2).key(), key);
    }

    #[test]
    fn a_poisoned_record_is_refused() {
        let honest = record("a", b"layer");
        let victim = record("b", b"other").key;
        let fault = |record: &Record, key: &Key| {
            Record::decode(&record.encode().unwrap(), key)
                .unwrap_err()
                .to_string()
        };
        assert!(fault(&honest, &victim).contains("stands for the key"));
        let mut forged = honest.clone();
        forged.key = victim;
        assert!(fault(&forged, &victim).contains("its material has the key"));
        let mut newer = honest.clone();
        newer.version = 2;
        assert!(fault(&newer, &newer.key).contains("its format is 2"));
        assert!(Record::decode(b"{}", &victim).is_err());
    }
}
