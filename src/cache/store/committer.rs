//! Group commit: many blobs become durable with one journal flush.
//!
//! A blob that was written is *pending*: this process can use it, nobody else sees it. A thread
//! (started with the first pending blob) gathers what comes within [`GATHER`], starts the write-out
//! of all files, syncs them side by side, renames all, syncs the directory once, and then writes what refers to
//! them: faces, then records. So a build of 50 steps waits for the disk once, at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::lock::Lock;
use super::open::locked;
use super::paths::Paths;
use super::{file, layer, records};
use crate::cache::error::{StoreError, at};
use crate::cache::key::Key;
use crate::cache::record::{BlobForm, Record};
use crate::digest::{DiffId, Digest};

/// How long the first pending blob waits for company.
const GATHER: Duration = Duration::from_millis(40);
/// So many pending blobs are enough company.
const BATCH_MAX: usize = 64;
/// So many are synced at once.
const SYNCS_MAX: usize = 16;
/// So many make writers wait: each holds a descriptor.
const PENDING_MAX: usize = 256;

/// A blob that was written and is not durable yet.
#[derive(Debug)]
pub(super) struct PendingBlob {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// A record whose layer exists only as pending blobs; its claim is held until it is written.
#[derive(Debug)]
pub(super) struct PendingRecord {
    pub(super) record: Record,
    pub(super) temp: PathBuf,
    pub(super) claim: Option<Lock>,
}

#[derive(Debug)]
pub(super) struct Committer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    paths: Paths,
    state: Mutex<State>,
    /// Something is to do, or is wanted sooner.
    work: Condvar,
    /// A batch is done.
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    /// What this process may read although nobody else sees it.
    blobs: BTreeMap<Digest, (PathBuf, u64)>,
    forms: BTreeMap<DiffId, Vec<BlobForm>>,
    records: BTreeMap<Key, Record>,
    /// Batches taken and batches done.
    taken: u64,
    finished: u64,
    hurry: bool,
    stop: bool,
    failure: Option<Failed>,
    thread: Option<JoinHandle<()>>,
}

/// One group.
#[derive(Debug, Default)]
struct Batch {
    blobs: Vec<PendingBlob>,
    forms: Vec<(DiffId, BlobForm)>,
    records: Vec<PendingRecord>,
}

/// The first failure; it can be told more than once.
#[derive(Debug)]
struct Failed {
    path: PathBuf,
    code: Option<i32>,
    text: String,
}

impl Failed {
    fn error(&self) -> StoreError {
        let source = match self.code {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::other(self.text.clone()),
        };
        let path = self.path.clone();
        StoreError::Sync { path, source }
    }
}

