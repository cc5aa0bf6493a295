//! Images by name: `index.json` of the layout.

use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::file;
use super::lock::{self, Share};
use super::open::Store;
use crate::cache::error::{StoreError, at};
use crate::image::{Descriptor, MediaType};
use crate::reference::Reference;

/// The annotation that OCI tools name an image of a layout by.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation that containerd and Docker name it by, in full.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// How long a change of the index waits for another one.
const INDEX_WAIT: Duration = Duration::from_secs(30);
/// The longest index that is read, in bytes.
const INDEX_BYTES_MAX: u64 = 256 << 20;

/// An image of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredImage {
    /// Its name; `None` if another tool put it there without one.
    pub name: Option<Reference>,
    /// Its manifest or index.
    pub descriptor: Descriptor,
}

impl Store {
    /// Gives an image a name, taking the name from the image that has it. Everything put into the
    /// store before is durable when this returns. Writes nothing if it is so already.
    ///
    /// # Errors
    /// What prevented writing, now or in the background: then no name has moved.
    /// [`StoreError::Index`] if `index.json` is damaged.
    pub fn tag(&self, name: &Reference, descriptor: Descriptor) -> Result<(), StoreError> {
        self.tag_all(std::slice::from_ref(name), descriptor)
    }

    /// Gives an image several names at once.
    pub fn tag_all(&self, names: &[Reference], descriptor: Descriptor) -> Result<(), StoreError> {
        self.flush()?;
        let entry = |name: &Reference| {
            let mut entry = descriptor.clone();
            let short = name.familiar();
            entry.annotations.insert(REF_NAME.to_owned(), short);
            entry
                .annotations
                .insert(IMAGE_NAME.to_owned(), name.to_string());
            entry
        };
        self.change_index(|images| {
            let mut changed = false;
            for name in names {
                let entry = entry(name);
                if images.iter().any(|other| same(other, &entry)) {
                    continue;
                }
                images.retain(|other| name_of(other).as_ref() != Some(name));
                images.push(serde_json::to_value(entry).unwrap_or_default());
                changed = true;
            }
            changed
        })
    }

    /// Takes a name away; `false` if there was none. The image's blobs stay until they are pruned.
    pub fn untag(&self, name: &Reference) -> Result<bool, StoreError> {
        let mut found = false;
        self.change_index(|images| {
            let before = images.len();
            images.retain(|other| name_of(other).as_ref() != Some(name));
            found = images.len() < before;
            found
        })?;
        Ok(found)
    }

    /// The image of a name.
    ///
    /// # Errors
    /// [`StoreError::Index`] if `index.json` is damaged, [`StoreError::Read`].
    pub fn image(&self, name: &Reference) -> Result<Option<Descriptor>, StoreError> {
        let images = self.images()?;
        let found = images
            .into_iter()
            .find(|image| image.name.as_ref() == Some(name));
        Ok(found.map(|image| image.descriptor))
    }

    /// All images, in the order in which they were named.
    pub fn images(&self) -> Result<Vec<StoredImage>, StoreError> {
        let index = self.read_index()?;
        let entries = manifests(&index);
        let image = |entry: &Value| {
            let descriptor = serde_json::from_value(entry.clone()).ok()?;
            let name = name_of(entry);
            Some(StoredImage { name, descriptor })
        };
        Ok(entries.iter().filter_map(image).collect())
    }

    fn read_index(&self) -> Result<Map<String, Value>, StoreError> {
        let path = self.paths().index();
        let bytes = match file::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(new_index()),
            Err(error) => return Err(at!(Read, path)(error)),
            Ok(_) => file::read(&path, INDEX_BYTES_MAX).unwrap_or_default(),
        };
        let invalid = |source| StoreError::Index {
            path: path.clone(),
            source,
        };
        let index: Map<String, Value> = serde_json::from_slice(&bytes).map_err(invalid)?;
        match index.get("manifests") {
            Some(Value::Array(_)) => Ok(index),
            _ => Err(invalid(serde::de::Error::missing_field("manifests"))),
        }
    }

    /// Changes the list of images under the lock; `change` says whether there is anything to write.
    fn change_index(
        &self,
        mut change: impl FnMut(&mut Vec<Value>) -> bool,
    ) -> Result<(), StoreError> {
        let mut index = self.read_index()?;
        if !apply(&mut index, &mut change) {
            return Ok(());
        }
        // Somebody may have changed it since: once more, alone.
        let temp = self.temp()?;
        let path = self.paths().area("index.lock");
        let _lock = lock::lock(&path, Share::Exclusive, INDEX_WAIT)?;
        self.check_layout()?;
        let mut index = self.read_index()?;
        if !apply(&mut index, &mut change) {
            return Ok(());
        }
        let path = self.paths().index();
        let bytes = serde_json::to_vec(&index).map_err(|source| StoreError::Encode {
            path: path.clone(),
            source,
        })?;
        let written = file::create(&temp).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&temp, &path)?;
            file::sync_dir(self.paths().root())
        });
        written.map_err(|source| {
            file::discard(&temp);
            StoreError::Write {
                path,
                written: 0,
                source,
            }
        })
    }

    /// Refuses a layout of another version.
    fn check_layout(&self) -> Result<(), StoreError> {
        let path = self.paths().oci_layout();
        let bytes = file::read(&path, 1 << 16).unwrap_or_default();
        let layout: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match layout.get("imageLayoutVersion").and_then(Value::as_str) {
            // Absent: not ours to judge; the store's own files are below `builder`.
            None => Ok(()),
            Some(version) if version.starts_with("1.") => Ok(()),
            Some(version) => {
                let version = version.chars().take(40).collect();
                Err(StoreError::Layout { path, version })
            }
        }
    }
}

fn new_index() -> Map<String, Value> {
    let mut index = Map::new();
    index.insert("schemaVersion".to_owned(), json!(2));
    index.insert("mediaType".to_owned(), json!(MediaType::OciIndex.as_str()));
    index.insert("manifests".to_owned(), json!([]));
    index
}

fn manifests(index: &Map<String, Value>) -> &[Value] {
    let entries = index.get("manifests").and_then(Value::as_array);
    entries.map_or(&[], Vec::as_slice)
}

fn apply(index: &mut Map<String, Value>, change: impl FnOnce(&mut Vec<Value>) -> bool) -> bool {
    match index.get_mut("manifests") {
        Some(Value::Array(entries)) => change(entries),
        _ => false,
    }
}

fn same(entry: &Value, descriptor: &Descriptor) -> bool {
    serde_json::from_value::<Descriptor>(entry.clone()).is_ok_and(|entry| entry == *descriptor)
}

/// The name of an entry: containerd's in full, else OCI's as people write it.
fn name_of(entry: &Value) -> Option<Reference> {
    let annotation = |name| entry.get("annotations")?.get(name)?.as_str();
    let name = annotation(IMAGE_NAME).or_else(|| annotation(REF_NAME))?;
    name.parse().ok()
}
