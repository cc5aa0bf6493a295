//! The run of a whole graph: what is cached at once, the rest on a pool, layers written beside it.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::chain::{Chain, Lost};
use super::encode::Encoders;
use super::error::ExecuteError;
use super::faces::Faces;
use super::roots::Roots;
use super::sandbox::RootDriver;
use super::schedule::Agenda;
use super::writers::Writers;
use super::{Executor, FailedStep, Inputs};
use crate::cache::{Key, Record, StoreError};
use crate::digest::{DiffId, Digest};
use crate::event::Activity;
use crate::failure::{Failure, Kind};
use crate::planner::PlannedStep;
use crate::planner::Verdict;
use crate::planner::graph::{Step, StepId};
use crate::planner::key;
use crate::planner::op::Op;

/// Steps at once if nobody says: more are waiting for a network or a sleep than for a processor.
const JOBS_MAX: usize = 64;

/// Threads that hash frozen directories; each of them uses all processors.
const WRITERS: usize = 2;

impl<'a> Executor<'a> {
    /// Prepares a run.
    pub fn new(input: Inputs<'a>) -> Self {
        let agenda = Agenda::new(input.plan);
        Self {
            agenda,
            faces: Faces::new(input.store, input.supplies, input.reporter),
            driver: OnceLock::new(),
            roots: Roots::default(),
            writers: Writers::new(),
            encoders: Encoders::default(),
            outputs: input
                .plan
                .graph
                .steps
                .iter()
                .map(|_| OnceLock::new())
                .collect(),
            vertexes: Mutex::default(),
            failures: Mutex::default(),
            told: Mutex::default(),
            emptied: Mutex::default(),
            made: Mutex::default(),
            input,
        }
    }

    /// Whether anything has to be made: if not, no sandbox and no thread is needed.
    pub fn has_work(&self) -> bool {
        let steps = &self.input.plan.graph.steps;
        steps
            .iter()
            .any(|step| self.agenda.needs(step.id) && !self.is_free(step))
    }

    /// Whether a command has to be run.
    pub fn has_commands(&self) -> bool {
        let steps = &self.input.plan.graph.steps;
        let runs = |step: &&Step| matches!(step.op, Op::Run(_)) && !self.is_free(step);
        steps
            .iter()
            .filter(|step| self.agenda.needs(step.id))
            .any(|step| runs(&step))
    }

    /// Whether a step makes no layer of its own.
    fn is_given(step: &Step) -> bool {
        matches!(step.op, Op::Scratch | Op::Image(_))
    }

    /// Whether a step is known already: scratch, an image, or cached.
    fn is_free(&self, step: &Step) -> bool {
        matches!(
            self.planned(step).verdict,
            Verdict::Given | Verdict::Cached(_)
        )
    }

    /// Performs every step that the targets need, with roots as they can be had here: the layers
    /// of each target, bottom first.
    pub fn execute(&self, driver: RootDriver) -> Result<Vec<Vec<DiffId>>, FailedStep> {
        // Set once: a run is executed once.
        let _ = self.driver.set(driver);
        let waiting = self.perform_immediate();
        if !waiting.is_empty() {
            self.perform_parallel(&waiting)?;
        }
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failures.is_empty() {
            // What was cancelled because of the first failure says nothing new.
            let is_first = |failed: &FailedStep| failed.failure.kind() != Kind::Cancelled;
            let first = failures.iter().position(is_first);
            return Err(failures.swap_remove(first.unwrap_or(0)));
        }
        drop(failures);
        let targets = self.input.plan.graph.targets.iter();
        let chains = targets.map(|target| self.output(target.step).diff_ids());
        chains
            .collect::<Result<_, Lost>>()
            .map_err(|Lost| FailedStep::nowhere(ExecuteError::Cancelled))
    }

    /// Performs steps that cost nothing on this thread; returns those that are ready and cost.
    fn perform_immediate(&self) -> Vec<StepId> {
        let mut queue = self.agenda.ready().to_vec();
        queue.reverse();
        let mut waiting = Vec::new();
        while let Some(id) = queue.pop() {
            let step = self.input.plan.graph.step(id);
            if self.is_free(step) {
                let mut next = self.finish(step);
                next.reverse();
                queue.append(&mut next);
            } else {
                waiting.push(id);
            }
        }
        waiting
    }

