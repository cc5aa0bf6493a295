//! Base images: found by name in the store, a registry or a layout; their layers fetched by nobody
//! until somebody needs them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::error::PipelineError;
use super::policy::{Policy, PolicyError};
use super::request::BuildRequest;
use crate::cache::Store;
use crate::digest::{DiffId, Digest, VerifiedReader};
use crate::event::{Outcome, Reporter};
use crate::executor::BlobStream;
use crate::failure::Failure;
use crate::image::{Compression, Descriptor, ImageConfig, Index, Manifest, MediaType};
use crate::planner::ports::{BaseLayer, ImageResolver, ResolvedImage};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::{self, CONFIG_BYTES_MAX, Client, MANIFEST_BYTES_MAX};

/// Where the blob of a layer can be had.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A repository of a registry.
    Registry(Reference),
    /// The blobs of an OCI layout.
    Layout(PathBuf),
}

/// A layer blob and where it is.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The blob.
    pub(super) descriptor: Descriptor,
    /// Where.
    pub(super) place: Place,
}

/// Finds images, and remembers where their layers are.
#[derive(Debug)]
pub(super) struct Images<'a> {
    store: &'a Store,
    client: &'a Client,
    reporter: &'a Reporter,
    /// `--pull`: registries are asked even if the answer is remembered.
    pull: bool,
    policy: &'a Policy,
    origins: Mutex<BTreeMap<DiffId, Origin>>,
}

/// A manifest chosen, with its bytes.
struct Found {
    descriptor: Descriptor,
    manifest: Manifest,
    config: ImageConfig,
}

impl<'a> Images<'a> {
    /// Images of a store and of registries, as far as the policy of the request lets them be used.
    pub(super) fn new(
        store: &'a Store,
        client: &'a Client,
        reporter: &'a Reporter,
        request: &'a BuildRequest,
    ) -> Self {
        let BuildRequest { pull, policy, .. } = request;
        Self {
            store,
            client,
            reporter,
            pull: *pull,
            policy,
            origins: Mutex::default(),
        }
    }

    /// What stands for a name by the policy: a name of the same or of another image.
    fn decided(&self, name: &str) -> Result<String, Failure> {
        if self.policy.is_empty() {
            return Ok(name.to_owned());
        }
        let identifier = match name.split_once("://") {
            Some(("oci-layout", _)) => name.to_owned(),
            Some(("docker-image", rest)) => docker_image(rest)?,
            _ => docker_image(name)?,
        };
        let decided = self.policy.decide(&identifier)?;
        if decided.starts_with("docker-image://") || decided.starts_with("oci-layout://") {
            return Ok(decided);
        }
        Err(PolicyError::Conversion {
            from: identifier,
            to: decided,
        }
        .into())
    }

    /// Where the blob of a layer can be had, if an image of this build has it.
    pub(super) fn origin(&self, diff_id: &DiffId) -> Option<Origin> {
        self.origins
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(diff_id)
            .cloned()
    }

    /// Opens the blob of a layer where it is.
    pub(super) fn open(&self, diff_id: &DiffId) -> Result<Option<BlobStream>, Failure> {
        let Some(origin) = self.origin(diff_id) else {
            return Ok(None);
        };
        let descriptor = &origin.descriptor;
        let compression = Compression::of_media_type(&descriptor.media_type).ok_or_else(|| {
            PipelineError::LayerType {
                media_type: descriptor.media_type.clone(),
            }
        })?;
        let bytes: Box<dyn Read + Send> = match &origin.place {
            // Pulled images are in the store, whatever their layers are known as.
            _ if self.store.has_blob(&descriptor.digest) => {
                Box::new(self.store.open_blob(&descriptor.digest, descriptor.size)?)
            }
            Place::Registry(repository) => Box::new(self.client.blob(repository, descriptor)?),
            Place::Layout(layout) => {
                let file = open_layout_blob(layout, &descriptor.digest)?;
                Box::new(VerifiedReader::new(
                    file,
                    descriptor.digest,
                    descriptor.size,
                ))
            }
        };
        let form = crate::cache::record::BlobForm {
            compression,
            digest: descriptor.digest,
            size: descriptor.size,
            made_by: None,
        };
        Ok(Some(BlobStream { form, bytes }))
    }

    fn look_in_store(&self, name: &Reference, platform: &Platform) -> Option<Found> {
        if self.pull {
            return None;
        }
        let descriptor = match self.store.image(name).ok()? {
            Some(descriptor) => descriptor,
            None => self.store.resolved(name, platform)?.descriptor,
        };
        self.stored(descriptor, platform, 2)
    }

