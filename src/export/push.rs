//! Pushing: layers, then configs, then manifests, then the index; a tag moves last and only to
//! something complete.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::error::ExportError;
use super::set::{Document, ExportSet};
use super::source::BlobSource;
use crate::digest::{Digest, VerifiedReader};
use crate::event::{Activity, Event, Reporter, Vertex};
use crate::image::Descriptor;
use crate::reference::Reference;
use crate::registry::{Client, Pushed, RegistryError};

/// Requests that are under way at one time. They wait, they do not compute.
const PARALLEL_MAX: usize = 8;
/// How many bytes are sent between two reports.
const REPORT_BYTES: u64 = 1 << 20;

/// How to push.
#[derive(Clone, Copy, Debug, Default)]
pub struct PushOptions<'a> {
    /// Under digests alone, no tag is moved.
    pub by_digest: bool,
    /// The vertex that the push is a part of.
    pub activity: Option<&'a Activity>,
}

/// What a push came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushSummary {
    /// Blobs whose bytes were sent.
    pub uploaded: usize,
    /// Blobs taken over from other repositories.
    pub mounted: usize,
    /// Blobs that were there.
    pub existed: usize,
    /// Names that named this image already: nothing was sent for them.
    pub unchanged: usize,
}

/// Pushes a set under all `names`, repository by repository.
pub fn push(
    client: &Client,
    set: &ExportSet,
    names: &[Reference],
    blobs: &dyn BlobSource,
    options: PushOptions<'_>,
) -> Result<PushSummary, ExportError> {
    if names.is_empty() {
        return Err(ExportError::NoName);
    }
    let mut repositories: BTreeMap<String, BTreeSet<&Reference>> = BTreeMap::new();
    for name in names {
        repositories.entry(name.name()).or_default().insert(name);
    }
    let mut summary = PushSummary::default();
    for (repository, names) in &repositories {
        let push = Push {
            client,
            set,
            blobs,
            options,
            summary: Mutex::new(&mut summary),
        };
        push.repository(names).map_err(|error| match error {
            Failure::Registry(source) => ExportError::Push {
                name: repository.clone(),
                source,
            },
            Failure::Blob(digest, source) => ExportError::Blob { digest, source },
        })?;
    }
    Ok(summary)
}

enum Failure {
    Registry(RegistryError),
    Blob(Digest, io::Error),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Source { digest, source } => Self::Blob(digest, source),
            error => Self::Registry(error),
        }
    }
}

/// One push under way.
struct Push<'a> {
    client: &'a Client,
    set: &'a ExportSet,
    blobs: &'a dyn BlobSource,
    options: PushOptions<'a>,
    summary: Mutex<&'a mut PushSummary>,
}

