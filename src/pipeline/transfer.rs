//! Images between registries and the store, without a build.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::cache::store::Hashing;
use crate::cache::{Store, StoreError};
use crate::digest::Digest;
use crate::event::{Activity, Outcome, Reporter};
use crate::export::{
    self, BlobSource, Document, ExportError, ExportImage, ExportLayer, ExportSet, PushOptions,
    PushSummary,
};
use crate::failure::{Explain, Failure, Kind, io_hints};
use crate::image::{Descriptor, ImageConfig, Index, Manifest, MediaType};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::{CONFIG_BYTES_MAX, Client, Known, MANIFEST_BYTES_MAX, RegistryError};

/// Layers that are fetched at one time.
const PARALLEL: usize = 4;
/// Bytes copied at one time.
const BUFFER_BYTES: usize = 256 * 1024;
/// Bytes between two reports of progress.
const REPORT_BYTES: u64 = 1 << 20;

/// Why an image could not be transferred.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry.
    #[error(transparent)]
    Registry(Box<RegistryError>),
    /// The push.
    #[error(transparent)]
    Push(Box<ExportError>),
    /// A layer that broke off or was not what its digest says.
    #[error("failed to fetch layer {digest}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Why.
        source: io::Error,
    },
    /// A document of the store that cannot be read.
    #[error("failed to read {digest} as an image document")]
    Document {
        /// The document.
        digest: Digest,
        /// Why.
        source: serde_json::Error,
    },
    /// A manifest whose layers are not those of its config.
    #[error("manifest {digest} has {layers} layers, its config {diff_ids}")]
    LayerCount {
        /// The manifest.
        digest: Digest,
        /// Its layers.
        layers: usize,
        /// Those of the config.
        diff_ids: usize,
    },
    /// Another transfer failed first.
    #[error("transfer stopped")]
    Stopped,
}

impl From<RegistryError> for TransferError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl From<ExportError> for TransferError {
    fn from(error: ExportError) -> Self {
        Self::Push(Box::new(error))
    }
}

impl Explain for TransferError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Registry(error) => error.kind(),
            Self::Push(error) => error.kind(),
            Self::Layer { .. } => Kind::Environment,
            Self::Document { .. } | Self::LayerCount { .. } => Kind::User,
            Self::Stopped => Kind::Cancelled,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::Registry(error) => error.hints(),
            Self::Push(error) => error.hints(),
            Self::Layer { source, .. } => io_hints(source),
            _ => Vec::new(),
        }
    }
}

/// Fetches the image that `name` offers for `platform`, with all layers, and names it in the
/// store. Gives its manifest. What the store has is not fetched again.
pub fn pull(
    client: &Client,
    store: &Store,
    (name, platform): (&Reference, &Platform),
    reporter: &Reporter,
) -> Result<Descriptor, Failure> {
    let activity = reporter.start(format!("pull {name}"));
    match fetch(client, store, (name, platform), &activity) {
        Ok(descriptor) => {
            activity.finish(Outcome::Done);
            Ok(descriptor)
        }
        Err(error) => {
            activity.finish(Outcome::Failed(error.to_string()));
            Err(error.into())
        }
    }
}

fn fetch(
    client: &Client,
    store: &Store,
    (name, platform): (&Reference, &Platform),
    activity: &Activity,
) -> Result<Descriptor, TransferError> {
    let found = client.resolve_platform(name, platform, &Stored(store))?;
    let offered = found.config.platform();
    if !platform.accepts(&offered) {
        activity.note(format!("{name} is for {offered}, not for {platform}"));
    }
    let wanted: BTreeMap<Digest, &Descriptor> = found
        .manifest
        .layers
        .iter()
        .map(|layer| (layer.digest, layer))
        .collect();
    let missing: Vec<&Descriptor> = wanted
        .into_values()
        .filter(|layer| !store.has_blob(&layer.digest))
        .collect();
    fetch_layers(client, store, (name, &missing), activity)?;
    store.put_blob(&found.config_bytes)?;
    store.put_blob(&found.bytes)?;
    let mut descriptor = found.descriptor;
    descriptor.platform = None;
    store.tag(name, descriptor.clone())?;
    Ok(descriptor)
}

/// Documents that are in the store need not be fetched.
struct Stored<'a>(&'a Store);

impl Known for Stored<'_> {
    fn bytes(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.0.read_blob(digest, MANIFEST_BYTES_MAX).ok()
    }

    fn last(&self, _reference: &Reference) -> Option<Descriptor> {
        None
    }
}

/// Fetches layers, a few at a time; the first failure stops the others.
fn fetch_layers(
    client: &Client,
    store: &Store,
    (name, layers): (&Reference, &[&Descriptor]),
    activity: &Activity,
) -> Result<(), TransferError> {
    let queue = Mutex::new(layers.iter());
    let failed = AtomicBool::new(false);
    let work = || -> Result<(), TransferError> {
        loop {
            let next = queue.lock().map_or(None, |mut queue| queue.next());
            let Some(layer) = next else { return Ok(()) };
            let fetched = fetch_layer(client, store, (name, layer), (activity, &failed));
            if fetched.is_err() {
                failed.store(true, Ordering::Relaxed);
                return fetched;
            }
        }
    };
    let results: Vec<Result<(), TransferError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PARALLEL.min(layers.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined
            .map(|result| result.unwrap_or(Err(TransferError::Stopped)))
            .collect()
    });
    // The cause, not the threads that it stopped.
    let mut errors: Vec<TransferError> = results.into_iter().filter_map(Result::err).collect();
    errors.sort_by_key(|error| matches!(error, TransferError::Stopped));
    errors.into_iter().next().map_or(Ok(()), Err)
}

