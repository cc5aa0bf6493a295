//! The build contexts: opened when first needed, scanned once for all that a build takes from them.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::PipelineError;
use super::fetch::Fetches;
use crate::cache::Store;
use crate::context::git::is_git_url;
use crate::context::http::is_http_url;
use crate::context::{self, IgnoreSource, LocalContext};
use crate::digest::ContentDigest;
use crate::event::{Outcome, Reporter};
use crate::executor::{self, CopyError, FileTree, Files};
use crate::failure::Failure;
use crate::pattern::{DeepGlob, Glob};
use crate::planner::op::{CopyInput, CopyOp, SelectionDigest, Source};
use crate::planner::ports::{ContextProbe, Wanted};
use crate::tree::{Tree, TreePath, View, selection_digest};

/// The contexts of a build.
#[derive(Debug)]
pub(super) struct Contexts<'a> {
    store: &'a Store,
    reporter: &'a Reporter,
    fetches: &'a Fetches<'a>,
    /// The main context; `None` if there is none (a Dockerfile on standard input).
    main: Option<Arc<LocalContext>>,
    /// `--build-context`, as given.
    named: &'a BTreeMap<String, String>,
    scanned: Mutex<BTreeMap<String, Scanned>>,
}

/// A context and what was found in it.
#[derive(Clone, Debug)]
struct Scanned {
    context: Option<Arc<LocalContext>>,
    view: View,
}

/// Opens files of a context.
#[derive(Debug)]
struct ContextFiles(Arc<LocalContext>);

impl Files for ContextFiles {
    fn open(&self, path: &TreePath) -> io::Result<Box<dyn Read + Send>> {
        let file = self.0.open_file(path).map_err(io::Error::other)?;
        Ok(Box::new(file))
    }
}

/// Opens nothing: the empty context.
#[derive(Debug)]
struct NoFiles;

impl Files for NoFiles {
    fn open(&self, _path: &TreePath) -> io::Result<Box<dyn Read + Send>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

impl<'a> Contexts<'a> {
    /// Contexts of a build.
    pub(super) fn new(
        store: &'a Store,
        reporter: &'a Reporter,
        fetches: &'a Fetches<'a>,
        main: Option<Arc<LocalContext>>,
        named: &'a BTreeMap<String, String>,
    ) -> Self {
        Self {
            store,
            reporter,
            fetches,
            main,
            named,
            scanned: Mutex::default(),
        }
    }

    /// The files of a context that the planner asked about.
    pub(super) fn files(&self, name: &str) -> FileTree {
        let scanned = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        match scanned.get(name) {
            Some(Scanned {
                context: Some(context),
                view,
            }) => {
                let files: Arc<dyn Files> = Arc::new(ContextFiles(Arc::clone(context)));
                FileTree {
                    view: view.clone(),
                    files,
                }
            }
            _ => FileTree {
                view: View::new(),
                files: Arc::new(NoFiles),
            },
        }
    }

    fn open(&self, name: &str) -> Result<Option<Arc<LocalContext>>, Failure> {
        if name.is_empty() {
            self.fetches.permit_local(name)?;
            return Ok(self.main.clone());
        }
        let Some(value) = self.named.get(name) else {
            return Ok(None);
        };
        if is_git_url(value) || is_http_url(value) {
            return Ok(Some(Arc::new(self.fetches.context(value)?)));
        }
        self.fetches.permit_local(name)?;
        let directory = PathBuf::from(value);
        let index = self.store.context_index_path(&directory);
        let opened = LocalContext::open(&directory, IgnoreSource::Root, Some(index))?;
        Ok(Some(Arc::new(opened)))
    }

