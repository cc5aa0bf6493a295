//! The instruction DAG.

use crate::clock::Epoch;
use crate::diagnostic::Span;
use crate::image::{History, ImageConfig};
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
}

impl Graph {
    /// The step with this id.
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0]
    }
}
