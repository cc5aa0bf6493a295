//! The instruction DAG.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::clock::Epoch;
use crate::diagnostic::Span;
use crate::image::{History, ImageConfig};
use crate::lint::Base;
use crate::platform::Platform;

use super::op::Op;

/// The number of a step; inputs have smaller numbers than their users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub usize);

/// The number of a stage in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId(pub usize);

/// One step: an operation on top of a file system.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its number.
    pub id: StepId,
    /// The stage it belongs to.
    pub stage: StageId,
    /// The step whose file system it stands on; `None` for scratch and images.
    pub base: Option<StepId>,
    /// Other steps whose file systems it reads (COPY --from, mounts), each once, sorted.
    pub reads: Vec<StepId>,
    /// What it does.
    pub op: Op,
    /// The platform of the stage. What a RUN observes of it is in its operation; for the others it
    /// tells the form of the layer (Windows), and records carry it for people.
    pub platform: Platform,
    /// The line of the log: `[build 2/3] RUN make`.
    pub name: String,
    /// The instruction in the Dockerfile; images by `--from` have that of their first user.
    pub span: Span,
    /// The time stamped on what it makes (DESIGN §3).
    pub epoch: Epoch,
    /// Whether cached results must not be used (`--no-cache`, `--no-cache-filter`).
    pub no_cache: bool,
}

/// What a target comes to: a file system and its config.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The platform of the image.
    pub platform: Platform,
    /// The last step; its chain of bases gives the layers.
    pub step: StepId,
    /// The config with complete history; `rootfs` is still empty and is filled from the layers.
    pub config: ImageConfig,
    /// For each history entry of this build (after the base's), the step that made its layer.
    pub history: Vec<(History, Option<StepId>)>,
    /// The stage's epoch: `created`.
    pub epoch: Epoch,
}

/// All steps that the targets reach, and the targets (one a platform).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Graph {
    /// In topological order; a step's id is its index.
    pub steps: Vec<Step>,
    /// One a platform.
    pub targets: Vec<Target>,
    /// The stages that the targets need, and what checks want to know of the images they stand on;
    /// `None` for those on nothing, on another stage or on files. With several platforms the first
    /// one's.
    pub stages: BTreeMap<StageId, Option<Base>>,
}

impl Target {
    /// The part of the history that came with the base image.
    pub fn base_history(&self) -> &[History] {
        let own = self.history.len();
        let all = &self.config.history;
        &all[..all.len().saturating_sub(own)]
    }
}

impl Graph {
    /// The step with this id.
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0]
    }

    /// The steps whose file systems lie on one another up to `id`, bottom first.
    pub fn chain(&self, id: StepId) -> Vec<StepId> {
        let mut chain = vec![id];
        let mut next = self.step(id).base;
        while let Some(id) = next {
            chain.push(id);
            next = self.step(id).base;
        }
        chain.reverse();
        chain
    }
}

/// Collects steps; equal ones, of whatever stage or platform, become one.
#[derive(Debug, Default)]
pub(crate) struct GraphBuilder {
    graph: Graph,
    known: BTreeMap<u64, Vec<StepId>>,
}

impl GraphBuilder {
    /// Adds a step whose number is still to be given, or finds the one that does the same. The
    /// first user gives name, place and platform.
    pub(crate) fn add(&mut self, mut step: Step) -> StepId {
        let mut hasher = DefaultHasher::new();
        (&step.base, &step.reads, step.epoch, step.no_cache).hash(&mut hasher);
        step.op.hash(&mut hasher);
        let candidates = self.known.entry(hasher.finish()).or_default();
        let steps = &self.graph.steps;
        let same = |id: &&StepId| {
            let known = &steps[id.0];
            (&known.base, &known.reads, known.epoch, known.no_cache)
                == (&step.base, &step.reads, step.epoch, step.no_cache)
                && known.op == step.op
        };
        if let Some(known) = candidates.iter().find(same) {
            return *known;
        }
        let id = StepId(steps.len());
        candidates.push(id);
        step.id = id;
        self.graph.steps.push(step);
        id
    }

    /// Notes that a stage is needed, and what it stands on.
    pub(crate) fn stage(&mut self, id: StageId, base: Option<Base>) {
        self.graph.stages.entry(id).or_insert(base);
    }

    /// The graph of these targets.
    pub(crate) fn finish(self, targets: Vec<Target>) -> Graph {
        Graph {
            targets,
            ..self.graph
        }
    }
}
