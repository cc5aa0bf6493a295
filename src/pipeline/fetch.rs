//! What comes from elsewhere: files of the web, git trees, contexts on standard input. Each is
//! fetched once a build, into the store, and removed with the build unless it is worth keeping.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::PipelineError;
use super::request::{BuildRequest, ContextSpec, SecretSource};
use crate::cache::Store;
use crate::cache::store::DirDraft;
use crate::clock::Epoch;
use crate::context::archive::{self, Format, Received, Unpack};
use crate::context::git::{GitOptions, GitRef, GitSource, is_git_url};
use crate::context::http::{self, Fetcher};
use crate::context::{IgnoreSource, LocalContext, Modes, Wanted};
use crate::digest::{ContentDigest, Digest, hex};
use crate::executor::agent::{Agent, Service};
use crate::executor::{FileTree, Files};
use crate::failure::{Explain, Failure};
use crate::layer::{self, ApplyOptions, LayerError, Limits, OverlayXattr, Ownership};
use crate::planner::op::CopyInput;
use crate::tree::{Entry, Kind, Tree, TreePath, View};

/// The largest file that ADD fetches: 16 GiB.
const FILE_BYTES_MAX: u64 = 16 << 30;

/// A context that came from elsewhere.
#[derive(Debug)]
pub(super) enum Fetched {
    /// A tree of files.
    Tree {
        /// The tree.
        context: LocalContext,
        /// The time of its commit.
        committed: Option<Epoch>,
    },
    /// A Dockerfile alone.
    Dockerfile(Vec<u8>),
}

/// Fetches, once each.
#[derive(Debug)]
pub(super) struct Fetches<'a> {
    store: &'a Store,
    request: &'a BuildRequest,
    web: Fetcher,
    /// By address and checksum: files of the web. What a key was made of is what is copied, even
    /// if the server has something else by then.
    files: Mutex<BTreeMap<(String, Option<Digest>), WebFile>>,
    /// By address: git trees that were resolved.
    commits: Mutex<BTreeMap<String, String>>,
    trees: Mutex<BTreeMap<String, FileTree>>,
    /// The agent of `--ssh default=KEY`, as git finds it; it is short for the name of a socket.
    agent: Mutex<Option<(Service, tempfile::TempDir)>>,
    /// Directories of fetched trees, removed when the build is over.
    scratch: Mutex<Vec<DirDraft>>,
}

/// A file of the web, once it was fetched; whoever fetches holds the lock.
type WebFile = Arc<Mutex<Option<http::Fetched>>>;

/// One file under a path.
#[derive(Debug)]
struct OneFile(PathBuf);

impl Files for OneFile {
    fn open(&self, _path: &TreePath) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(&self.0)?))
    }
}

/// The files of a fetched tree.
#[derive(Debug)]
struct TreeFiles(LocalContext);

impl Files for TreeFiles {
    fn open(&self, path: &TreePath) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.0.open_file(path).map_err(io::Error::other)?))
    }
}

/// Unpacks archives of contexts with the code that unpacks layers.
#[derive(Debug)]
struct UnpackLayer;

impl Unpack for UnpackLayer {
    fn unpack(
        &self,
        archive: &mut (dyn Read + Send),
        _format: Format,
        directory: &Path,
    ) -> Result<(), Box<dyn Explain>> {
        let options = ApplyOptions {
            overlay: OverlayXattr::User,
            lowers: &[],
            lower_view: &View::new(),
            ownership: Ownership::Current,
            clamp: None,
            limits: Limits::default(),
        };
        let boxed = |error| match error {
            LayerError::Tar { source } => Box::new(PipelineError::Archive { source }),
            error => Box::new(error) as Box<dyn Explain>,
        };
        let plain =
            layer::decompress(archive).map_err(|source| boxed(LayerError::Read { source }))?;
        layer::apply(plain, directory, &options).map_err(boxed)
    }
}

impl<'a> Fetches<'a> {
    /// Nothing is fetched yet.
    pub(super) fn new(store: &'a Store, request: &'a BuildRequest) -> Self {
        Self {
            store,
            request,
            web: Fetcher::new(store.downloads(), FILE_BYTES_MAX),
            files: Mutex::default(),
            commits: Mutex::default(),
            trees: Mutex::default(),
            agent: Mutex::default(),
            scratch: Mutex::default(),
        }
    }

    /// The main context from standard input.
    pub(super) fn stdin(&self) -> Result<Fetched, Failure> {
        self.receive(&mut io::stdin())
    }

