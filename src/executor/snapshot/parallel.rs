//! Work that begets work, done by all processors: how directory trees are walked.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::SnapshotError;

/// Jobs that one thread does alone before others are asked to help.
const ALONE: usize = 12;

/// The jobs to do and what came of those done.
struct Queue<J> {
    jobs: Vec<J>,
    /// Jobs that somebody is doing.
    busy: usize,
    failed: Option<SnapshotError>,
}

struct Shared<J> {
    queue: Mutex<Queue<J>>,
    changed: Condvar,
}

impl<J> Shared<J> {
    fn lock(&self) -> MutexGuard<'_, Queue<J>> {
        // A panic in another thread ends the scope; its half-done job does not matter here.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; `None` when all are done or one failed.
    fn take(&self) -> Option<J> {
        let mut queue = self.lock();
        loop {
            if queue.failed.is_some() {
                return None;
            }
            if let Some(job) = queue.jobs.pop() {
                queue.busy += 1;
                return Some(job);
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, result: Result<Vec<J>, SnapshotError>) {
        let mut queue = self.lock();
        queue.busy -= 1;
        match result {
            Ok(jobs) => queue.jobs.extend(jobs),
            Err(error) => queue.failed = Some(error),
        }
        self.changed.notify_all();
    }

    fn work<R>(&self, perform: &impl Perform<J, R>, jobs_max: usize) -> Vec<R> {
        let mut found = Vec::new();
        for _ in 0..jobs_max {
            let Some(job) = self.take() else { break };
            let mut jobs = Vec::new();
            let result = perform.job(job, &mut found, &mut jobs);
            self.done(result.map(|()| jobs));
        }
        found
    }
}

/// Does one job: adds to what was found and to what is to be done.
pub(super) trait Perform<J, R>: Sync {
    /// Does it.
    fn job(&self, job: J, found: &mut Vec<R>, jobs: &mut Vec<J>) -> Result<(), SnapshotError>;
}

/// Does `top` and all that follows from it; the findings in no order.
pub(super) fn run<J: Send, R: Send>(
    top: J,
    perform: &impl Perform<J, R>,
) -> Result<Vec<R>, SnapshotError> {
    let shared = Shared {
        queue: Mutex::new(Queue {
            jobs: vec![top],
            busy: 0,
            failed: None,
        }),
        changed: Condvar::new(),
    };
    let mut found = shared.work(perform, ALONE);
    if !shared.lock().jobs.is_empty() {
        let helpers = thread::available_parallelism()
            .map_or(1, usize::from)
            .min(16)
            - 1;
        thread::scope(|scope| {
            let help = || scope.spawn(|| shared.work(perform, usize::MAX));
            let helpers: Vec<_> = (0..helpers).map(|_| help()).collect();
            found.extend(shared.work(perform, usize::MAX));
            for helper in helpers {
                // A helper that panicked has poisoned nothing that is used any more; its panic
                // goes on here.
                match helper.join() {
                    Ok(more) => found.extend(more),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
    }
    let queue = shared
        .queue
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    match queue.failed {
        Some(error) => Err(error),
        None => Ok(found),
    }
}
