//! Images of the store, as the verbs name and read them.

use std::path::Path;

use super::super::{CliError, Stop};
use crate::cache::{Access, Store};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::image::{Descriptor, ImageConfig, Index, Manifest, MediaType};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX};

/// Opens the store for verbs that change it.
pub(crate) fn open(root: &Path) -> Result<Store, Stop> {
    Ok(Store::open(root, Access::ReadWrite).map_err(Failure::from)?)
}

/// Opens the store for verbs that look.
pub(crate) fn open_to_read(root: &Path) -> Result<Store, Stop> {
    Ok(Store::open(root, Access::ReadOnly).map_err(Failure::from)?)
}

/// An image that a word names.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Its names.
    pub(super) names: Vec<Reference>,
    /// Its manifest or index.
    pub(super) descriptor: Descriptor,
}

/// A manifest with its config.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// The manifest's descriptor.
    pub(super) descriptor: Descriptor,
    /// The manifest.
    pub(super) manifest: Manifest,
    /// The config.
    pub(super) config: ImageConfig,
    /// The config's bytes.
    pub(super) config_bytes: Vec<u8>,
}

impl Image {
    /// Bytes of config and layers as they are transferred.
    pub(super) fn size(&self) -> u64 {
        let layers = self.manifest.layers.iter().map(|layer| layer.size);
        layers.fold(self.manifest.config.size, u64::saturating_add)
    }
}

/// All images, each once, in the order in which they were named first.
pub(super) fn all(store: &Store) -> Result<Vec<Found>, Stop> {
    let mut list: Vec<Found> = Vec::new();
    for image in store.images().map_err(Failure::from)? {
        let digest = image.descriptor.digest;
        match list
            .iter_mut()
            .find(|found| found.descriptor.digest == digest)
        {
            Some(found) => found.names.extend(image.name),
            None => list.push(Found {
                names: image.name.into_iter().collect(),
                descriptor: image.descriptor,
            }),
        }
    }
    Ok(list)
}

/// The image that a word means: a name, or the start of the digest of a manifest, index or config.
pub(super) fn find(store: &Store, word: &str) -> Result<Found, Stop> {
    let images = all(store)?;
    let name = word.parse::<Reference>().ok();
    if let Some(found) = images
        .iter()
        .find(|image| name.as_ref().is_some_and(|name| image.names.contains(name)))
    {
        return Ok(found.clone());
    }
    let mut matching = images
        .into_iter()
        .filter(|image| has_id(store, image, word));
    match (matching.next(), matching.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(CliError::Ambiguous {
            word: word.to_owned(),
        }
        .into()),
        (None, _) => Err(CliError::NoImage {
            word: word.to_owned(),
        }
        .into()),
    }
}

/// Whether a word is the start of an image's id, at least two digits of it.
fn has_id(store: &Store, found: &Found, word: &str) -> bool {
    let hex = word.strip_prefix("sha256:").unwrap_or(word);
    if hex.len() < 2 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return false;
    }
    let begins = |digest: &Digest| digest.hex().starts_with(&hex.to_ascii_lowercase());
    begins(&found.descriptor.digest)
        || images_of(store, &found.descriptor).is_ok_and(|images| {
            images.iter().any(|image| {
                begins(&image.descriptor.digest) || begins(&image.manifest.config.digest)
            })
        })
}

/// The images of a manifest or index; platforms whose manifest is not here are left out.
pub(super) fn images_of(store: &Store, descriptor: &Descriptor) -> Result<Vec<Image>, Stop> {
    let bytes = store
        .read_blob(&descriptor.digest, MANIFEST_BYTES_MAX)
        .map_err(Failure::from)?;
    let media_type = MediaType::parse(&descriptor.media_type);
    if !matches!(
        media_type,
        Some(MediaType::OciIndex | MediaType::DockerIndex)
    ) {
        return Ok(vec![image_of(store, descriptor, &bytes)?]);
    }
    let index: Index =
        serde_json::from_slice(&bytes).map_err(|source| damaged(descriptor, source))?;
    let mut images = Vec::new();
    for child in &index.manifests {
        let Ok(bytes) = store.read_blob(&child.digest, MANIFEST_BYTES_MAX) else {
            continue;
        };
        images.push(image_of(store, child, &bytes)?);
    }
    Ok(images)
}

fn image_of(store: &Store, descriptor: &Descriptor, bytes: &[u8]) -> Result<Image, Stop> {
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|source| damaged(descriptor, source))?;
    let config_bytes = store
        .read_blob(&manifest.config.digest, CONFIG_BYTES_MAX)
        .map_err(Failure::from)?;
    let config = serde_json::from_slice(&config_bytes)
        .map_err(|source| damaged(&manifest.config, source))?;
    Ok(Image {
        descriptor: descriptor.clone(),
        manifest,
        config,
        config_bytes,
    })
}

fn damaged(descriptor: &Descriptor, source: serde_json::Error) -> CliError {
    CliError::Document {
        digest: descriptor.digest,
        source,
    }
}

/// The one image to show of several platforms: the host's, else the first.
pub(super) fn preferred(images: &[Image]) -> Option<&Image> {
    let host = Platform::host();
    let native = images
        .iter()
        .find(|image| host.accepts(&image.config.platform()));
    native.or(images.first())
}
