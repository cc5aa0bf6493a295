//! The faces of layers: index, directory, blob. Each is made from another when somebody needs it,
//! once, however many steps and processes ask.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::chain::Chain;
use super::contents::{
    PLAIN, Tee, encoder_name, fits_owners, lower_options, mark_notes, mark_owners, write_directory,
};
use super::error::ExecuteError;
use super::supplies::Supplies;
use crate::cache::store::{DirDraft, Hashing, Patience};
use crate::cache::{BlobForm, Material, Store};
use crate::digest::DiffId;
use crate::event::{Activity, Outcome, Reporter};
use crate::failure::Failure;
use crate::layer::{self, Encoding, Limits};
use crate::tree::{Tree, View};

/// Makes faces.
pub(crate) struct Faces<'a> {
    store: &'a Store,
    supplies: &'a dyn Supplies,
    reporter: &'a Reporter,
    /// Indexes in memory, and one lock a layer so that no two threads make the same face.
    known: Mutex<BTreeMap<DiffId, Arc<Known>>>,
    /// Directories for this build alone.
    own: Mutex<BTreeMap<DiffId, DirDraft>>,
}

#[derive(Default)]
struct Known {
    tree: Mutex<Option<Arc<Tree>>>,
    fetching: Mutex<()>,
    making: Mutex<()>,
}

impl std::fmt::Debug for Faces<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Faces").finish_non_exhaustive()
    }
}

impl<'a> Faces<'a> {
    /// Faces in `store`; what it lacks comes from `supplies`.
    pub(crate) fn new(
        store: &'a Store,
        supplies: &'a dyn Supplies,
        reporter: &'a Reporter,
    ) -> Self {
        Self {
            store,
            supplies,
            reporter,
            known: Mutex::default(),
            own: Mutex::default(),
        }
    }