    fn perform_parallel(&self, waiting: &[StepId]) -> Result<(), FailedStep> {
        let jobs = self.input.options.jobs.unwrap_or(JOBS_MAX);
        let needed = self
            .input
            .plan
            .graph
            .steps
            .iter()
            .filter(|step| self.agenda.needs(step.id));
        let threads = jobs.min(needed.count()).max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("step-{number}"))
            .build()
            .map_err(|source| FailedStep::nowhere(ExecuteError::Threads { source }))?;
        std::thread::scope(|threads| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|_| threads.spawn(|| self.write_queued()))
                .collect();
            let encoder = threads.spawn(|| {
                if let Err(failure) = self.encode_queued() {
                    self.fail(None, failure);
                }
            });
            pool.scope(|scope| {
                for id in waiting {
                    let id = *id;
                    scope.spawn(move |scope| self.visit(scope, id));
                }
            });
            self.writers.close();
            for writer in writers {
                // A panic of a writer is passed on by the scope itself.
                let _ = writer.join();
            }
            self.encoders.close();
            let _ = encoder.join();
        });
        Ok(())
    }

    fn visit<'s>(&'s self, scope: &rayon::Scope<'s>, id: StepId) {
        let step = self.input.plan.graph.step(id);
        for next in self.finish(step) {
            scope.spawn(move |scope| self.visit(scope, next));
        }
    }

    /// Performs a step; the steps that can start because of it.
    fn finish(&self, step: &Step) -> Vec<StepId> {
        if self.input.cancel.is_cancelled() {
            self.fail(None, ExecuteError::Cancelled.into());
            return Vec::new();
        }
        let base = self.base_of(step);
        match self.perform(step, &base) {
            Ok(chain) => {
                if !Self::is_given(step) && self.is_in_target(step.id) {
                    self.encoders.submit(chain.clone());
                }
                // A step is performed once, so its output is never set before.
                let _ = self.outputs[step.id.0].set(chain);
                self.agenda.finished(step.id)
            }
            Err(failure) => {
                self.fail(Some(step), failure);
                Vec::new()
            }
        }
    }

    fn write_queued(&self) {
        while let Some(job) = self.writers.next() {
            let step = self.input.plan.graph.step(job.step);
            if let Err(failure) = self.write_frozen(job) {
                self.fail(Some(step), failure);
            }
        }
    }

    /// Keeps a failure and stops the other steps.
    fn fail(&self, step: Option<&Step>, failure: Failure) {
        let failed = FailedStep {
            span: step.map(|step| step.span),
            failure,
        };
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(failed);
        self.input.cancel.cancel();
    }

    /// How roots are made.
    pub(crate) fn driver(&self) -> RootDriver {
        self.driver.get().copied().unwrap_or_default()
    }

    /// The layers that a step stands on.
    pub(crate) fn base_of(&self, step: &Step) -> Chain {
        step.base.map(|base| self.output(base)).unwrap_or_default()
    }

    /// The layers of a step that was performed.
    pub(crate) fn output(&self, id: StepId) -> Chain {
        self.outputs[id.0].get().cloned().unwrap_or_default()
    }

    /// What the planner knows of a step.
    pub(crate) fn planned(&self, step: &Step) -> &'a PlannedStep {
        self.input.plan.step(step.id)
    }

    /// The record of a key, in the store or a shared cache.
    pub(crate) fn probe(&self, key: &Key) -> Option<Record> {
        self.input.records.probe(key)
    }

    /// Whether the operation of a step was done before on other inputs.
    pub(crate) fn was_done_before(&self, step: &Step) -> bool {
        self.input.records.similar(&key::operation(&step.op).key())
    }

    /// Whether a command that must be run stands on a step: then its layer is needed as a directory.
    pub(crate) fn needs_directory(&self, id: StepId) -> bool {
        self.driver() == RootDriver::Overlay && self.is_run_upon(id)
    }

    fn is_run_upon(&self, id: StepId) -> bool {
        self.input.plan.graph.steps.iter().any(|step| {
            step.base == Some(id)
                && self.agenda.needs(step.id)
                && !self.is_free(step)
                && (matches!(step.op, Op::Run(_)) || self.is_run_upon(step.id))
        })
    }

    /// Whether a step's layer is part of a target.
    fn is_in_target(&self, id: StepId) -> bool {
        self.input.plan.graph.targets.iter().any(|target| {
            let mut step = Some(target.step);
            while let Some(at) = step {
                if at == id {
                    return true;
                }
                step = self.input.plan.graph.step(at).base;
            }
            false
        })
    }

    /// Says something once a build, however many steps it is true of.
    pub(crate) fn notice_once(&self, text: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(text.clone()) {
            self.input.reporter.notice(text);
        }
    }

    /// Makes a cache mount empty, if this build has not done so yet: its steps share what they keep.
    pub(crate) fn empty_cache_once(&self, id: &Digest) -> Result<(), StoreError> {
        let mut emptied = self.emptied.lock().unwrap_or_else(PoisonError::into_inner);
        if emptied.insert(*id) {
            self.input.store.empty_cache_mount(id)?;
        }
        Ok(())
    }

    /// Starts the log line of a step.
    pub(crate) fn start(&self, step: &Step) -> Activity {
        let mut vertexes = self.vertexes.lock().unwrap_or_else(PoisonError::into_inner);
        let inputs = step
            .base
            .iter()
            .chain(&step.reads)
            .filter_map(|input| vertexes.get(input).copied())
            .collect();
        let id = self.planned(step).key.0;
        let activity = self
            .input
            .reporter
            .start_with(step.name.clone(), id, inputs);
        vertexes.insert(step.id, activity.vertex());
        activity
    }
}
