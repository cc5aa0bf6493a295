//! What tags were resolved to, so that a second build asks no registry.

use serde::{Deserialize, Serialize};

use super::file;
use super::open::Store;
use crate::cache::error::{StoreError, at};
use crate::cache::seal::{seal, unseal};
use crate::clock::Epoch;
use crate::digest::{ContentDigest, hex};
use crate::image::Descriptor;
use crate::platform::Platform;
use crate::reference::Reference;

/// The longest file of a name, in bytes.
const NAME_BYTES_MAX: u64 = 1 << 20;

/// What a name stood for at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedName {
    /// The manifest of the platform.
    pub descriptor: Descriptor,
    /// When the registry was asked.
    pub at: Epoch,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct NameFile {
    reference: String,
    platform: String,
    at: i64,
    descriptor: Descriptor,
}

impl Store {
    /// What a name was resolved to for a platform; how old an answer may be is the caller's choice.
    /// Its manifest and config are blobs of the store, if they were put there.
    pub fn resolved(&self, name: &Reference, platform: &Platform) -> Option<ResolvedName> {
        let path = self.name_path(name, platform);
        let file: NameFile =
            serde_json::from_slice(&unseal("name", file::read(&path, NAME_BYTES_MAX)?)?).ok()?;
        if file.reference != name.to_string() || file.platform != platform.to_string() {
            return None;
        }
        self.pin(&file.descriptor.digest).ok()?;
        self.touch(&path);
        Some(ResolvedName {
            descriptor: file.descriptor,
            at: Epoch(file.at),
        })
    }

    /// Remembers what a name was resolved to just now.
    pub fn remember(
        &self,
        name: &Reference,
        platform: &Platform,
        descriptor: Descriptor,
    ) -> Result<(), StoreError> {
        let path = self.name_path(name, platform);
        let temp = self.temp()?;
        self.pin(&descriptor.digest)?;
        self.relax()?;
        let file = NameFile {
            reference: name.to_string(),
            platform: platform.to_string(),
            at: crate::clock::now().0,
            descriptor,
        };
        let bytes = serde_json::to_vec(&file).map_err(|source| StoreError::Encode {
            path: path.clone(),
            source,
        })?;
        file::replace(&temp, &path, &seal("name", bytes)).map_err(at!(Create, &path))
    }

    fn name_path(&self, name: &Reference, platform: &Platform) -> std::path::PathBuf {
        let text = format!("{name}\n{platform}");
        let digest = hex(ContentDigest::of(text.as_bytes()).as_bytes());
        self.paths().area("names").join(digest)
    }
}

/// The descriptor of a name's file; `None` if it is damaged.
pub(super) fn read_descriptor(path: &std::path::Path) -> Option<Descriptor> {
    let bytes = unseal("name", file::read(path, NAME_BYTES_MAX)?)?;
    let file: NameFile = serde_json::from_slice(&bytes).ok()?;
    Some(file.descriptor)
}
