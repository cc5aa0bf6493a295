//! The trees that a COPY reads, and the way to their contents.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;

use super::CopyError;
use super::archive::{self, Extracted};
use super::place::{self, Placer};
use super::select::{self, Named};
use crate::cache::store::DirDraft;
use crate::digest::{ContentDigest, DiffId};
use crate::executor::Executor;
use crate::executor::chain::{Chain, Lost};
use crate::executor::error::ExecuteError;
use crate::executor::supplies::{FileTree, Files};
use crate::failure::Failure;
use crate::layer::{Contents, Limits, Spool};
use crate::pattern::Ignore;
use crate::planner::op::{CopyInput, CopyOp, Source, Unpack};
use crate::rooted::Root;
use crate::tree::{Entry, Kind, Tree, TreePath, View};

/// One tree and where its contents are.
struct SourceTree {
    view: View,
    contents: Origin,
}

enum Origin {
    /// Opened by path.
    Files(Arc<dyn Files>),
    /// In the layers of a stage or an image.
    Layers(Chain),
}

/// Files wanted of a layer, by where they are in it: the names they go by in the trees.
type Picks = BTreeMap<TreePath, Vec<(usize, TreePath)>>;

/// The trees of one COPY: its `from`, then one for each file that was written in the Dockerfile,
/// fetched or extracted.
pub(super) struct Sources {
    trees: Vec<SourceTree>,
    /// By input: the number of its tree.
    of_input: Vec<usize>,
    /// Directories of extracted archives; they live as long as their contents are read.
    extracted: Vec<Extracted>,
}

/// A file written in the Dockerfile.
struct Inline(Vec<u8>);

impl Files for Inline {
    fn open(&self, _path: &TreePath) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.0.clone())))
    }
}

/// What a source means in a tree; with `--parents` what is below a directory and matches.
pub(super) fn named<'a>(
    view: &'a View,
    root: usize,
    source: &str,
    parents: bool,
    excludes: Option<&'a Ignore>,
) -> Result<Vec<Named<'a>>, CopyError> {
    if parents {
        select::name_with_parents(view, root, source, excludes)
    } else {
        select::name(view, root, source, excludes)
    }
}

impl Sources {
    /// No source at all.
    pub(super) fn none() -> Self {
        Self {
            trees: Vec::new(),
            of_input: Vec::new(),
            extracted: Vec::new(),
        }
    }

    /// Collects the trees of a COPY.
    pub(super) fn gather(executor: &Executor<'_>, op: &CopyOp) -> Result<Self, Failure> {
        let mut sources = Self::none();
        let mut main = None;
        for input in &op.inputs {
            let number = match (input, main) {
                (CopyInput::Path(_), Some(number)) => number,
                (CopyInput::Path(_), None) => {
                    let number = sources.add(Self::from(executor, &op.from)?);
                    main = Some(number);
                    number
                }
                (CopyInput::Inline { name, data }, _) => sources.add(inline(name, data)),
                (CopyInput::Url { .. } | CopyInput::Git { .. }, _) => {
                    let FileTree { view, files } = executor.input.supplies.fetched(input)?;
                    sources.add(SourceTree {
                        view,
                        contents: Origin::Files(files),
                    })
                }
            };
            sources.of_input.push(number);
        }
        Ok(sources)
    }

    fn from(executor: &Executor<'_>, from: &Source) -> Result<SourceTree, Failure> {
        match from {
            Source::Context(name) => {
                let FileTree { view, files } = executor.input.supplies.context(name)?;
                Ok(SourceTree {
                    view,
                    contents: Origin::Files(files),
                })
            }
            Source::Step(id) => {
                let chain = executor.output(*id);
                let view = executor.faces.view(&chain)?;
                Ok(SourceTree {
                    view,
                    contents: Origin::Layers(chain),
                })
            }
        }
    }

    fn add(&mut self, tree: SourceTree) -> usize {
        self.trees.push(tree);
        self.trees.len() - 1
    }