    /// Scans a context for everything that is wanted of it.
    fn scan(&self, name: &str, wanted: &[&Wanted<'_>]) -> Result<Scanned, Failure> {
        let Some(context) = self.open(name)? else {
            return Ok(Scanned {
                context: None,
                view: View::new(),
            });
        };
        let mut parts = Vec::new();
        for wanted in wanted {
            parts_of(wanted, &mut parts)?;
        }
        let title = match name {
            "" => "[internal] load build context".to_owned(),
            name => format!("[context {name}] load from client"),
        };
        let activity = self.reporter.start(title);
        let scan = context.scan(&parts).map_err(Failure::from);
        match scan {
            Ok(scan) => {
                activity.progress("transferring context:", scan.hashed_bytes, None, true);
                activity.finish(Outcome::Done);
                let tree = Arc::new(Tree::new(scan.entries, BTreeMap::new()));
                Ok(Scanned {
                    context: Some(context),
                    view: View::merge(&[tree]),
                })
            }
            Err(failure) => {
                activity.finish(Outcome::Failed(super::failure_text(&failure)));
                Err(failure)
            }
        }
    }

    fn digest(&self, wanted: &Wanted<'_>) -> Result<SelectionDigest, Failure> {
        let scanned = self
            .scanned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let of = |name: &str| scanned.get(name).cloned();
        match wanted {
            Wanted::Mount { context, source } => {
                let view = of(context).map(|scanned| scanned.view).unwrap_or_default();
                let digest = selection_digest(view.select(&TreePath::clean(source)));
                Ok(SelectionDigest(digest))
            }
            Wanted::Copy(op) => {
                let scanned = match &op.from {
                    Source::Context(name) => of(name),
                    Source::Step(_) => None,
                };
                let view = scanned
                    .as_ref()
                    .map(|scanned| scanned.view.clone())
                    .unwrap_or_default();
                let local = executor::selection(op, &view).map_err(|error| {
                    let context = scanned
                        .as_ref()
                        .and_then(|scanned| scanned.context.as_ref());
                    match (error, context) {
                        (CopyError::NotFound { path, .. }, Some(context)) => {
                            Failure::from(context.missing(&path))
                        }
                        (error, _) => error.into(),
                    }
                })?;
                self.with_fetched(op, local)
            }
        }
    }

    /// Adds what URLs and git references are now.
    fn with_fetched(
        &self,
        op: &CopyOp,
        local: SelectionDigest,
    ) -> Result<SelectionDigest, Failure> {
        let mut bytes = local.0.as_bytes().to_vec();
        let mut any = false;
        for input in &op.inputs {
            if matches!(input, CopyInput::Url { .. } | CopyInput::Git { .. }) {
                any = true;
                bytes.extend_from_slice(self.fetches.digest(input)?.as_bytes());
            }
        }
        Ok(if any {
            SelectionDigest(ContentDigest::of(&bytes))
        } else {
            local
        })
    }
}

/// What a COPY or a mount touches of a context.
fn parts_of(wanted: &Wanted<'_>, parts: &mut Vec<context::Wanted>) -> Result<(), Failure> {
    match wanted {
        Wanted::Mount { source, .. } => {
            parts.push(context::Wanted::Source(Glob::literal(source.as_bytes())));
        }
        Wanted::Copy(op) => {
            for input in &op.inputs {
                let CopyInput::Path(path) = input else {
                    continue;
                };
                let wrong = |source| PipelineError::Pattern {
                    pattern: path.clone(),
                    source,
                };
                parts.push(if op.parents && path.contains("**") {
                    let clean = path.replacen("/./", "/", 1);
                    let way = path.split_once("/./").map_or("", |(way, _)| way);
                    context::Wanted::Parents {
                        way: Glob::new(way).map_err(wrong)?,
                        glob: DeepGlob::new(&clean).map_err(wrong)?,
                    }
                } else {
                    context::Wanted::Source(Glob::new(path).map_err(wrong)?)
                });
            }
        }
    }
    Ok(())
}

fn context_of<'w>(wanted: &Wanted<'w>) -> Option<&'w str> {
    match wanted {
        Wanted::Mount { context, .. } => Some(context),
        Wanted::Copy(op) => match &op.from {
            Source::Context(name) => {
                let has_path = op
                    .inputs
                    .iter()
                    .any(|input| matches!(input, CopyInput::Path(_)));
                has_path.then_some(name.as_str())
            }
            Source::Step(_) => None,
        },
    }
}

impl ContextProbe for Contexts<'_> {
    fn named(&self, name: &str) -> Option<String> {
        self.named.get(name).cloned()
    }

    fn selection(&self, op: &CopyOp) -> Result<SelectionDigest, Failure> {
        self.select_all(&[Wanted::Copy(op)]).swap_remove(0)
    }

    fn mounted(&self, context: &str, source: &str) -> Result<SelectionDigest, Failure> {
        self.select_all(&[Wanted::Mount { context, source }])
            .swap_remove(0)
    }

    fn select_all(&self, wanted: &[Wanted<'_>]) -> Vec<Result<SelectionDigest, Failure>> {
        let mut by_context: BTreeMap<&str, Vec<&Wanted<'_>>> = BTreeMap::new();
        for part in wanted {
            if let Some(name) = context_of(part) {
                by_context.entry(name).or_default().push(part);
            }
        }
        let mut failures = BTreeMap::new();
        for (name, parts) in by_context {
            match self.scan(name, &parts) {
                Ok(scanned) => {
                    let mut all = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
                    all.insert(name.to_owned(), scanned);
                }
                Err(failure) => {
                    failures.insert(name, failure);
                }
            }
        }
        wanted
            .iter()
            .map(
                |part| match context_of(part).and_then(|name| failures.remove(name)) {
                    Some(failure) => Err(failure),
                    None => self.digest(part),
                },
            )
            .collect()
    }
}