    fn known(&self, diff_id: DiffId) -> Arc<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(diff_id).or_default())
    }

    /// Remembers and stores the index of a layer that was just written.
    pub(crate) fn keep_tree(&self, diff_id: DiffId, tree: Tree) -> Result<Arc<Tree>, ExecuteError> {
        self.store.put_tree(&diff_id, tree.encode())?;
        let tree = Arc::new(tree);
        let known = self.known(diff_id);
        *known.tree.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&tree));
        Ok(tree)
    }

    /// The index of a layer: from memory, the store, a shared cache, or the layer itself, which is
    /// then fetched.
    pub(crate) fn tree(&self, diff_id: DiffId) -> Result<Arc<Tree>, Failure> {
        let known = self.known(diff_id);
        let mut tree = known.tree.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = &*tree {
            return Ok(Arc::clone(tree));
        }
        let encoded = match self.store.tree(&diff_id) {
            Some(encoded) => Some(encoded),
            None => self.supplies.tree(&diff_id),
        };
        let found = match encoded {
            Some(encoded) => {
                Tree::decode(&encoded).map_err(|source| ExecuteError::Tree { diff_id, source })?
            }
            None => self.index(diff_id)?,
        };
        let found = Arc::new(found);
        *tree = Some(Arc::clone(&found));
        Ok(found)
    }

    /// The file system of a chain as data. Waits for layers that are still being written.
    pub(crate) fn view(&self, chain: &Chain) -> Result<View, Failure> {
        let mut view = View::new();
        for cell in chain.cells() {
            let diff_id = cell.diff_id().map_err(|_| ExecuteError::Cancelled)?;
            let tree = self.tree(diff_id)?;
            if chain.is_windows() {
                view.push_windows(&tree);
            } else {
                view.push(tree);
            }
        }
        Ok(view)
    }

    /// The directories of a chain, top first: overlay's lowers.
    pub(crate) fn lowers(&self, chain: &Chain) -> Result<Vec<PathBuf>, Failure> {
        let mut lowers: Vec<PathBuf> = Vec::with_capacity(chain.cells().len());
        for cell in chain.cells() {
            if let Some(frozen) = cell.frozen() {
                lowers.insert(0, frozen.clone());
                continue;
            }
            let diff_id = cell.diff_id().map_err(|_| ExecuteError::Cancelled)?;
            let directory = if let Some(directory) = self.directory(diff_id) {
                directory
            } else {
                let below = self.view_below(chain, lowers.len())?;
                self.unpack(diff_id, &below, &lowers)?
            };
            lowers.insert(0, directory);
        }
        Ok(lowers)
    }

    fn view_below(&self, chain: &Chain, count: usize) -> Result<View, Failure> {
        // As it is laid out, not as the image shows it: without the mark of Windows.
        self.view(&chain.cells()[..count].iter().cloned().collect())
    }

    /// Makes the directory of a layer from its blob.
    fn unpack(
        &self,
        diff_id: DiffId,
        below: &View,
        lowers: &[PathBuf],
    ) -> Result<PathBuf, Failure> {
        let known = self.known(diff_id);
        let _making = known.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = self.directory(diff_id) {
            return Ok(directory);
        }
        // Other builders unpack the same layers: one does it, the others find it.
        let right = Material::new("unpack").with("layer", diff_id.to_string());
        let _claim = self
            .store
            .claim(&right.key(), "unpack a layer", |_| Patience::Wait)?;
        if let Some(directory) = self.directory(diff_id) {
            return Ok(directory);
        }
        let draft = self.draft()?;
        let tar = self.any_tar(diff_id)?;
        layer::apply(tar, draft.fs(), &lower_options(below, lowers)).map_err(|source| {
            ExecuteError::Layer {
                action: "unpack",
                diff_id,
                source,
            }
        })?;
        let tree = self.tree(diff_id)?;
        mark_notes(draft.fs(), tree.entries()).map_err(|source| ExecuteError::MountFiles {
            path: draft.fs().to_owned(),
            source,
        })?;
        if self.store.layer(&diff_id).dir.is_none() {
            return Ok(self.store.keep_dir(&diff_id, draft)?);
        }
        // The one that is there has owners of another kind: this one is for this build.
        let directory = draft.fs().to_owned();
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.insert(diff_id, draft);
        Ok(directory)
    }

    /// A directory to fill that is told from those with owners of another kind.
    pub(crate) fn draft(&self) -> Result<DirDraft, ExecuteError> {
        let draft = self.store.draft_dir()?;
        mark_owners(draft.fs()).map_err(|source| ExecuteError::MountFiles {
            path: draft.fs().to_owned(),
            source,
        })?;
        Ok(draft)
    }

    /// The directory of a layer, if there is one whose owners are real or noted as they are here: a
    /// user who was given subordinate ids later has both kinds.
    fn directory(&self, diff_id: DiffId) -> Option<PathBuf> {
        let kept = self.store.layer(&diff_id).dir;
        if let Some(directory) = kept.filter(|directory| fits_owners(directory)) {
            return Some(directory);
        }
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.get(&diff_id).map(|draft| draft.fs().to_owned())
    }

    /// Fetches a layer that the store lacks, and indexes it on the way.
    fn index(&self, diff_id: DiffId) -> Result<Tree, Failure> {
        if let Some(tree) = self.bring(diff_id)? {
            return Ok(tree);
        }
        let tar = self.open_blob(diff_id)?;
        let indexed = layer::index(tar, Limits::default(), io::sink()).map_err(|source| {
            ExecuteError::Layer {
                action: "index",
                diff_id,
                source,
            }
        })?;
        self.store.put_tree(&diff_id, indexed.tree.encode())?;
        Ok(indexed.tree)
    }

    /// Brings the blob of a layer into the store.
    fn fetch(&self, diff_id: DiffId) -> Result<Tree, Failure> {
        let stream = self
            .supplies
            .layer(&diff_id)?
            .ok_or(ExecuteError::Missing { diff_id })?;
        let mut writer = self.store.blob_writer(Hashing::ByCaller)?;
        let failed = |source| ExecuteError::Layer {
            action: "fetch",
            diff_id,
            source,
        };
        let read = |source| ExecuteError::Fetch { diff_id, source };
        let activity = self
            .reporter
            .start(format!("[internal] pull {}", stream.form.digest));
        let counted = Counted {
            reader: stream.bytes,
            read: 0,
            told: 0,
            total: stream.form.size,
            activity: &activity,
        };
        let mut copied = Tee::new(counted, &mut writer);
        let plain = layer::decompress(&mut copied).map_err(read)?;
        let indexed = layer::index(plain, Limits::default(), io::sink()).map_err(failed)?;
        // The end of the stream is where its digest is checked.
        io::copy(&mut copied, &mut io::sink()).map_err(read)?;
        drop(copied);
        check(diff_id, indexed.diff_id)?;
        writer.commit(Some((stream.form.digest, stream.form.size)))?;
        self.store.add_blob_form(&diff_id, stream.form)?;
        activity.finish(Outcome::Done);
        Ok(indexed.tree)
    }

    /// The plain tar of a layer from a blob, or made anew from its directory.
    pub(crate) fn any_tar(&self, diff_id: DiffId) -> Result<Box<dyn Read + Send>, Failure> {
        let faces = self.store.layer(&diff_id);
        let Some(directory) = faces.dir.filter(|_| faces.blobs.is_empty()) else {
            return self.open_tar(diff_id);
        };
        let tree = self.tree(diff_id)?;
        let (reader, writer) =
            io::pipe().map_err(|source| ExecuteError::Fetch { diff_id, source })?;
        // The reader's end tells if the writer fails: the tar is then cut short.
        std::thread::spawn(move || write_directory(&directory, &tree, PLAIN, writer));
        Ok(Box::new(reader))
    }

    /// The plain tar of a layer's blob, which is fetched if need be.
    pub(crate) fn open_tar(&self, diff_id: DiffId) -> Result<Box<dyn Read + Send>, Failure> {
        self.bring(diff_id)?;
        self.open_blob(diff_id)
    }

    fn open_blob(&self, diff_id: DiffId) -> Result<Box<dyn Read + Send>, Failure> {
        let faces = self.store.layer(&diff_id);
        let form = faces
            .blobs
            .first()
            .ok_or(ExecuteError::Missing { diff_id })?;
        let blob = self.store.open_blob(&form.digest, form.size)?;
        let failed = |source| ExecuteError::Fetch { diff_id, source };
        layer::decompress(blob).map_err(|source| failed(source).into())
    }

    /// A blob of the layer in the wanted encoding; made if the store has none. A layer that is
    /// only in a registry stays there: its own form is returned.
    pub(crate) fn blob(&self, diff_id: DiffId, encoding: Encoding) -> Result<BlobForm, Failure> {
        let known = self.known(diff_id);
        let _making = known.making.lock().unwrap_or_else(PoisonError::into_inner);
        let faces = self.store.layer(&diff_id);
        let name = encoder_name(encoding);
        let wanted = |form: &&BlobForm| form.made_by.as_deref() == Some(name.as_str());
        if let Some(form) = faces.blobs.iter().find(wanted) {
            return Ok(form.clone());
        }
        self.encode(diff_id, faces.dir, encoding)
    }

    /// Brings the blob of a layer into the store if it is not there; its index if it was fetched.
    pub(crate) fn bring(&self, diff_id: DiffId) -> Result<Option<Tree>, Failure> {
        let known = self.known(diff_id);
        let _fetching = known
            .fetching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !self.store.layer(&diff_id).blobs.is_empty() {
            return Ok(None);
        }
        let tree = self.fetch(diff_id)?;
        self.store.put_tree(&diff_id, tree.encode())?;
        Ok(Some(tree))
    }

    fn encode(
        &self,
        diff_id: DiffId,
        directory: Option<PathBuf>,
        encoding: Encoding,
    ) -> Result<BlobForm, Failure> {
        let failed = |source| ExecuteError::Layer {
            action: "compress",
            diff_id,
            source,
        };
        let mut writer = self.store.blob_writer(Hashing::ByCaller)?;
        // A directory gives the tar of our own writer only: of what came from elsewhere there is
        // always a blob.
        let directory = directory.filter(|_| self.store.layer(&diff_id).blobs.is_empty());
        let (found, blob) = if let Some(directory) = directory {
            let tree = self.tree(diff_id)?;
            let written = write_directory(&directory, &tree, encoding, &mut writer);
            written.map(|written| (written.diff_id, written.blob))
        } else {
            let tar = self.open_tar(diff_id)?;
            let written = layer::encode_tar(tar, encoding, &mut writer);
            written.map(|written| (written.diff_id, written.blob))
        }
        .map_err(failed)?;
        check(diff_id, found)?;
        let (digest, size) = writer.commit(blob.map(|blob| (blob.digest, blob.size)))?;
        let made_by = Some(encoder_name(encoding));
        let form = BlobForm {
            compression: encoding.compression,
            digest,
            size,
            made_by,
        };
        self.store.add_blob_form(&diff_id, form.clone())?;
        Ok(form)
    }
}

/// How many bytes pass between two reports.
const REPORT_BYTES: u64 = 1 << 20;

/// A reader that reports what passes.
struct Counted<'a, R> {
    reader: R,
    read: u64,
    told: u64,
    total: u64,
    activity: &'a Activity,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.read += count as u64;
        let done = count == 0;
        if done || self.read - self.told >= REPORT_BYTES {
            self.told = self.read;
            self.activity
                .progress("transferring", self.read, Some(self.total), done);
        }
        Ok(count)
    }
}

/// A layer must be what its diff id says.
fn check(expected: DiffId, found: DiffId) -> Result<(), ExecuteError> {
    if expected == found {
        return Ok(());
    }
    Err(ExecuteError::WrongLayer { expected, found })
}