fn fetch_layer(
    client: &Client,
    store: &Store,
    (name, layer): (&Reference, &Descriptor),
    (activity, failed): (&Activity, &AtomicBool),
) -> Result<(), TransferError> {
    let digest = layer.digest;
    let broken = |source| TransferError::Layer { digest, source };
    let part = digest.to_string();
    let mut reader = client.blob(name, layer)?;
    // The reader verifies what it delivers.
    let mut writer = store.blob_writer(Hashing::ByCaller)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut done, mut told) = (0_u64, 0);
    activity.progress(&part, 0, Some(layer.size), false);
    loop {
        if failed.load(Ordering::Relaxed) {
            return Err(TransferError::Stopped);
        }
        let count = reader.read(&mut buffer).map_err(broken)?;
        if count == 0 {
            break;
        }
        writer.write_all(&buffer[..count]).map_err(broken)?;
        done += count as u64;
        if done - told >= REPORT_BYTES {
            told = done;
            activity.progress(&part, done, Some(layer.size), false);
        }
    }
    writer.commit(Some((digest, layer.size)))?;
    activity.progress(&part, layer.size, Some(layer.size), true);
    Ok(())
}

/// Pushes an image of the store, byte by byte as it is, under `names`.
pub fn push(
    client: &Client,
    store: &Store,
    (descriptor, names): (&Descriptor, &[Reference]),
    reporter: &Reporter,
) -> Result<PushSummary, Failure> {
    let list: Vec<String> = names.iter().map(ToString::to_string).collect();
    let activity = reporter.start(format!("push {}", list.join(", ")));
    let blobs = StoredBlobs(store);
    let options = PushOptions {
        by_digest: false,
        activity: Some(&activity),
    };
    let pushed = stored_set(store, descriptor)
        .and_then(|set| Ok(export::push(client, &set, names, &blobs, options)?));
    match pushed {
        Ok(summary) => {
            activity.finish(Outcome::Done);
            Ok(summary)
        }
        Err(error) => {
            activity.finish(Outcome::Failed(error.to_string()));
            Err(error.into())
        }
    }
}

/// The documents of an image as the store has them.
fn stored_set(store: &Store, descriptor: &Descriptor) -> Result<ExportSet, TransferError> {
    let top = document(store, descriptor, MANIFEST_BYTES_MAX)?;
    let media_type = MediaType::parse(&descriptor.media_type);
    if !matches!(
        media_type,
        Some(MediaType::OciIndex | MediaType::DockerIndex)
    ) {
        let images = vec![stored_image(store, top)?];
        return Ok(ExportSet {
            images,
            index: None,
        });
    }
    let index: Index = parse(&top)?;
    // An index may name one manifest for two platforms.
    let mut seen = BTreeSet::new();
    let children = index
        .manifests
        .iter()
        .filter(|child| seen.insert(child.digest));
    let images = children
        .map(|child| stored_image(store, document(store, child, MANIFEST_BYTES_MAX)?))
        .collect::<Result<_, _>>()?;
    Ok(ExportSet {
        images,
        index: Some(top),
    })
}

fn stored_image(store: &Store, manifest: Document) -> Result<ExportImage, TransferError> {
    let parsed: Manifest = parse(&manifest)?;
    let config = document(store, &parsed.config, CONFIG_BYTES_MAX)?;
    let values: ImageConfig = parse(&config)?;
    let (layers, diff_ids) = (parsed.layers, &values.rootfs.diff_ids);
    if layers.len() != diff_ids.len() {
        return Err(TransferError::LayerCount {
            digest: manifest.descriptor.digest,
            layers: layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    let pairs = layers.into_iter().zip(diff_ids);
    let layers = pairs.map(|(descriptor, diff_id)| ExportLayer {
        descriptor,
        diff_id: *diff_id,
    });
    Ok(ExportImage {
        platform: values.platform(),
        layers: layers.collect(),
        config,
        manifest,
    })
}

fn document(store: &Store, descriptor: &Descriptor, max: u64) -> Result<Document, TransferError> {
    let bytes = store.read_blob(&descriptor.digest, max)?;
    Ok(Document::new(&descriptor.media_type, bytes))
}

fn parse<T: serde::de::DeserializeOwned>(document: &Document) -> Result<T, TransferError> {
    let digest = document.descriptor.digest;
    serde_json::from_slice(&document.bytes)
        .map_err(|source| TransferError::Document { digest, source })
}

/// Layers that are in the store.
struct StoredBlobs<'a>(&'a Store);

impl BlobSource for StoredBlobs<'_> {
    fn open(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        let blob = self.0.open_blob(&descriptor.digest, descriptor.size);
        Ok(Box::new(blob.map_err(io::Error::other)?))
    }

    fn mount_candidate(&self, _digest: &Digest, _target: &Reference) -> Option<Reference> {
        None
    }

    fn is_local(&self, digest: &Digest) -> bool {
        self.0.has_blob(digest)
    }
}