    /// Places all inputs in order.
    pub(super) fn place(
        &mut self,
        executor: &Executor<'_>,
        op: &CopyOp,
        excludes: Option<&Ignore>,
        placer: &mut Placer<'_>,
    ) -> Result<(), Failure> {
        for (index, input) in op.inputs.iter().enumerate() {
            let tree = self.of_input[index];
            let fetched = matches!(input, CopyInput::Url { .. });
            let unpack = match op.unpack {
                Unpack::Never => false,
                Unpack::Local => matches!(input, CopyInput::Path(_)),
                Unpack::Always => fetched || matches!(input, CopyInput::Path(_)),
            };
            let pattern = match input {
                CopyInput::Path(path) => path.clone(),
                CopyInput::Inline { name, .. } => name.clone(),
                CopyInput::Url { .. } => "*".to_owned(),
                CopyInput::Git { .. } => "/".to_owned(),
            };
            let view = self.trees[tree].view.clone();
            for thing in named(&view, tree, &pattern, op.parents, excludes)? {
                if unpack && !thing.is_directory() && self.extract(executor, &thing, placer)? {
                    continue;
                }
                placer.place(&thing)?;
            }
        }
        Ok(())
    }

    /// Extracts a source that is an archive; `false` if it is none.
    fn extract(
        &mut self,
        executor: &Executor<'_>,
        thing: &Named<'_>,
        placer: &mut Placer<'_>,
    ) -> Result<bool, Failure> {
        let Some(node) = thing.view.lookup(&thing.path) else {
            return Ok(false);
        };
        let path = node.path().clone();
        let opener = self.open_all(executor, [(thing.root, path.clone())].iter())?;
        let open = || opener.open_at(thing.root, &path);
        let Some(extracted) = archive::extract(executor.input.store, &open, &path)? else {
            return Ok(false);
        };
        let tree = Arc::clone(extracted.tree());
        let view = View::merge(&[Arc::clone(&tree)]);
        let contents = Origin::Files(extracted.files());
        self.extracted.push(extracted);
        let number = self.add(SourceTree { view, contents });
        let view = &self.trees[number].view;
        let (path, given) = (TreePath::root(), TreePath::root());
        let place = Named {
            root: number,
            view,
            path,
            given,
            includes: None,
            excludes: None,
        };
        placer.place_archive(&place, &tree)?;
        Ok(true)
    }

    /// The contents of a layer's entries, given where they are.
    pub(super) fn contents(
        &self,
        executor: &Executor<'_>,
        origins: Vec<Option<place::Origin>>,
    ) -> Result<PlacedContents, Failure> {
        let opener = self.open_all(executor, origins.iter().flatten())?;
        Ok(PlacedContents { opener, origins })
    }

    /// Prepares to open files: those that are only in a blob are read out of it in one pass each.
    fn open_all<'a>(
        &self,
        executor: &Executor<'_>,
        wanted: impl Iterator<Item = &'a (usize, TreePath)>,
    ) -> Result<Opener, Failure> {
        let mut opener = Opener::default();
        let mut picks: BTreeMap<DiffId, Picks> = BTreeMap::new();
        for (number, path) in wanted {
            let tree = &self.trees[*number];
            match &tree.contents {
                Origin::Files(files) => {
                    opener.files.insert(*number, Arc::clone(files));
                }
                Origin::Layers(chain) => {
                    let Some(node) = tree.view.lookup(path) else {
                        continue;
                    };
                    let stored = tree.view.stored_path(&node).clone();
                    let cell = &chain.cells()[node.layer];
                    let diff_id = cell.diff_id().map_err(|Lost| ExecuteError::Cancelled)?;
                    let directory = match cell.frozen() {
                        Some(frozen) => Some(frozen.clone()),
                        None => executor.input.store.layer(&diff_id).dir,
                    };
                    if let Some(directory) = directory {
                        let root =
                            opener
                                .root(diff_id, &directory)
                                .map_err(|source| CopyError::Read {
                                    path: path.clone(),
                                    source,
                                })?;
                        opener
                            .stored
                            .insert((*number, path.clone()), Stored::In(root, stored));
                    } else {
                        let key = (*number, path.clone());
                        let picks = picks.entry(diff_id).or_default();
                        picks.entry(stored).or_default().push(key);
                    }
                }
            }
        }
        for (number, (diff_id, wanted)) in picks.into_iter().enumerate() {
            opener.pick(executor, (number, diff_id), wanted)?;
        }
        Ok(opener)
    }
}