    /// An image all of whose documents are in the store.
    fn stored(&self, descriptor: Descriptor, platform: &Platform, depth: u32) -> Option<Found> {
        let bytes = self
            .store
            .read_blob(&descriptor.digest, MANIFEST_BYTES_MAX)
            .ok()?;
        match MediaType::parse(&descriptor.media_type)? {
            MediaType::OciIndex | MediaType::DockerIndex if depth > 0 => {
                let index: Index = serde_json::from_slice(&bytes).ok()?;
                let child = registry::choose(&index, platform)?.clone();
                self.stored(child, platform, depth - 1)
            }
            MediaType::OciManifest | MediaType::DockerManifest => {
                let manifest: Manifest = serde_json::from_slice(&bytes).ok()?;
                let config = self
                    .store
                    .read_blob(&manifest.config.digest, CONFIG_BYTES_MAX)
                    .ok()?;
                let config: ImageConfig = serde_json::from_slice(&config).ok()?;
                platform.accepts(&config.platform()).then_some(Found {
                    descriptor,
                    manifest,
                    config,
                })
            }
            _ => None,
        }
    }

    fn ask_registry(&self, name: &Reference, platform: &Platform) -> Result<Found, Failure> {
        let known = KnownInStore { store: self.store };
        let found = self.client.resolve_platform(name, platform, &known)?;
        // Kept so that the next build asks nobody; that they cannot be kept is no reason to fail.
        let kept = || -> Result<(), crate::cache::StoreError> {
            self.store.put_blob(&found.bytes)?;
            self.store.put_blob(&found.config_bytes)?;
            self.store
                .remember(name, platform, found.descriptor.clone())
        };
        if let Err(error) = kept() {
            tracing::debug!(%error, "resolved name not kept");
        }
        let (descriptor, manifest, config) = (found.descriptor, found.manifest, found.config);
        Ok(Found {
            descriptor,
            manifest,
            config,
        })
    }

    /// An image that the store or a layout has; no registry is asked.
    pub(super) fn at_hand(&self, name: &str, platform: &Platform) -> Option<ResolvedImage> {
        let name = self.decided(name).ok()?;
        let name = match name.split_once("://") {
            Some(("oci-layout", address)) => return self.in_layout(address, platform).ok(),
            Some(("docker-image", name)) => name,
            _ => &name,
        };
        let reference: Reference = name.parse().ok()?;
        let found = self.look_in_store(&reference, platform)?;
        let place = Place::Registry(reference.clone());
        self.resolved(Some(reference), found, &place).ok()
    }

    fn in_registry(&self, name: &str, platform: &Platform) -> Result<ResolvedImage, Failure> {
        let reference: Reference = name.parse().map_err(PipelineError::from)?;
        let found = if let Some(found) = self.look_in_store(&reference, platform) {
            found
        } else {
            let title = format!("[internal] load metadata for {reference}");
            let activity = self.reporter.start(title);
            let asked = self.ask_registry(&reference, platform);
            activity.finish(match &asked {
                Ok(_) => Outcome::Done,
                Err(failure) => Outcome::Failed(super::failure_text(failure)),
            });
            asked?
        };
        let place = Place::Registry(reference.clone());
        self.resolved(Some(reference), found, &place)
    }

    fn in_layout(&self, address: &str, platform: &Platform) -> Result<ResolvedImage, Failure> {
        let (layout, tag, digest) = split_layout(address)?;
        let index = read_layout_file(&layout, "index.json")?;
        let index: Index =
            serde_json::from_slice(&index).map_err(|source| PipelineError::LayoutJson {
                path: layout.clone(),
                source,
            })?;
        let missing = || PipelineError::NotInLayout {
            address: address.to_owned(),
        };
        let named = index
            .manifests
            .iter()
            .find(|descriptor| match (&digest, &tag) {
                (Some(digest), _) => descriptor.digest == *digest,
                (None, Some(tag)) => {
                    descriptor
                        .annotations
                        .get("org.opencontainers.image.ref.name")
                        == Some(tag)
                }
                (None, None) => true,
            });
        let mut descriptor = named.ok_or_else(missing)?.clone();
        loop {
            let bytes = read_layout_blob(&layout, &descriptor, MANIFEST_BYTES_MAX)?;
            let json = |source| PipelineError::LayoutJson {
                path: layout.clone(),
                source,
            };
            if matches!(
                MediaType::parse(&descriptor.media_type),
                Some(MediaType::OciIndex | MediaType::DockerIndex)
            ) {
                let inner: Index = serde_json::from_slice(&bytes).map_err(json)?;
                let child = registry::choose(&inner, platform)
                    .ok_or_else(missing)?
                    .clone();
                if child.digest == descriptor.digest {
                    return Err(missing().into());
                }
                descriptor = child;
                continue;
            }
            let manifest: Manifest = serde_json::from_slice(&bytes).map_err(json)?;
            let config = read_layout_blob(&layout, &manifest.config, CONFIG_BYTES_MAX)?;
            let config: ImageConfig = serde_json::from_slice(&config).map_err(json)?;
            let found = Found {
                descriptor,
                manifest,
                config,
            };
            return self.resolved(None, found, &Place::Layout(layout));
        }
    }

