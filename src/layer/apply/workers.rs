//! Threads that write small files: making inodes is what unpacking costs.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::attributes::{self, Policy};
use super::{LayerError, create_error};
use crate::tree::{Entry, Unread};

/// More threads than this only wait for the file system.
const WORKERS_MAX: usize = 8;

/// Files that wait for a worker.
const QUEUE: usize = 24;

/// A file to write.
#[derive(Debug)]
pub(super) struct FileJob {
    pub(super) parent: Arc<OwnedFd>,
    pub(super) name: CString,
    pub(super) entry: Entry<Unread>,
    pub(super) data: Vec<u8>,
}

enum Job {
    File(FileJob),
    /// Answers whether all went well so far.
    Settle(SyncSender<Result<(), LayerError>>),
}

#[derive(Debug)]
pub(super) struct Workers {
    queues: Vec<SyncSender<Job>>,
    next: usize,
    written: bool,
}

impl Workers {
    /// Starts as many threads as there are processors.
    pub(super) fn start<'scope>(scope: &'scope Scope<'scope, '_>, policy: Policy) -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let start = |_| {
            let (sender, receiver) = sync_channel(QUEUE);
            let _: ScopedJoinHandle<'_, ()> = scope.spawn(move || work(&receiver, policy));
            sender
        };
        Self {
            queues: (0..count.min(WORKERS_MAX)).map(start).collect(),
            next: 0,
            written: false,
        }
    }

    /// Has a file written some time before the next [`Workers::settle`].
    pub(super) fn write(&mut self, job: FileJob) -> Result<(), LayerError> {
        self.next = (self.next + 1) % self.queues.len();
        self.written = true;
        let sent = self.queues[self.next].send(Job::File(job));
        sent.map_err(|_| LayerError::Worker)
    }

    /// Waits until all files are written; the first error of any of them.
    pub(super) fn settle(&mut self) -> Result<(), LayerError> {
        if !self.written {
            return Ok(());
        }
        self.written = false;
        let mut answers = Vec::with_capacity(self.queues.len());
        for queue in &self.queues {
            let (sender, receiver) = sync_channel(1);
            let sent = queue.send(Job::Settle(sender));
            sent.map_err(|_| LayerError::Worker)?;
            answers.push(receiver);
        }
        let mut result = Ok(());
        for answer in answers {
            let answer = answer.recv().map_err(|_| LayerError::Worker)?;
            result = result.and(answer);
        }
        result
    }

    /// Ends the threads.
    pub(super) fn finish(&mut self) -> Result<(), LayerError> {
        let result = self.settle();
        self.queues.clear();
        result
    }
}

fn work(queue: &Receiver<Job>, policy: Policy) {
    let mut result = Ok(());
    for job in queue {
        match job {
            // After an error nothing more is written; the error is told at the next settling.
            Job::File(job) => {
                if result.is_ok() {
                    result = write(&job, policy);
                }
            }
            Job::Settle(answer) => {
                let _ = answer.send(std::mem::replace(&mut result, Ok(())));
            }
        }
    }
}

fn write(job: &FileJob, policy: Policy) -> Result<(), LayerError> {
    let path = &job.entry.path;
    let mut file = attributes::create_file(job.parent.as_fd(), &job.name, &job.entry)?;
    file.write_all(&job.data)
        .map_err(|error| create_error(path, error))?;
    attributes::describe_file(&file, &job.entry, policy)
}