fn inline(name: &str, data: &[u8]) -> SourceTree {
    let size = data.len() as u64;
    let entry = Entry {
        path: TreePath::clean(name),
        kind: Kind::File {
            size,
            content: ContentDigest::of(data),
        },
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: i64::MAX,
        xattrs: BTreeMap::new(),
    };
    let tree = Arc::new(Tree::new(vec![entry], BTreeMap::new()));
    let contents = Origin::Files(Arc::new(Inline(data.to_vec())));
    SourceTree {
        view: View::merge(&[tree]),
        contents,
    }
}

/// Opens files of source trees.
#[derive(Default)]
pub(super) struct Opener {
    files: BTreeMap<usize, Arc<dyn Files>>,
    roots: BTreeMap<DiffId, Arc<Root>>,
    stored: BTreeMap<(usize, TreePath), Stored>,
    /// Files that were read out of blobs, and the directory they are in.
    spool: Option<(Spool, DirDraft)>,
}

/// Where a file of a layer is.
enum Stored {
    In(Arc<Root>, TreePath),
    Spooled(usize, TreePath),
}

impl Opener {
    fn root(&mut self, diff_id: DiffId, directory: &std::path::Path) -> io::Result<Arc<Root>> {
        if let Some(root) = self.roots.get(&diff_id) {
            return Ok(Arc::clone(root));
        }
        let root = Arc::new(Root::open(directory)?);
        self.roots.insert(diff_id, Arc::clone(&root));
        Ok(root)
    }

    /// Reads the wanted files out of the blob of a layer, in one pass.
    fn pick(
        &mut self,
        executor: &Executor<'_>,
        (number, diff_id): (usize, DiffId),
        wanted: Picks,
    ) -> Result<(), Failure> {
        let mut spool = if let Some(spool) = self.spool.take() {
            spool
        } else {
            let draft = executor.input.store.draft_dir()?;
            let scratch = |source| CopyError::Scratch { source };
            let file = tempfile::tempfile_in(draft.fs()).map_err(scratch)?;
            (Spool::new(file), draft)
        };
        let tar = executor.faces.any_tar(diff_id)?;
        let paths: BTreeSet<TreePath> = wanted.keys().cloned().collect();
        spool
            .0
            .pick(number, tar, Limits::default(), &paths)
            .map_err(|source| ExecuteError::Layer {
                action: "read",
                diff_id,
                source,
            })?;
        for (stored, names) in wanted {
            for name in names {
                let stored = Stored::Spooled(number, stored.clone());
                self.stored.insert(name, stored);
            }
        }
        self.spool = Some(spool);
        Ok(())
    }

    fn open_at(&self, number: usize, path: &TreePath) -> io::Result<Box<dyn Read + Send + '_>> {
        if let Some(files) = self.files.get(&number) {
            return files.open(path);
        }
        match self.stored.get(&(number, path.clone())) {
            Some(Stored::In(root, stored)) => Ok(Box::new(root.open_file(stored.as_bytes())?)),
            Some(Stored::Spooled(layer, path)) => match &self.spool {
                Some((spool, _)) => Ok(Box::new(spool.open(*layer, path)?)),
                None => Err(io::ErrorKind::NotFound.into()),
            },
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// The contents of a layer that is being written, by the number of the entry.
pub(super) struct PlacedContents {
    opener: Opener,
    origins: Vec<Option<place::Origin>>,
}

impl Contents for PlacedContents {
    fn open(&self, index: usize, _path: &TreePath) -> io::Result<Box<dyn Read + Send + '_>> {
        match self.origins.get(index) {
            Some(Some((number, source))) => self.opener.open_at(*number, source),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