    /// The main context from an address.
    pub(super) fn main(&self, url: &str) -> Result<Fetched, Failure> {
        self.permit(url)?;
        if is_git_url(url) {
            let keep = self.request.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
            let keep = keep.is_some_and(|value| matches!(value.as_str(), "1" | "true"));
            let source = self.git_source(url, keep, None)?;
            let (context, time) = self.git_context(url, &source)?;
            return Ok(Fetched::Tree {
                context,
                committed: Some(Epoch(time)),
            });
        }
        let fetched = self.web(url, None)?;
        let mut file =
            File::open(&fetched.path).map_err(|source| PipelineError::Scratch { source })?;
        self.receive(&mut file)
    }

    /// A text by address: `-f https://…`.
    pub(super) fn text(&self, url: &str, max: u64) -> Result<Vec<u8>, Failure> {
        self.permit(url)?;
        let fetched = self.web(url, None)?;
        let failed = |source| PipelineError::Scratch { source };
        let mut bytes = Vec::new();
        let file = File::open(&fetched.path).map_err(failed)?;
        file.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }

    /// A named context from an address: a git tree, or one file called `context`.
    pub(super) fn context(&self, url: &str) -> Result<LocalContext, Failure> {
        self.permit(url)?;
        if is_git_url(url) {
            let source = self.git_source(url, false, None)?;
            return Ok(self.git_context(url, &source)?.0);
        }
        let fetched = self.web(url, None)?;
        let draft = self.store.draft_dir()?;
        let failed = |source| PipelineError::Scratch { source };
        let target = draft.fs().join("context");
        std::fs::copy(&fetched.path, &target).map_err(failed)?;
        let context = LocalContext::open(draft.fs(), IgnoreSource::None, None)?;
        self.keep(draft);
        Ok(context)
    }

    /// What a fetched source of ADD is now.
    pub(super) fn digest(&self, input: &CopyInput) -> Result<ContentDigest, Failure> {
        let identity = match input {
            CopyInput::Url { url, checksum } => {
                self.permit(url)?;
                let fetched = self.web(url, *checksum)?;
                let name = hex(&http::file_name(url)?);
                format!("url {name} {} {}", fetched.content, fetched.mtime)
            }
            CopyInput::Git {
                url,
                keep_git_dir,
                checksum,
            } => {
                self.permit(url)?;
                let source = self.git_source(url, *keep_git_dir, checksum.as_deref())?;
                let commit = self.commit(url, &source)?;
                format!(
                    "git {commit} {:?} {keep_git_dir}",
                    source.address.subdirectory
                )
            }
            CopyInput::Path(_) | CopyInput::Inline { .. } => String::new(),
        };
        Ok(ContentDigest::of(identity.as_bytes()))
    }

    /// A fetched source of ADD as a tree.
    pub(super) fn files(&self, input: &CopyInput) -> Result<FileTree, Failure> {
        match input {
            CopyInput::Url { url, checksum } => {
                self.permit(url)?;
                let fetched = self.web(url, *checksum)?;
                let kind = Kind::File {
                    size: fetched.size,
                    content: fetched.content,
                };
                let entry = Entry {
                    path: TreePath::root().join_name(&http::file_name(url)?),
                    kind,
                    mode: 0o600,
                    uid: 0,
                    gid: 0,
                    mtime: fetched.mtime,
                    xattrs: BTreeMap::new(),
                };
                let view = View::merge(&[Arc::new(Tree::new(vec![entry], BTreeMap::new()))]);
                Ok(FileTree {
                    view,
                    files: Arc::new(OneFile(fetched.path)),
                })
            }
            CopyInput::Git {
                url,
                keep_git_dir,
                checksum,
            } => {
                let source = self.git_source(url, *keep_git_dir, checksum.as_deref())?;
                let key = format!("{url} {keep_git_dir}");
                let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(tree) = trees.get(&key) {
                    return Ok(tree.clone());
                }
                let (context, _) = self.git_context(url, &source)?;
                let entries = context.scan(&[Wanted::All])?.entries;
                let view = View::merge(&[Arc::new(Tree::new(entries, BTreeMap::new()))]);
                let tree = FileTree {
                    view,
                    files: Arc::new(TreeFiles(context)),
                };
                trees.insert(key, tree.clone());
                Ok(tree)
            }
            CopyInput::Path(_) | CopyInput::Inline { .. } => {
                Err(PipelineError::Usage("only addresses can be fetched").into())
            }
        }
    }

    /// Asks the policy about an address; git trees have the scheme `git` there, whatever carries
    /// them.
    fn permit(&self, url: &str) -> Result<(), Failure> {
        let policy = &self.request.policy;
        if is_git_url(url) {
            let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
            return Ok(policy.permit(&format!("git://{rest}"))?);
        }
        Ok(policy.permit(url)?)
    }

