//! Plan in, layers out: runs steps in parallel, RUN in the sandbox, and snapshots what they change.
//!
//! What enters: a [`Plan`] (the graph, the keys, what the cache said), a store, and [`Supplies`].
//! What leaves: the layers of each target.
//! A step starts when its inputs are there; a RUN's changes are hashed while the next step runs.
//!
//! This room does not know Dockerfiles, registries or terminals.

pub mod agent;
mod chain;
mod contents;
mod copy;
mod emulation;
mod encode;
mod engine;
mod error;
mod faces;
mod mount;
mod reach;
mod roots;
mod run;
pub mod sandbox;
mod schedule;
pub mod snapshot;
mod step;
mod supplies;
mod writers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

pub use chain::{Cell, Chain, Lost};
pub use contents::encoder_name;
pub use error::ExecuteError;
pub use supplies::{BlobStream, FileTree, Files, Supplies};

pub use copy::{CopyError, selection};

use crate::cache::{Key, Record, Store};
use crate::diagnostic::Span;
use crate::digest::Digest;
use crate::event::{Reporter, Vertex};
use crate::failure::Failure;
use crate::layer::Encoding;
use crate::planner::Plan;
use crate::planner::graph::StepId;
use encode::Encoders;
use faces::Faces;
use roots::Roots;
use sandbox::{Cancel, HostsEntry, Limits, RootDriver, Sandbox, SandboxNetwork};
use schedule::Agenda;
use writers::Writers;

/// How RUN steps run, and how many at once.
#[derive(Clone, Debug)]
pub struct Options {
    /// The network of steps that do not say.
    pub network: SandboxNetwork,
    /// Why that is the host's, if nobody asked for it.
    pub host_network_because: Option<String>,
    /// `--add-host`
    pub hosts: Vec<HostsEntry>,
    /// Size of /dev/shm in bytes.
    pub shm_size: u64,
    /// Limits of each step.
    pub limits: Limits,
    /// The longest time of one step.
    pub step_timeout: Option<Duration>,
    /// `--allow network.host`
    pub allow_network_host: bool,
    /// `--allow security.insecure`
    pub allow_insecure: bool,
    /// Steps at once; `None` means as many as are ready, up to 64.
    pub jobs: Option<usize>,
    /// The encoding that layers of targets will be needed in; they are compressed while other
    /// steps still run. `None` if no blob is needed.
    pub encoding: Option<Encoding>,
}

/// Asks whether and where records are, beyond the store.
pub trait Records: Sync {
    /// The record of a key whose layer can be had.
    fn probe(&self, key: &Key) -> Option<Record>;

    /// Whether records of the operation exist under other inputs.
    fn similar(&self, operation: &Key) -> bool;
}

/// What a run of a graph works on.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// What to do, and what the cache said of it.
    pub plan: &'a Plan,
    /// Where results are kept.
    pub store: &'a Store,
    /// Where records are looked up.
    pub records: &'a dyn Records,
    /// Contexts, base layers, secrets.
    pub supplies: &'a dyn Supplies,
    /// How to run.
    pub options: &'a Options,
    /// Who is told.
    pub reporter: &'a Reporter,
    /// Who may stop it.
    pub cancel: &'a Cancel,
    /// Where commands run.
    pub sandbox: &'a Sandbox,
}

impl std::fmt::Debug for Inputs<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inputs").finish_non_exhaustive()
    }
}

/// Why a run ended, and at which instruction.
#[derive(Debug)]
pub struct FailedStep {
    /// The instruction, if it was one.
    pub span: Option<Span>,
    /// Why.
    pub failure: Failure,
}

impl FailedStep {
    /// A failure of the run as a whole.
    fn nowhere(error: ExecuteError) -> Self {
        Self {
            span: None,
            failure: error.into(),
        }
    }
}

/// One run of a graph.
#[derive(Debug)]
pub struct Executor<'a> {
    input: Inputs<'a>,
    agenda: Agenda,
    faces: Faces<'a>,
    /// How roots are made on this rung; known when execution begins.
    driver: OnceLock<RootDriver>,
    roots: Roots,
    writers: Writers,
    encoders: Encoders,
    /// By step: what it came to.
    outputs: Vec<OnceLock<Chain>>,
    vertexes: Mutex<BTreeMap<StepId, Vertex>>,
    /// In order of their coming; the first is the build's.
    failures: Mutex<Vec<FailedStep>>,
    /// By step: what was recorded in this run.
    made: Mutex<BTreeMap<StepId, Vec<Record>>>,
    /// Notices that were given.
    told: Mutex<BTreeSet<String>>,
    /// Cache mounts that `--no-cache` has emptied.
    emptied: Mutex<BTreeSet<Digest>>,
}
