//! One step: from the cache, or made.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Executor;
use super::chain::{Cell, Chain};
use super::error::ExecuteError;
use crate::cache::store::{Claim, Lease, Patience, Waiting};
use crate::cache::{Key, Material, RECORD_VERSION, Record};
use crate::clock::Stopwatch;
use crate::digest::DiffId;
use crate::event::{Activity, Outcome};
use crate::failure::{Failure, Kind};
use crate::planner::Verdict;
use crate::planner::graph::Step;
use crate::planner::key;
use crate::planner::op::{ImageOp, Op};

/// How long another builder that does the same is waited for.
const WAIT_MAX: Duration = Duration::from_mins(30);

/// A layer as a step made it: complete, or a directory whose digest is being computed.
pub(crate) enum Made {
    /// Known at once.
    Layer {
        /// Its digest.
        diff_id: DiffId,
        /// Bytes of its tar.
        size: u64,
    },
    /// A RUN's directory.
    Frozen(Box<super::run::FrozenRun>),
    /// Its content key was in the cache.
    Known(Box<Record>),
}

/// What is written when a step's layer is known.
#[derive(Debug)]
pub(crate) struct Receipt {
    /// Keys that stand for the layer from now on.
    pub(crate) materials: Vec<Material>,
    /// What the step cost so far.
    pub(crate) clock: Stopwatch,
    /// Kept until the records are written, so that nobody does the same meanwhile.
    pub(crate) _lease: Option<Lease>,
}

