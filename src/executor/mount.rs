//! `RUN --mount`: what the planner says becomes directories, memory and sockets for the sandbox.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Executor;
use super::agent::Service;
use super::chain::Cell;
use super::contents::{FilesOf, give, write_both};
use super::error::ExecuteError;
use super::roots::DirectoryRoot;
use super::sandbox::{Bind, RootDriver, SandboxMount};
use super::supplies::FileTree;
use crate::cache::store::{self, CacheMountLease, DirDraft};
use crate::cache::{Material, RECORD_VERSION, Record};
use crate::digest::DiffId;
use crate::failure::Failure;
use crate::planner::graph::Step;
use crate::planner::op::{RunMount, RunOp, SelectionDigest, Sharing, Source};
use crate::tree::{Entry, Selected, Tree, TreePath, selection_digest};

/// Where the sandbox finds the first agent socket, as BuildKit has it.
const SSH_SOCKET: &str = "/run/buildkit/ssh_agent.";

/// The mounts of one command, alive until it ended.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    sandbox: Vec<SandboxMount>,
    /// `--no-cache`: caches start empty, once a build.
    empty_caches: bool,
    env: Vec<(String, String)>,
    /// Where writes to writable bind mounts go; thrown away with it.
    scratch: Option<DirDraft>,
    /// Cache directories in use; other users may have to wait for them.
    leases: Vec<CacheMountLease>,
    /// Roots that mounts show parts of.
    roots: Vec<DirectoryRoot>,
    /// Agents that answer, and the directories of their sockets.
    agents: Vec<(Service, DirDraft)>,
}

impl Mounts {
    /// Lays out the mounts of `run`, the command of `step`.
    pub(crate) fn lay_out(
        executor: &Executor<'_>,
        step: &Step,
        run: &RunOp,
    ) -> Result<Self, Failure> {
        let mut mounts = Self {
            empty_caches: step.no_cache,
            ..Self::default()
        };
        // Also where nothing is written: layers are stacked there before a part of them is shown.
        let is_stacked = |mount: &RunMount| matches!(mount, RunMount::Bind { .. });
        if run.mounts.iter().any(is_stacked) {
            mounts.scratch = Some(executor.input.store.draft_dir()?);
        }
        if let Some(script) = &run.script {
            mounts.sandbox.push(SandboxMount::Secret {
                target: run.args.first().cloned().unwrap_or_default(),
                data: script.clone().into_bytes(),
                mode: 0o755,
                uid: 0,
                gid: 0,
            });
        }
        for mount in &run.mounts {
            mounts.add(executor, mount)?;
        }
        // Shallow targets first, so that nested ones land in them.
        mounts
            .sandbox
            .sort_by_key(|mount| target(mount).matches('/').count());
        Ok(mounts)
    }

    /// For the sandbox.
    pub(crate) fn sandbox(&self) -> &[SandboxMount] {
        &self.sandbox
    }

