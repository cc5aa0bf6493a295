//! The first houses of the street: the Dockerfile and the main context.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::PipelineError;
use super::fetch::{Fetched, Fetches};
use super::request::{BuildRequest, ContextSpec, DockerfileSpec, EpochSpec};
use crate::cache::Store;
use crate::clock::Epoch;
use crate::context::dockerfile::{DOCKERFILE_BYTES_MAX, FoundDockerfile, find_dockerfile};
use crate::context::{IgnoreSource, LocalContext, git};
use crate::diagnostic::SourceFile;
use crate::event::{Outcome, Reporter};
use crate::failure::Failure;
use crate::parser;

/// What was loaded.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The Dockerfile.
    pub(super) source: Arc<SourceFile>,
    /// The main context; `None` for a Dockerfile without one.
    pub(super) context: Option<Arc<LocalContext>>,
    /// The commit time of the context's HEAD, if it was asked for and there is one.
    pub(super) committed: Option<Epoch>,
}

/// Loads both.
pub(super) fn load(
    request: &BuildRequest,
    store: &Store,
    fetches: &Fetches<'_>,
    reporter: &Reporter,
) -> Result<Loaded, Failure> {
    match &request.context {
        ContextSpec::Directory(directory) => local(request, directory, store, fetches, reporter),
        ContextSpec::Stdin => {
            let context = fetches.stdin()?;
            from_fetched(request, context, "-", reporter)
        }
        ContextSpec::Url(url) => {
            let activity = reporter.start(format!("[internal] load remote build context {url}"));
            let context = fetches.main(url)?;
            activity.finish(Outcome::Done);
            from_fetched(request, context, url, reporter)
        }
    }
}

fn local(
    request: &BuildRequest,
    directory: &Path,
    store: &Store,
    fetches: &Fetches<'_>,
    reporter: &Reporter,
) -> Result<Loaded, Failure> {
    let found = match &request.dockerfile {
        DockerfileSpec::Default => definition(reporter, || Ok(find_dockerfile(directory, None)?))?,
        DockerfileSpec::Path(path) => {
            definition(reporter, || Ok(find_dockerfile(directory, Some(path))?))?
        }
        DockerfileSpec::Stdin => definition(reporter, || from_stdin(directory))?,
        DockerfileSpec::Url(url) => definition(reporter, || {
            let bytes = fetches.text(url, DOCKERFILE_BYTES_MAX)?;
            Ok(FoundDockerfile {
                path: directory.join("Dockerfile"),
                name: url.clone(),
                bytes,
            })
        })?,
    };
    let ignore = match &request.dockerfile {
        DockerfileSpec::Default | DockerfileSpec::Path(_) => {
            IgnoreSource::Dockerfile(found.path.clone())
        }
        DockerfileSpec::Stdin | DockerfileSpec::Url(_) => IgnoreSource::Root,
    };
    let index = store.context_index_path(directory);
    let context = LocalContext::open(directory, ignore, Some(index))?;
    let committed = match request.epoch {
        EpochSpec::Git => git::head_time(directory, &request.environment)?.map(Epoch),
        EpochSpec::Base | EpochSpec::Fixed(_) | EpochSpec::Now => None,
    };
    finish(found, Some(context), committed)
}

/// A context that came from elsewhere: a tree with a Dockerfile in it, or a Dockerfile alone.
fn from_fetched(
    request: &BuildRequest,
    fetched: Fetched,
    name: &str,
    reporter: &Reporter,
) -> Result<Loaded, Failure> {
    match fetched {
        Fetched::Dockerfile(bytes) => {
            let found = FoundDockerfile {
                path: PathBuf::new(),
                name: name.to_owned(),
                bytes,
            };
            let found = definition(reporter, || Ok(found))?;
            finish(found, None, None)
        }
        Fetched::Tree { context, committed } => {
            let file = match &request.dockerfile {
                DockerfileSpec::Default => None,
                DockerfileSpec::Path(path) => Some(path.as_path()),
                DockerfileSpec::Stdin | DockerfileSpec::Url(_) => {
                    return Err(PipelineError::Usage(
                        "a fetched context needs its Dockerfile inside: use -f PATH",
                    )
                    .into());
                }
            };
            let found = definition(reporter, || Ok(context.dockerfile(file)?))?;
            finish(found, Some(context), committed)
        }
    }
}

/// Loads the Dockerfile under the name that pipelines look for.
fn definition(
    reporter: &Reporter,
    find: impl FnOnce() -> Result<FoundDockerfile, Failure>,
) -> Result<FoundDockerfile, Failure> {
    let found = find();
    let name = match &found {
        Ok(found) => found.name.clone(),
        Err(_) => "Dockerfile".to_owned(),
    };
    let activity = reporter.start(format!("[internal] load build definition from {name}"));
    match &found {
        Ok(found) => {
            let size = found.bytes.len() as u64;
            activity.progress("transferring dockerfile:", size, None, true);
            activity.finish(Outcome::Done);
        }
        Err(failure) => activity.finish(Outcome::Failed(super::failure_text(failure))),
    }
    found
}

fn from_stdin(directory: &Path) -> Result<FoundDockerfile, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(DOCKERFILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| PipelineError::Stdin { source })?;
    Ok(FoundDockerfile {
        path: directory.join("-"),
        name: "-".to_owned(),
        bytes,
    })
}

fn finish(
    found: FoundDockerfile,
    context: Option<LocalContext>,
    committed: Option<Epoch>,
) -> Result<Loaded, Failure> {
    let source = parser::parse_bytes(&found.name, found.bytes).map_err(|wrong| *wrong)?;
    Ok(Loaded {
        source,
        context: context.map(Arc::new),
        committed,
    })
}