impl Committer {
    pub(super) fn new(paths: Paths) -> Self {
        let (state, work, done) = Default::default();
        let shared = Shared {
            paths,
            state,
            work,
            done,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes a written blob. Returns at once, unless very many are pending.
    pub(super) fn add_blob(&self, blob: PendingBlob) -> Result<(), StoreError> {
        let mut state = locked(&self.shared.state);
        while state.blobs.len() >= PENDING_MAX && state.failure.is_none() {
            state.hurry = true;
            self.shared.work.notify_one();
            state = self.wait_done(state);
        }
        if let Some(failed) = &state.failure {
            file::discard(&blob.path);
            return Err(failed.error());
        }
        if state.blobs.contains_key(&blob.digest) {
            file::discard(&blob.path);
            return Ok(());
        }
        let place = (blob.path.clone(), blob.size);
        state.blobs.insert(blob.digest, place);
        state.batch.blobs.push(blob);
        if state.batch.blobs.len() >= BATCH_MAX {
            state.hurry = true;
        }
        self.wake(&mut state)
    }

    /// Takes a face whose blob is pending; `false` if it is not (then the caller writes it).
    pub(super) fn add_form(&self, diff_id: &DiffId, form: &BlobForm) -> Result<bool, StoreError> {
        let mut state = locked(&self.shared.state);
        if !state.blobs.contains_key(&form.digest) {
            return Ok(false);
        }
        state.forms.entry(*diff_id).or_default().push(form.clone());
        state.batch.forms.push((*diff_id, form.clone()));
        self.wake(&mut state)?;
        Ok(true)
    }

    /// Takes a record whose layer is pending; gives it back if it is not.
    pub(super) fn add_record(
        &self,
        pending: PendingRecord,
    ) -> Result<Option<PendingRecord>, StoreError> {
        let mut state = locked(&self.shared.state);
        if !state.forms.contains_key(&pending.record.diff_id) {
            return Ok(Some(pending));
        }
        let key = pending.record.key;
        state.records.insert(key, pending.record.clone());
        state.batch.records.push(pending);
        self.wake(&mut state)?;
        Ok(None)
    }

    /// Where a pending blob is, and its size in bytes.
    pub(super) fn blob(&self, digest: &Digest) -> Option<(PathBuf, u64)> {
        locked(&self.shared.state).blobs.get(digest).cloned()
    }

    /// The pending forms of a layer.
    pub(super) fn forms(&self, diff_id: &DiffId) -> Vec<BlobForm> {
        let state = locked(&self.shared.state);
        state.forms.get(diff_id).cloned().unwrap_or_default()
    }

    /// A pending record.
    pub(super) fn record(&self, key: &Key) -> Option<Record> {
        locked(&self.shared.state).records.get(key).cloned()
    }

    /// Waits until everything taken so far is published.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let mut state = locked(&self.shared.state);
        let goal = state.taken + u64::from(!state.batch.is_empty());
        while state.finished < goal {
            state.hurry = true;
            self.shared.work.notify_one();
            state = self.wait_done(state);
        }
        state
            .failure
            .as_ref()
            .map_or(Ok(()), |failed| Err(failed.error()))
    }

    /// Publishes what is left and ends the thread.
    pub(super) fn stop(&self) {
        let thread = {
            let mut state = locked(&self.shared.state);
            state.stop = true;
            self.shared.work.notify_one();
            state.thread.take()
        };
        if let Some(thread) = thread {
            // A panic of the thread was reported when it happened; what it held is a leftover.
            drop(thread.join());
        }
    }

    fn wait_done<'a>(
        &self,
        state: std::sync::MutexGuard<'a, State>,
    ) -> std::sync::MutexGuard<'a, State> {
        let done = &self.shared.done;
        done.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, state: &mut State) -> Result<(), StoreError> {
        if state.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new()
                .name("store-commit".to_owned())
                .spawn(move || shared.run())
                .map_err(at!(Create, self.shared.paths.blobs()))?;
            state.thread = Some(thread);
        }
        // The thread sleeps through the rest of a group.
        if state.hurry || state.batch.len() == 1 {
            self.shared.work.notify_one();
        }
        Ok(())
    }
}