    /// A directory that the sandbox may fill.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.as_ref().map_or(Path::new(""), DirDraft::fs)
    }

    /// Ends the mounts; the roots that they were of.
    pub(crate) fn into_roots(self) -> Vec<DirectoryRoot> {
        self.roots
    }

    /// Variables that mounts add.
    pub(crate) fn env(&self) -> &[(String, String)] {
        &self.env
    }

    fn add(&mut self, executor: &Executor<'_>, mount: &RunMount) -> Result<(), Failure> {
        match mount {
            RunMount::Bind {
                target,
                from,
                source,
                writable,
            } => {
                let lowers = executor.mount_lowers(from, source, &mut self.roots)?;
                let target = target.clone();
                // Directories have a layer as its tar has it.
                let source = match from {
                    Source::Step(id) if executor.output(*id).is_windows() => {
                        format!("/Files/{}", source.trim_start_matches('/'))
                    }
                    _ => source.clone(),
                };
                let writable = *writable;
                self.sandbox.push(SandboxMount::Overlay {
                    target,
                    lowers,
                    source,
                    writable,
                });
            }
            RunMount::Cache { .. } => self.add_cache(executor, mount)?,
            RunMount::Tmpfs { target, size } => {
                self.sandbox.push(SandboxMount::Tmpfs {
                    target: target.clone(),
                    size: *size,
                });
            }
            RunMount::Secret { .. } => self.add_secret(executor, mount)?,
            RunMount::Ssh { .. } => self.add_ssh(executor, mount)?,
        }
        Ok(())
    }

    fn add_cache(&mut self, executor: &Executor<'_>, mount: &RunMount) -> Result<(), Failure> {
        let RunMount::Cache {
            target,
            id,
            sharing,
            seed,
            readonly,
            mode,
            uid,
            gid,
        } = mount
        else {
            return Ok(());
        };
        let sharing = match sharing {
            // Where it cannot be mounted it is moved into the root of one command.
            Sharing::Shared if executor.driver() == RootDriver::Directory => {
                executor.notice_once(
                    "shared caches are used by one RUN after another here, not by several at once"
                        .to_owned(),
                );
                store::Sharing::Locked
            }
            Sharing::Shared => store::Sharing::Shared,
            Sharing::Private => store::Sharing::Private,
            Sharing::Locked => store::Sharing::Locked,
        };
        let seed_digest = match seed {
            Some((from, source)) => Some(executor.shown(from, source)?.0.to_string()),
            None => None,
        };
        // The identity of a cache is its id and what shaped it (dockerfile.md §2.2).
        let identity = Material::new("cache-mount")
            .with("id", id.as_str())
            .with("mode", *mode)
            .with("uid", *uid)
            .with("gid", *gid)
            .with("seed", seed_digest);
        if self.empty_caches {
            executor.empty_cache_once(&identity.key().0)?;
        }
        let lease = executor
            .input
            .store
            .cache_mount(&identity.key().0, sharing, |waiting| {
                executor.patience(waiting)
            })?;
        if lease.is_fresh() {
            if let Some((from, source)) = seed {
                executor.copy_contents(from, source, lease.path())?;
            }
            dress(lease.path(), (*mode, *uid, *gid)).map_err(|source| {
                ExecuteError::MountFiles {
                    path: lease.path().to_owned(),
                    source,
                }
            })?;
        }
        self.sandbox.push(SandboxMount::Bind(Bind {
            target: target.clone(),
            host: lease.path().to_owned(),
            source: "/".to_owned(),
            readonly: *readonly,
        }));
        self.leases.push(lease);
        Ok(())
    }

    fn add_secret(&mut self, executor: &Executor<'_>, mount: &RunMount) -> Result<(), Failure> {
        let RunMount::Secret {
            id,
            target,
            env,
            required,
            mode,
            uid,
            gid,
        } = mount
        else {
            return Ok(());
        };
        let Some(data) = executor.input.supplies.secret(id)? else {
            if *required {
                return Err(ExecuteError::SecretMissing { id: id.clone() }.into());
            }
            // BuildKit sets the variable empty, overriding ENV.
            if let Some(env) = env {
                self.env.push((env.clone(), String::new()));
            }
            return Ok(());
        };
        if let Some(env) = env {
            self.env
                .push((env.clone(), String::from_utf8_lossy(&data).into_owned()));
        }
        if let Some(target) = target {
            let (mode, uid, gid) = (*mode, *uid, *gid);
            let target = target.clone();
            self.sandbox.push(SandboxMount::Secret {
                target,
                data,
                mode,
                uid,
                gid,
            });
        }
        Ok(())
    }

    fn add_ssh(&mut self, executor: &Executor<'_>, mount: &RunMount) -> Result<(), Failure> {
        let RunMount::Ssh {
            id,
            target,
            required,
            mode,
            uid,
            gid,
        } = mount
        else {
            return Ok(());
        };
        let number = self
            .env
            .iter()
            .filter(|(name, _)| name == "SSH_AUTH_SOCK")
            .count();
        let target = target
            .clone()
            .unwrap_or_else(|| format!("{SSH_SOCKET}{number}"));
        if number == 0 {
            self.env.push(("SSH_AUTH_SOCK".to_owned(), target.clone()));
        }
        let Some(agent) = executor.input.supplies.ssh(id) else {
            if *required {
                return Err(ExecuteError::SshMissing { id: id.clone() }.into());
            }
            return Ok(());
        };
        let directory = executor.input.store.draft_dir()?;
        let service = Service::start(&agent, directory.fs())
            .and_then(|service| {
                dress(service.socket(), (*mode, *uid, *gid))?;
                Ok(service)
            })
            .map_err(|source| ExecuteError::Agent {
                id: id.clone(),
                source,
            })?;
        self.sandbox.push(SandboxMount::Bind(Bind {
            target,
            host: service.socket().to_owned(),
            source: "/".to_owned(),
            readonly: false,
        }));
        self.agents.push((service, directory));
        Ok(())
    }
}