impl Push<'_> {
    /// Pushes to one repository, under all its names.
    fn repository(&self, names: &BTreeSet<&Reference>) -> Result<(), Failure> {
        let root = &self.set.root().descriptor;
        let targets: Vec<Reference> = names
            .iter()
            .map(|name| {
                if self.options.by_digest {
                    name.at(root.digest)
                } else {
                    (*name).clone()
                }
            })
            .collect();
        let mut stale = Vec::new();
        for target in &targets {
            if self.client.pushed(target)? == Some(root.digest) {
                self.note(format!("{target} is up to date"));
                self.count(|summary| summary.unchanged += 1);
            } else {
                stale.push(target);
            }
        }
        let Some(first) = stale.first() else {
            return Ok(());
        };
        self.contents(first)?;
        match self.publish(&stale) {
            // A blob was deleted between the look and the publication: look again, once.
            Err(Failure::Registry(error)) if is_blob_unknown(&error) => {
                self.contents(first)?;
                self.publish(&stale)
            }
            other => other,
        }
    }

    /// Sees to it that the repository has all layers, then all configs.
    fn contents(&self, target: &Reference) -> Result<(), Failure> {
        let layers: Vec<&Descriptor> = self.set.layer_blobs().into_values().collect();
        self.note("pushing layers");
        in_parallel(&layers, |layer| self.layer(target, layer))?;
        let configs: Vec<&Document> = self.set.images.iter().map(|image| &image.config).collect();
        in_parallel(&configs, |config| {
            let bytes = config.bytes.clone();
            let open = move || Ok(Box::new(io::Cursor::new(bytes.clone())) as Box<dyn Read + Send>);
            let pushed = self
                .client
                .push_blob(target, &config.descriptor, &open, None)?;
            self.count_blob(pushed);
            Ok(())
        })
    }

    fn layer(&self, target: &Reference, layer: &Descriptor) -> Result<(), Failure> {
        let part = format!("pushing layer sha256:{}", layer.digest.short());
        let candidate = self.blobs.mount_candidate(&layer.digest, target);
        let open = || {
            // Our own store may be damaged too; the registry is not told a wrong digest.
            let reader = VerifiedReader::new(self.blobs.open(layer)?, layer.digest, layer.size);
            let Some(activity) = self.options.activity else {
                return Ok(Box::new(reader) as Box<dyn Read + Send>);
            };
            Ok(Box::new(Counted {
                inner: reader,
                reporter: activity.reporter().clone(),
                vertex: activity.vertex(),
                part: part.clone(),
                count: 0,
                reported: 0,
                total: layer.size,
            }) as Box<dyn Read + Send>)
        };
        let pushed = self
            .client
            .push_blob(target, layer, &open, candidate.as_ref())?;
        if pushed == Pushed::Uploaded
            && let Some(activity) = self.options.activity
        {
            activity.progress(&part, layer.size, Some(layer.size), true);
        }
        self.count_blob(pushed);
        Ok(())
    }

    /// Puts manifests and the index in place; the names last.
    fn publish(&self, targets: &[&Reference]) -> Result<(), Failure> {
        let Some(first) = targets.first() else {
            return Ok(());
        };
        let root = self.set.root();
        if self.set.index.is_some() {
            let manifests: Vec<&Document> = self
                .set
                .images
                .iter()
                .map(|image| &image.manifest)
                .collect();
            in_parallel(&manifests, |manifest| {
                let target = first.at(manifest.descriptor.digest);
                self.document(&target, manifest)
            })?;
        }
        for target in targets {
            self.note(format!(
                "pushing manifest for {}@{}",
                target.name(),
                root.descriptor.digest
            ));
            self.document(target, root)?;
        }
        Ok(())
    }

    fn document(&self, target: &Reference, document: &Document) -> Result<(), Failure> {
        let media_type = &document.descriptor.media_type;
        self.client
            .push_manifest(target, media_type, &document.bytes)?;
        Ok(())
    }

    fn note(&self, text: impl Into<String>) {
        if let Some(activity) = self.options.activity {
            activity.note(text);
        }
    }

    fn count(&self, change: impl FnOnce(&mut PushSummary)) {
        if let Ok(mut summary) = self.summary.lock() {
            change(&mut summary);
        }
    }

    fn count_blob(&self, pushed: Pushed) {
        self.count(|summary| match pushed {
            Pushed::Existed => summary.existed += 1,
            Pushed::Mounted => summary.mounted += 1,
            Pushed::Uploaded => summary.uploaded += 1,
        });
    }
}

/// A layer on its way out, reporting how far it is.
struct Counted<R> {
    inner: R,
    reporter: Reporter,
    vertex: Vertex,
    part: String,
    count: u64,
    reported: u64,
    total: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        if self.count - self.reported >= REPORT_BYTES {
            self.reported = self.count;
            self.reporter.send(Event::Progress {
                vertex: self.vertex,
                part: self.part.clone(),
                current: self.count,
                total: Some(self.total),
                done: false,
            });
        }
        Ok(count)
    }
}

fn is_blob_unknown(error: &RegistryError) -> bool {
    let codes = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
    let named = |code: &str| codes.contains(&code);
    error.answer().iter().any(|error| named(&error.code))
}

/// Does `work` for all items, a few at a time, until one fails; the first failure is returned.
fn in_parallel<T: Sync>(
    items: &[T],
    work: impl Fn(&T) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let first: Mutex<Option<Failure>> = Mutex::new(None);
    let run = || {
        while !failed.load(Ordering::Relaxed)
            && let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed))
        {
            if let Err(failure) = work(item) {
                failed.store(true, Ordering::Relaxed);
                if let Ok(mut first) = first.lock() {
                    first.get_or_insert(failure);
                }
            }
        }
    };
    if items.len() == 1 {
        run();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..items.len().min(PARALLEL_MAX) {
                scope.spawn(run);
            }
        });
    }
    match first.into_inner().ok().flatten() {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}