    /// Asks the policy about a directory of this machine; the main context has no name.
    pub(super) fn permit_local(&self, name: &str) -> Result<(), Failure> {
        let is_main = name.is_empty();
        if is_main && !matches!(self.request.context, ContextSpec::Directory(_)) {
            return Ok(());
        }
        let name = if is_main { "context" } else { name };
        Ok(self.request.policy.permit(&format!("local://{name}"))?)
    }

    fn receive(&self, input: &mut (dyn Read + Send)) -> Result<Fetched, Failure> {
        let draft = self.store.draft_dir()?;
        match archive::receive(input, draft.fs(), &UnpackLayer)? {
            Received::Dockerfile(bytes) => Ok(Fetched::Dockerfile(bytes)),
            Received::Unpacked => {
                let context = LocalContext::open(draft.fs(), IgnoreSource::None, None)?;
                self.keep(draft);
                Ok(Fetched::Tree {
                    context,
                    committed: None,
                })
            }
        }
    }

    fn git_context(&self, url: &str, source: &GitSource) -> Result<(LocalContext, i64), Failure> {
        let commit = self.commit(url, source)?;
        let draft = self.store.draft_dir()?;
        let fetched = source.fetch(&commit, draft.fs())?;
        let context = LocalContext::open(&fetched.directory, IgnoreSource::None, None)?
            .with_modes(Modes::Git);
        let context = match &fetched.subdirectory {
            Some(path) => context.subdirectory(path)?,
            None => context,
        };
        self.keep(draft);
        Ok((context, fetched.commit_time))
    }

    fn git_source(
        &self,
        url: &str,
        keep_git_dir: bool,
        checksum: Option<&str>,
    ) -> Result<GitSource, Failure> {
        let mut address = GitRef::parse(url)?;
        if let Some(commit) = checksum {
            address.pin(commit)?;
        }
        let mut options = GitOptions::default();
        options.environment.clone_from(&self.request.environment);
        if let Some(socket) = self.agent()? {
            let is_agent = |(name, _): &(String, String)| name == "SSH_AUTH_SOCK";
            options.environment.retain(|variable| !is_agent(variable));
            let variable = ("SSH_AUTH_SOCK".to_owned(), socket.display().to_string());
            options.environment.push(variable);
        }
        options.token = self.secret("GIT_AUTH_TOKEN");
        options.header = self.secret("GIT_AUTH_HEADER");
        Ok(GitSource {
            address,
            options,
            keep_git_dir,
        })
    }

    fn commit(&self, url: &str, source: &GitSource) -> Result<String, Failure> {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(commit) = commits.get(url) {
            source.verify(commit)?;
            return Ok(commit.clone());
        }
        let draft = self.store.draft_dir()?;
        let commit = source.resolve(draft.fs())?;
        commits.insert(url.to_owned(), commit.clone());
        Ok(commit)
    }

    /// The socket of `--ssh default`, which git asks as RUN does.
    fn agent(&self) -> Result<Option<PathBuf>, Failure> {
        let agent = match self.request.ssh.get("default") {
            None => return Ok(None),
            Some(Agent::Socket(path)) => return Ok(Some(path.clone())),
            Some(agent) => agent,
        };
        let mut service = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        if service.is_none() {
            let failed = |source| PipelineError::Scratch { source };
            let mut directory = tempfile::Builder::new();
            let directory = directory.prefix("builder-agent-").tempdir();
            let directory = directory.map_err(failed)?;
            let started = Service::start(agent, directory.path()).map_err(failed)?;
            *service = Some((started, directory));
        }
        Ok(service
            .as_ref()
            .map(|(service, _)| service.socket().to_owned()))
    }

    /// A file of the web, fetched or revalidated once a build.
    fn web(&self, url: &str, checksum: Option<Digest>) -> Result<http::Fetched, Failure> {
        let file = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(files.entry((url.to_owned(), checksum)).or_default())
        };
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fetched) = &*file {
            return Ok(fetched.clone());
        }
        let fetched = self.web.fetch(&http::Request {
            url,
            authorization: None,
            checksum,
        })?;
        *file = Some(fetched.clone());
        Ok(fetched)
    }

    fn secret(&self, id: &str) -> Option<String> {
        match self.request.secrets.get(id)? {
            SecretSource::Value(bytes) => String::from_utf8(bytes.0.clone()).ok(),
            SecretSource::File(path) => std::fs::read_to_string(path).ok(),
        }
        .map(|text| text.trim_end().to_owned())
    }

    fn keep(&self, draft: DirDraft) {
        self.scratch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(draft);
    }
}