impl Executor<'_> {
    /// Performs one step on top of `base`.
    pub(crate) fn perform(&self, step: &Step, base: &Chain) -> Result<Chain, Failure> {
        match &step.op {
            Op::Scratch => return Ok(Chain::default().of_os(&step.platform.os)),
            Op::Image(image) => {
                self.report_image(step, image);
                let cells = image.layers.iter();
                let chain: Chain = cells.map(|layer| Cell::known(layer.diff_id)).collect();
                return Ok(chain.of_os(&image.config.os));
            }
            Op::Run(_) | Op::Copy(_) | Op::Workdir(_) => {}
        }
        let planned = self.planned(step);
        if let Verdict::Cached(record) = &planned.verdict {
            self.report_cached(step);
            return Ok(base.with(Cell::known(record.diff_id)));
        }
        let lease = match self.claim(step, &planned.key)? {
            Some(Claim::Hit(record)) => {
                self.report_cached(step);
                return Ok(base.with(Cell::known(record.diff_id)));
            }
            Some(Claim::Miss(lease)) => Some(lease),
            None => None,
        };
        let activity = self.start(step);
        let materials = vec![planned.material.clone()];
        let receipt = Receipt {
            materials,
            clock: Stopwatch::start(),
            _lease: lease,
        };
        match self.make(step, base, &activity, receipt) {
            Ok((cell, outcome)) => {
                activity.finish(outcome);
                Ok(base.with(cell))
            }
            Err(failure) => {
                activity.finish(failed(&failure));
                Err(failure)
            }
        }
    }

    /// Makes the layer of a step that is not in the cache under its definition key.
    fn make(
        &self,
        step: &Step,
        base: &Chain,
        activity: &Activity,
        mut receipt: Receipt,
    ) -> Result<(Arc<Cell>, Outcome), Failure> {
        let made = match &step.op {
            Op::Run(run) => {
                self.check_run(run)?;
                match self.run_content(step, run, base, &mut receipt)? {
                    Some(record) => Made::Known(Box::new(record)),
                    None => self.run(step, run, base, activity)?,
                }
            }
            Op::Copy(copy) => self.copy(step, copy, base, &mut receipt)?,
            Op::Workdir(workdir) => self.workdir(step, workdir, base, &mut receipt)?,
            Op::Scratch | Op::Image(_) => return Ok((base_cell(base)?, Outcome::Done)),
        };
        match made {
            Made::Known(record) => {
                self.commit(step, &receipt, record.diff_id, record.size)?;
                Ok((Cell::known(record.diff_id), Outcome::Cached))
            }
            Made::Layer { diff_id, size } => {
                self.commit(step, &receipt, diff_id, size)?;
                Ok((Cell::known(diff_id), Outcome::Done))
            }
            Made::Frozen(frozen) => {
                let cell = Cell::pending(frozen.directory().to_owned());
                self.write_later(step, *frozen, Arc::clone(&cell), receipt);
                Ok((cell, Outcome::Done))
            }
        }
    }

    /// Looks up what a step would make from what its inputs are. Worth the wait for its inputs'
    /// digests only if the same operation was done before on other inputs.
    pub(crate) fn content_hit(&self, step: &Step, material: &Material) -> Option<Record> {
        if step.no_cache {
            None
        } else {
            self.probe(&material.key())
        }
    }

    /// Writes the records of a layer that is known.
    pub(crate) fn commit(
        &self,
        step: &Step,
        receipt: &Receipt,
        diff_id: DiffId,
        size: u64,
    ) -> Result<(), Failure> {
        for material in &receipt.materials {
            let record = Record {
                version: RECORD_VERSION,
                key: material.key(),
                operation: Some(key::operation(&step.op).key()),
                diff_id,
                size,
                blobs: Vec::new(),
                tree: None,
                name: step.name.clone(),
                cost_ms: receipt.clock.elapsed_ms(),
                platform: step.platform.to_string(),
                material: material.clone(),
            };
            self.made
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(step.id)
                .or_default()
                .push(record.clone());
            self.keep(step, record)?;
        }
        Ok(())
    }

    /// Keeps a record. What `--no-cache` made takes the place of what was there.
    fn keep(&self, step: &Step, record: Record) -> Result<(), Failure> {
        if step.no_cache {
            self.input.store.replace(record)?;
        } else {
            self.input.store.commit(record)?;
        }
        Ok(())
    }

    /// Takes the right to do a step; with `--no-cache` it is done whoever else does it.
    fn claim(&self, step: &Step, key: &Key) -> Result<Option<Claim>, Failure> {
        if step.no_cache {
            return Ok(None);
        }
        let store = self.input.store;
        Ok(Some(store.claim(key, &step.name, |waiting| {
            self.patience(waiting)
        })?))
    }

    /// Whether to wait for another builder: as long as it takes for one that works, since its
    /// result is wanted; a stopped one is overtaken.
    pub(crate) fn patience(&self, waiting: &Waiting) -> Patience {
        if self.input.cancel.is_cancelled() {
            Patience::Cancel
        } else if waiting.elapsed > WAIT_MAX {
            Patience::Proceed
        } else {
            Patience::Wait
        }
    }

    /// Says which image a stage stands on. Its layers are fetched when somebody needs them.
    fn report_image(&self, step: &Step, image: &ImageOp) {
        let activity = self.start(step);
        activity.note(format!("resolve {} done", image.name));
        let store = self.input.store;
        let is_here = image
            .layers
            .iter()
            .all(|layer| store.layer(&layer.diff_id).is_available());
        activity.finish(if is_here {
            Outcome::Cached
        } else {
            Outcome::Done
        });
    }

    fn report_cached(&self, step: &Step) {
        self.start(step).finish(Outcome::Cached);
    }
}

fn base_cell(base: &Chain) -> Result<Arc<Cell>, Failure> {
    base.cells()
        .last()
        .cloned()
        .ok_or_else(|| ExecuteError::Cancelled.into())
}

/// How a failure shows in the log.
pub(crate) fn failed(failure: &Failure) -> Outcome {
    match failure {
        Failure::Room(error) | Failure::Placed { cause: error, .. } => match error.kind() {
            Kind::Cancelled => Outcome::Cancelled,
            Kind::User | Kind::Environment | Kind::Internal => Outcome::Failed(error.to_string()),
        },
        Failure::Diagnosed(list) => Outcome::Failed(
            list.first()
                .map(|first| first.message.clone())
                .unwrap_or_default(),
        ),
    }
}