    /// Pairs layers with their diff ids and remembers where they are.
    fn resolved(
        &self,
        reference: Option<Reference>,
        found: Found,
        place: &Place,
    ) -> Result<ResolvedImage, Failure> {
        let Found {
            descriptor,
            manifest,
            config,
        } = found;
        if manifest.layers.len() != config.rootfs.diff_ids.len() {
            return Err(PipelineError::LayerCount {
                image: descriptor.digest,
                layers: manifest.layers.len(),
                diff_ids: config.rootfs.diff_ids.len(),
            }
            .into());
        }
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        let mut layers = Vec::with_capacity(manifest.layers.len());
        for (descriptor, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
            let (descriptor, place) = (descriptor.clone(), place.clone());
            layers.push(BaseLayer {
                diff_id: *diff_id,
                descriptor: descriptor.clone(),
            });
            origins
                .entry(*diff_id)
                .or_insert(Origin { descriptor, place });
        }
        Ok(ResolvedImage {
            reference,
            manifest: descriptor.digest,
            config,
            layers,
        })
    }
}

impl ImageResolver for Images<'_> {
    fn resolve(&self, name: &str, platform: &Platform) -> Result<ResolvedImage, Failure> {
        let name = self.decided(name)?;
        match name.split_once("://") {
            Some(("oci-layout", address)) => self.in_layout(address, platform),
            Some(("docker-image", name)) => self.in_registry(name, platform),
            _ => self.in_registry(&name, platform),
        }
    }

    fn resolve_all(&self, wanted: &[(String, Platform)]) -> Vec<Result<ResolvedImage, Failure>> {
        if let [(name, platform)] = wanted {
            return vec![self.resolve(name, platform)];
        }
        std::thread::scope(|scope| {
            let asked: Vec<_> = wanted
                .iter()
                .map(|(name, platform)| scope.spawn(move || self.resolve(name, platform)))
                .collect();
            asked
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(PipelineError::Panicked.into()))
                })
                .collect()
        })
    }
}

/// Documents that are in the store need not be fetched.
struct KnownInStore<'a> {
    store: &'a Store,
}

impl registry::Known for KnownInStore<'_> {
    fn bytes(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.store.read_blob(digest, MANIFEST_BYTES_MAX).ok()
    }

    fn last(&self, _reference: &Reference) -> Option<Descriptor> {
        None
    }
}

/// The name of an image as policies have it: in full, with its tag.
fn docker_image(name: &str) -> Result<String, PipelineError> {
    let mut reference: Reference = name.parse()?;
    if reference.tag.is_none() && reference.digest.is_none() {
        reference = reference.tagged("latest");
    }
    Ok(format!("docker-image://{reference}"))
}

/// `path[:tag][@digest]`
fn split_layout(address: &str) -> Result<(PathBuf, Option<String>, Option<Digest>), PipelineError> {
    let (rest, digest) = match address.split_once('@') {
        Some((rest, digest)) => {
            let wrong = |_| PipelineError::NotInLayout {
                address: address.to_owned(),
            };
            (rest, Some(digest.parse().map_err(wrong)?))
        }
        None => (address, None),
    };
    // A colon belongs to the path if there is such a directory.
    match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') && !Path::new(rest).is_dir() => {
            Ok((PathBuf::from(path), Some(tag.to_owned()), digest))
        }
        _ => Ok((PathBuf::from(rest), None, digest)),
    }
}

fn open_layout_blob(layout: &Path, digest: &Digest) -> Result<std::fs::File, PipelineError> {
    let path = layout.join("blobs/sha256").join(digest.hex());
    std::fs::File::open(&path).map_err(|source| PipelineError::LayoutRead { path, source })
}

fn read_layout_file(layout: &Path, name: &str) -> Result<Vec<u8>, PipelineError> {
    let path = layout.join(name);
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(&path)?
            .take(MANIFEST_BYTES_MAX)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| PipelineError::LayoutRead { path, source })
}

fn read_layout_blob(
    layout: &Path,
    descriptor: &Descriptor,
    max: u64,
) -> Result<Vec<u8>, PipelineError> {
    let path = layout.join("blobs/sha256").join(descriptor.digest.hex());
    let read = || {
        if descriptor.size > max {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let file = std::fs::File::open(&path)?;
        let mut bytes = Vec::new();
        VerifiedReader::new(file, descriptor.digest, descriptor.size).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| PipelineError::LayoutRead { path, source })
}
