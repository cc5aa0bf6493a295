//! `--cache-to`: what this build learned, for other runners.
//!
//! One immutable record a key, layers by digest. A runner whose keys all hit runs nothing and
//! fetches no layer that no RUN needs; with the tree indexes of base layers it need not even fetch
//! a base to copy onto it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::output::encoding_of;
use super::remotes;
use super::street::Street;
use super::supplies::Outside;
use crate::cache::remote::{BlobSource, CacheMode, RemoteError, RemoteKind, RemoteSpec};
use crate::cache::{BlobForm, Record, Store, StoreError};
use crate::digest::{DiffId, Digest};
use crate::event::{Activity, Outcome};
use crate::executor::{Executor, Supplies};
use crate::failure::Failure;
use crate::image::Compression;
use crate::layer::Encoding;
use crate::planner::Verdict;
use crate::planner::graph::{Step, StepId};
use crate::planner::op::Op;
use crate::tree::TREE_FORMAT;

/// Uploads at once.
const UPLOADS: usize = 8;

/// Shares the results of a build with every place that was named.
pub(super) fn share(
    street: &Street<'_>,
    outside: &Outside<'_>,
    executor: &Executor<'_>,
) -> Result<(), Failure> {
    for spec in &street.request.cache_to {
        let title = match &spec.kind {
            RemoteKind::Registry { reference, .. } => {
                format!("exporting cache to registry {}", reference.name())
            }
            RemoteKind::Local { .. } => "exporting cache to client directory".to_owned(),
        };
        let activity = street.reporter.start(title);
        let sharing = Sharing {
            street,
            outside,
            executor,
            spec,
        };
        match sharing.run(&activity) {
            Ok(()) => activity.finish(Outcome::Done),
            Err(failure) => {
                let text = super::failure_text(&failure);
                activity.finish(Outcome::Failed(text.clone()));
                if !spec.ignore_error {
                    return Err(failure);
                }
                street
                    .reporter
                    .notice(format!("cache not exported: {text}"));
            }
        }
    }
    Ok(())
}

/// One place to share with.
struct Sharing<'a, 'b> {
    street: &'a Street<'b>,
    outside: &'a Outside<'b>,
    executor: &'a Executor<'a>,
    spec: &'a RemoteSpec,
}

impl Sharing<'_, '_> {
    fn run(&self, activity: &Activity) -> Result<(), Failure> {
        let remote = remotes::open(self.spec, self.street.client);
        let mut records = self.step_records()?;
        records.extend(self.base_trees()?);
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let layers = layers_of(&records);
        let blobs = Blobs {
            store: self.street.store,
            outside: self.outside,
            layers,
        };
        let work = || {
            while let Some(record) = records.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = remote.publish(record, &blobs) {
                    failure
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_or_insert(error);
                    next.store(records.len(), Ordering::Relaxed);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..records.len().min(UPLOADS) {
                scope.spawn(work);
            }
            work();
        });
        activity.note(format!("{} records", records.len()));
        let failure: Option<RemoteError> =
            failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    /// The records of steps, with the blobs of their layers.
    fn step_records(&self) -> Result<Vec<Record>, Failure> {
        let encoding = self.encoding();
        let mut records = Vec::new();
        let mut forms: BTreeMap<DiffId, BlobForm> = BTreeMap::new();
        for step in self.steps() {
            for record in self.records_of(step) {
                let form = if let Some(form) = forms.get(&record.diff_id) {
                    form.clone()
                } else {
                    let form = self.form(record.diff_id, encoding)?;
                    forms.insert(record.diff_id, form.clone());
                    form
                };
                records.push(Record {
                    blobs: vec![form],
                    ..record
                });
            }
        }
        Ok(records)
    }

    /// What is known of a step: its definition, and its content if it was made here.
    fn records_of(&self, step: &Step) -> Vec<Record> {
        let planned = self.street.plan.step(step.id);
        let cached = match &planned.verdict {
            Verdict::Cached(record) => Some((**record).clone()),
            _ => None,
        };
        cached
            .into_iter()
            .chain(self.executor.records_of(step.id))
            .collect()
    }

    /// Steps whose results are shared: those of the final images, or all that were looked at.
    fn steps(&self) -> Vec<&Step> {
        let graph = &self.street.plan.graph;
        let mut wanted: BTreeSet<StepId> = BTreeSet::new();
        match self.spec.mode {
            CacheMode::Max => wanted.extend(graph.steps.iter().map(|step| step.id)),
            CacheMode::Min => {
                for target in &graph.targets {
                    let mut next = Some(target.step);
                    while let Some(id) = next {
                        wanted.insert(id);
                        next = graph.step(id).base;
                    }
                }
            }
        }
        wanted.into_iter().map(|id| graph.step(id)).collect()
    }

    fn form(&self, diff_id: DiffId, encoding: Encoding) -> Result<BlobForm, Failure> {
        let shared = self.street.caches.shared(&diff_id);
        match shared.and_then(|(record, _)| record.blobs.into_iter().next()) {
            Some(form) => Ok(form),
            None => self.executor.blob(diff_id, encoding),
        }
    }

    /// The indexes of base layers that are known here.
    fn base_trees(&self) -> Result<Vec<Record>, Failure> {
        let store = self.street.store;
        let mut records = Vec::new();
        for step in &self.street.plan.graph.steps {
            let Op::Image(image) = &step.op else { continue };
            for layer in &image.layers {
                let Some(tree) = store.tree(&layer.diff_id) else {
                    continue;
                };
                let (digest, size) = store.put_blob(&tree)?;
                let compression = Compression::Uncompressed;
                let form = BlobForm {
                    compression,
                    digest,
                    size,
                    made_by: None,
                };
                records.push(Record::of_tree(layer.diff_id, TREE_FORMAT, 0, form));
            }
        }
        Ok(records)
    }

    fn encoding(&self) -> Encoding {
        match (self.spec.compression, self.spec.compression_level) {
            (Some(compression), Some(level)) => Encoding::with_level(compression, i64::from(level)),
            (Some(compression), None) => Encoding::usual(compression),
            (None, _) => encoding_of(self.street.request),
        }
    }
}

/// By blob: the layer that it is.
fn layers_of(records: &[Record]) -> BTreeMap<Digest, DiffId> {
    let forms = |record: &Record| {
        let diff_id = record.diff_id;
        record
            .blobs
            .iter()
            .map(move |form| (form.digest, diff_id))
            .collect::<Vec<_>>()
    };
    records.iter().flat_map(forms).collect()
}

/// Blobs of the store, or of wherever a layer is.
struct Blobs<'a> {
    store: &'a Store,
    outside: &'a Outside<'a>,
    layers: BTreeMap<Digest, DiffId>,
}

impl BlobSource for Blobs<'_> {
    fn open(&self, form: &BlobForm) -> Result<Box<dyn Read + Send>, StoreError> {
        if self.store.has_blob(&form.digest) {
            return Ok(Box::new(self.store.open_blob(&form.digest, form.size)?));
        }
        let stream = self
            .layers
            .get(&form.digest)
            .map(|diff_id| self.outside.layer(diff_id));
        match stream {
            Some(Ok(Some(stream))) if stream.form.digest == form.digest => Ok(stream.bytes),
            _ => Err(StoreError::Missing {
                digest: form.digest,
            }),
        }
    }
}
