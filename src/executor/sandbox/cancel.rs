//! A flag that also wakes whoever waits in poll(2).

use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells running commands to stop; clones share one state, and it is never taken back.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<State>);

#[derive(Debug)]
struct State {
    cancelled: AtomicBool,
    /// Readable once cancelled; nothing is ever read from it.
    reader: PipeReader,
    writer: PipeWriter,
}

impl Cancel {
    /// Makes a flag that is not set; fails only when no descriptor is left.
    pub fn new() -> std::io::Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        Ok(Self(Arc::new(State {
            cancelled: AtomicBool::new(false),
            reader,
            writer,
        })))
    }

    /// Sets the flag and wakes all who wait. May be called from any thread, any number of times.
    pub fn cancel(&self) {
        if !self.0.cancelled.swap(true, Ordering::SeqCst) {
            // One byte into an empty pipe neither blocks nor fails: we hold its reader.
            let _ = (&self.0.writer).write(&[0]);
        }
    }

    /// Tells whether the flag is set.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }
}

impl AsFd for Cancel {
    /// The descriptor that becomes readable once cancelled.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.reader.as_fd()
    }
}
