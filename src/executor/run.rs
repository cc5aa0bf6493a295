//! RUN: mounts laid out, command in the sandbox, changes frozen.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Executor;
use super::chain::{Cell, Chain, Lost};
use super::contents::mark_notes;
use super::error::ExecuteError;
use super::mount::Mounts;
use super::sandbox::{
    self, Exit, Notice, RootDriver, SandboxNetwork, SandboxSpec, has_single_id, in_user_namespace,
};
use super::snapshot::{self, Believed, FreezeOptions, Frozen};
use super::step::{Made, Receipt};
use crate::cache::store::DirDraft;
use crate::event::{Activity, Stream};
use crate::failure::Failure;
use crate::planner::Variable;
use crate::planner::graph::{Step, StepId};
use crate::planner::key;
use crate::planner::op::{Network, RunMount, RunOp, Security, Source};
use crate::platform::Platform;

/// The changes of a RUN: a directory that will not change any more.
#[derive(Debug)]
pub(crate) struct FrozenRun {
    frozen: Frozen,
    draft: DirDraft,
}

impl FrozenRun {
    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        self.draft.fs()
    }
}

impl Executor<'_> {
    /// Runs a command on top of `base`.
    pub(crate) fn run(
        &self,
        step: &Step,
        run: &RunOp,
        base: &Chain,
        activity: &Activity,
    ) -> Result<Made, Failure> {
        match self.driver() {
            RootDriver::Overlay => self.run_on_overlay(step, run, base, activity),
            RootDriver::Directory => self.run_in_directory(step, run, base, activity),
        }
    }

    /// Runs a command on stacked layers: what it changes is a directory of its own.
    fn run_on_overlay(
        &self,
        step: &Step,
        run: &RunOp,
        base: &Chain,
        activity: &Activity,
    ) -> Result<Made, Failure> {
        self.input.sandbox.expect(self.network_of(run));
        let lowers = self.faces.lowers(base)?;
        let mounts = Mounts::lay_out(self, step, run)?;
        let draft = self.faces.draft()?;
        let spec = self.spec(run, &mounts, lowers.clone(), &draft)?;
        self.run_command(run, &spec, activity)?;
        drop(mounts);
        let options = FreezeOptions {
            epoch: step.epoch,
            believed: Believed {
                owners: has_single_id(),
                devices: in_user_namespace(),
            },
        };
        let frozen = snapshot::freeze(draft.fs(), &lowers, &options).map_err(ExecuteError::from)?;
        mark_notes(draft.fs(), frozen.entries()).map_err(|source| ExecuteError::MountFiles {
            path: draft.fs().to_owned(),
            source,
        })?;
        Ok(Made::Frozen(Box::new(FrozenRun { frozen, draft })))
    }

    /// Runs a command in a root of its own: what it changed is found afterwards, and written before
    /// the next command changes it again.
    fn run_in_directory(
        &self,
        step: &Step,
        run: &RunOp,
        base: &Chain,
        activity: &Activity,
    ) -> Result<Made, Failure> {
        let mounts = Mounts::lay_out(self, step, run)?;
        let mut root = self.root(base)?;
        let before = root.take_listing()?;
        before.settle(&root.draft().work()?);
        let mut spec = self.spec(run, &mounts, Vec::new(), root.draft())?;
        spec.shared = before.shared();
        self.run_command(run, &spec, activity)?;
        for root in mounts.into_roots() {
            self.roots.put(root, None);
        }
        let below = self.faces.view(base)?;
        let (frozen, after) = snapshot::changes(root.path(), &before, &below, step.epoch)
            .map_err(ExecuteError::from)?;
        let failed = |source| ExecuteError::Snapshot {
            name: step.name.clone(),
            source,
        };
        let (diff_id, size) =
            self.write_blob(|encoding, blob| frozen.write(Some(encoding), blob).map_err(failed))?;
        root.listing = Some(after);
        self.roots.put(root, Some(diff_id));
        Ok(Made::Layer { diff_id, size })
    }

    /// Runs the command; an error if it fails.
    fn run_command(
        &self,
        run: &RunOp,
        spec: &SandboxSpec,
        activity: &Activity,
    ) -> Result<(), Failure> {
        let because = self.input.options.host_network_because.as_ref();
        if let (Network::Default, Some(why)) = (run.network, because) {
            let why = why.clone();
            self.notice_once(Notice::HostNetwork { why }.to_string());
        }
        let outcome = self.input.sandbox.run(
            spec,
            &mut |stream, bytes: &[u8]| {
                let stream = match stream {
                    sandbox::Stream::Stdout => Stream::Stdout,
                    sandbox::Stream::Stderr => Stream::Stderr,
                };
                activity.output(stream, bytes);
            },
            self.input.cancel,
        )?;
        for notice in outcome.notices {
            self.notice_once(notice.to_string());
        }
        let exit = outcome.exit;
        if self.input.cancel.is_cancelled() {
            return Err(ExecuteError::Cancelled.into());
        }
        if exit != Exit::Code(0) {
            let command = run.args.join(" ");
            return Err(ExecuteError::Run { command, exit }.into());
        }
        Ok(())
    }

    /// The record of the same command on inputs of the same content. Waiting for the digests of
    /// inputs pays only if the command was run before.
    pub(crate) fn run_content(
        &self,
        step: &Step,
        run: &RunOp,
        base: &Chain,
        receipt: &mut Receipt,
    ) -> Result<Option<crate::cache::Record>, Failure> {
        let known = base.cells().iter().all(|cell| cell.is_settled());
        if !known && (step.no_cache || !self.was_done_before(step)) {
            return Ok(None);
        }
        let material = self.run_material(step, run, base)?;
        let hit = self.content_hit(step, &material);
        receipt.materials.push(material);
        Ok(hit)
    }

    /// The content material of a command.
    fn run_material(
        &self,
        step: &Step,
        run: &RunOp,
        base: &Chain,
    ) -> Result<crate::cache::Material, Failure> {
        let chain = base.diff_ids().map_err(|Lost| ExecuteError::Cancelled)?;
        let mut selections = self.planned(step).selections.clone();
        selections.mounts.resize(run.mounts.len(), None);
        for (taken, mount) in selections.mounts.iter_mut().zip(&run.mounts) {
            if let Some((id, source)) = shown_step(mount) {
                *taken = Some(self.shown(&Source::Step(id), source)?);
            }
        }
        Ok(key::run_content(step, run, &chain, &selections))
    }

    /// Whether the command may be run, and can be run on this machine.
    pub(crate) fn check_run(&self, run: &RunOp) -> Result<(), ExecuteError> {
        self.check_allowed(run)?;
        check_platform(run)
    }

    fn check_allowed(&self, run: &RunOp) -> Result<(), ExecuteError> {
        if let Some(device) = run.devices.first() {
            let device = device.clone();
            return Err(ExecuteError::Device { device });
        }
        let needs = match (run.network, run.security) {
            (Network::Host, _) if !self.input.options.allow_network_host => "network.host",
            (_, Security::Insecure) if !self.input.options.allow_insecure => "security.insecure",
            _ => return Ok(()),
        };
        Err(ExecuteError::NotAllowed {
            entitlement: needs.to_owned(),
        })
    }

    fn network_of(&self, run: &RunOp) -> SandboxNetwork {
        match run.network {
            Network::Default => self.input.options.network,
            Network::None => SandboxNetwork::None,
            Network::Host => SandboxNetwork::Host,
        }
    }

    fn spec(
        &self,
        run: &RunOp,
        mounts: &Mounts,
        lowers: Vec<std::path::PathBuf>,
        draft: &DirDraft,
    ) -> Result<SandboxSpec, Failure> {
        let mut env: Vec<_> = run.env.iter().map(Variable::pair).collect();
        for (name, value) in run.proxies.iter().chain(mounts.env()) {
            env.retain(|(other, _)| other != name);
            env.push((name.clone(), value.clone()));
        }
        Ok(SandboxSpec {
            driver: self.driver(),
            shared: Vec::new(),
            lowers,
            upper: draft.fs().to_owned(),
            work: draft.work()?,
            scratch: mounts.scratch().to_owned(),
            args: run.args.clone(),
            env,
            cwd: run.cwd.clone(),
            user: run.user.clone(),
            hostname: run.hostname.clone(),
            hosts: self.input.options.hosts.clone(),
            mounts: mounts.sandbox().to_vec(),
            network: self.network_of(run),
            insecure: run.security == Security::Insecure,
            shm_size: self.input.options.shm_size,
            limits: self.input.options.limits.clone(),
            timeout: self.input.options.step_timeout,
        })
    }

    /// Turns a frozen directory into a known layer on another thread; the next step does not wait.
    pub(crate) fn write_later(
        &self,
        step: &Step,
        run: FrozenRun,
        cell: Arc<Cell>,
        receipt: Receipt,
    ) {
        self.writers.submit(super::writers::Job {
            step: step.id,
            run,
            cell,
            receipt,
        });
    }

    /// The writers' half: hashes the layer, stores its index, settles the cell, writes records.
    pub(crate) fn write_frozen(&self, job: super::writers::Job) -> Result<(), Failure> {
        let super::writers::Job {
            step,
            run,
            cell,
            mut receipt,
        } = job;
        let step = self.input.plan.graph.step(step);
        let FrozenRun { frozen, draft } = run;
        let outcome = frozen
            .write(None, io::sink())
            .map_err(|source| ExecuteError::Snapshot {
                name: step.name.clone(),
                source,
            });
        let written = match outcome {
            Ok(written) => written,
            Err(error) => {
                cell.settle(Err(Lost));
                return Err(error.into());
            }
        };
        let diff_id = written.diff_id;
        let kept = self
            .faces
            .keep_tree(diff_id, written.tree)
            .and_then(|_| Ok(self.input.store.keep_dir(&diff_id, draft)?));
        if let Err(error) = kept {
            cell.settle(Err(Lost));
            return Err(error.into());
        }
        cell.settle(Ok(diff_id));
        if receipt.materials.len() == 1
            && let crate::planner::op::Op::Run(op) = &step.op
        {
            receipt
                .materials
                .push(self.run_material(step, op, &self.base_of(step))?);
        }
        self.commit(step, &receipt, diff_id, written.size)
    }
}

fn check_platform(run: &RunOp) -> Result<(), ExecuteError> {
    let host = Platform::host();
    if super::emulation::can_run(&host, &run.platform) {
        return Ok(());
    }
    Err(ExecuteError::ForeignPlatform {
        wanted: run.platform.to_string(),
        host: host.to_string(),
    })
}

/// The step and the path in it that a mount shows.
fn shown_step(mount: &RunMount) -> Option<(StepId, &str)> {
    match mount {
        RunMount::Bind {
            from: Source::Step(id),
            source,
            ..
        }
        | RunMount::Cache {
            seed: Some((Source::Step(id), source)),
            ..
        } => Some((*id, source)),
        _ => None,
    }
}