impl Batch {
    fn len(&self) -> usize {
        self.blobs.len() + self.forms.len() + self.records.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shared {
    fn run(&self) {
        while let Some(batch) = self.next_batch() {
            let names = Names::of(&batch);
            let result = self.publish(batch);
            let mut state = locked(&self.state);
            names.forget(&mut state);
            if let Err((path, error)) = result
                && state.failure.is_none()
            {
                let (code, text) = (error.raw_os_error(), error.to_string());
                state.failure = Some(Failed { path, code, text });
            }
            state.finished += 1;
            self.done.notify_all();
        }
    }

    /// Waits for work and for company; `None` when all is done and the store is closed.
    fn next_batch(&self) -> Option<Batch> {
        let mut state = locked(&self.state);
        loop {
            if state.batch.is_empty() {
                if state.stop {
                    return None;
                }
                state.hurry = false;
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (guard, _) = self
                .work
                .wait_timeout_while(state, GATHER, |state| !state.hurry && !state.stop)
                .unwrap_or_else(PoisonError::into_inner);
            state = guard;
            state.hurry = false;
            state.taken += 1;
            return Some(std::mem::take(&mut state.batch));
        }
    }

    /// Makes a batch durable and visible. The first failure is returned; what it hits is dropped,
    /// the rest goes on.
    fn publish(&self, batch: Batch) -> Result<(), (PathBuf, io::Error)> {
        let mut failure = None;
        let mut lost = BTreeSet::new();
        let published = self.publish_blobs(batch.blobs, &mut lost, &mut failure);
        if !published.is_empty() {
            let dir = self.paths.blobs();
            if let Err(error) = file::sync_dir(&dir) {
                for digest in &published {
                    file::discard(&self.paths.blob(digest));
                }
                lost.extend(published);
                failure.get_or_insert((dir, error));
            }
        }
        for (diff_id, form) in &batch.forms {
            if !lost.contains(&form.digest)
                && let Err(error) = layer::add_form(&self.paths, diff_id, form)
            {
                failure.get_or_insert((self.paths.layer(diff_id), error));
            }
        }
        for pending in batch.records {
            // A record that cannot be written costs a rebuild, not the build.
            drop(records::publish(
                &self.paths,
                &pending.record,
                &pending.temp,
            ));
            drop(pending.claim);
        }
        failure.map_or(Ok(()), Err)
    }

    fn publish_blobs(
        &self,
        blobs: Vec<PendingBlob>,
        lost: &mut BTreeSet<Digest>,
        failure: &mut Option<(PathBuf, io::Error)>,
    ) -> Vec<Digest> {
        for blob in &blobs {
            // Starts the write-out of all before waiting for any: blocks are allocated for the
            // whole group, so that the first sync's journal commit covers it.
            let _ = rustix::fs::fadvise(&blob.file, 0, None, rustix::fs::Advice::DontNeed);
        }
        let mut drop_blob = |blob: &PendingBlob, error| {
            file::discard(&blob.path);
            lost.insert(blob.digest);
            failure.get_or_insert((self.paths.blob(&blob.digest), error));
        };
        // All are synced before any is renamed: renames would give each sync a commit of its own.
        let results = sync(&blobs);
        let mut synced = Vec::new();
        for (blob, result) in blobs.into_iter().zip(results) {
            match result {
                Ok(()) => synced.push(blob),
                Err(error) => drop_blob(&blob, error),
            }
        }
        let mut published = Vec::new();
        for blob in synced {
            let name = self.paths.blob(&blob.digest);
            match file::with_parent(&name, || fs::rename(&blob.path, &name)) {
                Ok(()) => published.push(blob.digest),
                Err(error) => drop_blob(&blob, error),
            }
        }
        published
    }
}

/// Syncs all blobs of a group, several at once: each sync ends with a flush of the disk's own cache,
/// and the kernel joins flushes that are asked for together.
fn sync(blobs: &[PendingBlob]) -> Vec<io::Result<()>> {
    let share = blobs.len().div_ceil(SYNCS_MAX).max(1);
    let sync_share = |share: &[PendingBlob]| -> Vec<io::Result<()>> {
        share.iter().map(|blob| blob.file.sync_all()).collect()
    };
    if blobs.len() <= 1 {
        return sync_share(blobs);
    }
    std::thread::scope(|scope| {
        let start = |share| {
            let thread = std::thread::Builder::new();
            (share, thread.spawn_scoped(scope, move || sync_share(share)))
        };
        let threads: Vec<_> = blobs.chunks(share).map(start).collect();
        let results = threads.into_iter().flat_map(|(share, thread)| {
            // Without a thread of its own a share is synced here.
            let done = thread.ok().and_then(|thread| thread.join().ok());
            done.unwrap_or_else(|| sync_share(share))
        });
        results.collect()
    })
}

/// What a batch is about, to be forgotten as pending when it is done.
struct Names {
    blobs: Vec<Digest>,
    forms: Vec<(DiffId, BlobForm)>,
    records: Vec<Key>,
}

impl Names {
    fn of(batch: &Batch) -> Self {
        Self {
            blobs: batch.blobs.iter().map(|blob| blob.digest).collect(),
            forms: batch.forms.clone(),
            records: batch
                .records
                .iter()
                .map(|record| record.record.key)
                .collect(),
        }
    }

    fn forget(&self, state: &mut State) {
        for digest in &self.blobs {
            state.blobs.remove(digest);
        }
        for (diff_id, form) in &self.forms {
            if let Some(forms) = state.forms.get_mut(diff_id) {
                if let Some(at) = forms.iter().position(|other| other == form) {
                    forms.remove(at);
                }
                if forms.is_empty() {
                    state.forms.remove(diff_id);
                }
            }
        }
        for key in &self.records {
            state.records.remove(key);
        }
    }
}