/// Gives a fresh cache directory or a socket its owner and its mode.
fn dress(path: &Path, (mode, uid, gid): (u32, u32, u32)) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    give(path, (uid, gid))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn target(mount: &SandboxMount) -> &str {
    match mount {
        SandboxMount::Bind(bind) => &bind.target,
        SandboxMount::Overlay { target, .. }
        | SandboxMount::Tmpfs { target, .. }
        | SandboxMount::Secret { target, .. } => target,
    }
}

impl Executor<'_> {
    /// The digest of what a mount takes from its source.
    pub(crate) fn shown(&self, from: &Source, source: &str) -> Result<SelectionDigest, Failure> {
        let view = match from {
            Source::Step(id) => self.faces.view(&self.output(*id))?,
            Source::Context(name) => self.input.supplies.context(name)?.view,
        };
        Ok(SelectionDigest(selection_digest(
            view.select(&TreePath::clean(source)),
        )))
    }

    /// Directories that show what a mount takes from its source, top first.
    fn mount_lowers(
        &self,
        from: &Source,
        source: &str,
        roots: &mut Vec<DirectoryRoot>,
    ) -> Result<Vec<PathBuf>, Failure> {
        match from {
            Source::Step(id) if self.driver() == RootDriver::Directory => {
                let root = self.root(&self.output(*id))?;
                let path = root.path().to_owned();
                roots.push(root);
                Ok(vec![path])
            }
            Source::Step(id) => self.faces.lowers(&self.output(*id)),
            Source::Context(name) => {
                let diff_id = self.context_layer(name, source)?;
                self.faces
                    .lowers(&std::iter::once(Cell::known(diff_id)).collect())
            }
        }
    }

    /// What a bind mount of a context shows, laid out as a layer: the ignore rules hold, nothing of
    /// the host is exposed, and the next build with the same files finds it.
    fn context_layer(&self, name: &str, source: &str) -> Result<DiffId, Failure> {
        let FileTree { view, files } = self.input.supplies.context(name)?;
        let base = TreePath::clean(source);
        let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
        let mut parent = base.parent();
        while let Some(path) = parent.filter(|path| !path.is_root()) {
            entries.insert(path.clone(), Entry::directory(path.clone(), 0));
            parent = path.parent();
        }
        for Selected { name, entry, .. } in view.select(&base) {
            let path = base.join(&name);
            if !path.is_root() {
                let entry = Entry {
                    path: path.clone(),
                    mtime: 0,
                    ..entry.clone()
                };
                entries.insert(path, entry);
            }
        }
        let tree = Tree::new(entries.into_values().collect(), BTreeMap::new());
        let material = Material::new("context").with("tree", tree.digest().to_string());
        if let Some(record) = self.probe(&material.key()) {
            return Ok(record.diff_id);
        }
        let contents = FilesOf(Arc::clone(&files));
        let draft = self.faces.draft()?;
        let written = write_both(tree.entries(), &contents, draft.fs()).map_err(|source| {
            ExecuteError::Snapshot {
                name: format!("context {name}"),
                source,
            }
        })?;
        self.faces.keep_tree(written.diff_id, written.tree)?;
        self.input.store.keep_dir(&written.diff_id, draft)?;
        let record = Record {
            version: RECORD_VERSION,
            key: material.key(),
            operation: None,
            diff_id: written.diff_id,
            size: written.size,
            blobs: Vec::new(),
            tree: None,
            name: format!("context {name}"),
            cost_ms: 0,
            platform: String::new(),
            material,
        };
        self.input.store.commit(record)?;
        Ok(written.diff_id)
    }
}
