//! The threads that turn frozen directories into layers while the next steps run.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::chain::{Cell, Lost};
use super::run::FrozenRun;
use super::step::Receipt;
use crate::planner::graph::StepId;

/// A directory to turn into a layer.
#[derive(Debug)]
pub(crate) struct Job {
    /// The step that left it.
    pub(crate) step: StepId,
    /// The directory.
    pub(crate) run: FrozenRun,
    /// Who waits for its digest.
    pub(crate) cell: Arc<Cell>,
    /// What to record.
    pub(crate) receipt: Receipt,
}

/// A queue of jobs.
#[derive(Debug)]
pub(crate) struct Writers {
    sender: Mutex<Option<Sender<Job>>>,
    receiver: Mutex<Receiver<Job>>,
}

impl Writers {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        let (sender, receiver) = channel();
        Self {
            sender: Mutex::new(Some(sender)),
            receiver: Mutex::new(receiver),
        }
    }

    /// Adds a job. After [`Writers::close`] the job's layer is lost: its build is over.
    pub(crate) fn submit(&self, job: Job) {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match &*sender {
            Some(sender) => sender.send(job).err().map(|refused| refused.0),
            None => Some(job),
        };
        if let Some(job) = refused {
            job.cell.settle(Err(Lost));
        }
    }

    /// No job comes any more: the threads end after what is queued.
    pub(crate) fn close(&self) {
        self.sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// The next job; `None` when all is done.
    pub(crate) fn next(&self) -> Option<Job> {
        self.receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv()
            .ok()
    }
}
