//! A running sandbox, seen from the builder: its output, its reports, its end.

use std::io::{PipeReader, Read};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::cancel::Cancel;
use super::error::{Errno, SandboxError};
use super::message::{self, Report};
use super::orphans;
use super::spec::{Exit, Notice, Stream};
use crate::clock::Stopwatch;

/// How long a sandbox that was told to stop may take before it is killed, and how long it may take
/// to be gone after that.
const GRACE: Duration = Duration::from_millis(400);

/// Bytes of output passed on at once.
const CHUNK: usize = 64 * 1024;

/// A process and the three ways it talks.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) control: UnixStream,
    pub(super) stdout: PipeReader,
    pub(super) stderr: PipeReader,
    /// Whether processes outlive it: nothing of the kernel's holds them together.
    pub(super) is_loose: bool,
}

/// Why a sandbox is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Cancelled,
    TimedOut,
}

/// A stop under way.
#[derive(Clone, Copy, Debug)]
struct Stop {
    reason: Reason,
    /// When patience ends, since the start.
    deadline: Duration,
    /// Whether it was killed already.
    killed: bool,
}

/// A sandbox until its end.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    is_loose: bool,
    watch: Stopwatch,
    timeout: Option<Duration>,
    /// Each is `None` once it is closed on the other side; when all are, no process is left.
    control: Option<UnixStream>,
    stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
    stop: Option<Stop>,
    exit: Option<Exit>,
    failed: Option<SandboxError>,
    pub(super) notices: Vec<Notice>,
}

/// What poll(2) found.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    control: bool,
    stdout: bool,
    stderr: bool,
}

impl Running {
    pub(super) fn new(started: Started, timeout: Option<Duration>) -> Self {
        Self {
            child: started.child,
            is_loose: started.is_loose,
            watch: Stopwatch::start(),
            timeout,
            control: Some(started.control),
            stdout: Some(started.stdout),
            stderr: Some(started.stderr),
            stop: None,
            exit: None,
            failed: None,
            notices: Vec::new(),
        }
    }

    /// Passes output and reports on until no process of the sandbox is left.
    pub(super) fn attend(
        &mut self,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<(), SandboxError> {
        let mut buffer = vec![0; CHUNK];
        while self.control.is_some() || self.stdout.is_some() || self.stderr.is_some() {
            if !self.enforce(cancel) {
                break;
            }
            let ready = self.wait(cancel)?;
            if ready.stdout {
                forward(&mut self.stdout, &mut buffer, Stream::Stdout, output)?;
            }
            if ready.stderr {
                forward(&mut self.stderr, &mut buffer, Stream::Stderr, output)?;
            }
            if ready.control {
                self.listen()?;
            }
        }
        Ok(())
    }

    /// Begins or continues a stop that is due; `false` when nothing more can be done.
    fn enforce(&mut self, cancel: &Cancel) -> bool {
        let elapsed = self.watch.elapsed();
        match &mut self.stop {
            None => {
                let reason = if cancel.is_cancelled() {
                    Reason::Cancelled
                } else if self.timeout.is_some_and(|timeout| elapsed >= timeout) {
                    Reason::TimedOut
                } else {
                    return true;
                };
                // The sandbox takes the end of the conversation as an order to die.
                if let Some(control) = &self.control {
                    let _ = control.shutdown(Shutdown::Write);
                }
                self.stop = Some(Stop {
                    reason,
                    deadline: elapsed + GRACE,
                    killed: false,
                });
                true
            }
            Some(stop) if elapsed < stop.deadline => true,
            Some(stop) if stop.killed => false,
            Some(stop) => {
                stop.killed = true;
                stop.deadline = elapsed + GRACE;
                let _ = self.child.kill();
                true
            }
        }
    }

    /// Waits until there is something to read or to enforce.
    fn wait(&self, cancel: &Cancel) -> Result<Ready, SandboxError> {
        let deadline = self.stop.map(|stop| stop.deadline).or(self.timeout);
        let left = deadline.map(|deadline| deadline.saturating_sub(self.watch.elapsed()));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            // One more millisecond, so that the deadline has passed when poll returns.
            PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let unused = cancel.as_fd();
        let watched = |fd: Option<std::os::fd::BorrowedFd<'_>>| fd.is_some();
        let control = self.control.as_ref().map(AsFd::as_fd);
        let stdout = self.stdout.as_ref().map(AsFd::as_fd);
        let stderr = self.stderr.as_ref().map(AsFd::as_fd);
        let interest = |present: bool| {
            if present {
                PollFlags::POLLIN
            } else {
                PollFlags::empty()
            }
        };
        let mut fds = [
            PollFd::new(unused, interest(self.stop.is_none())),
            PollFd::new(control.unwrap_or(unused), interest(watched(control))),
            PollFd::new(stdout.unwrap_or(unused), interest(watched(stdout))),
            PollFd::new(stderr.unwrap_or(unused), interest(watched(stderr))),
        ];
        match nix::poll::poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => (),
            Err(errno) => {
                return Err(SandboxError::Control {
                    source: errno.into(),
                });
            }
        }
        let ready = |position: usize, present: bool| {
            present
                && fds[position]
                    .revents()
                    .is_some_and(|events| !events.is_empty())
        };
        Ok(Ready {
            control: ready(1, watched(control)),
            stdout: ready(2, watched(stdout)),
            stderr: ready(3, watched(stderr)),
        })
    }

    /// Takes one report.
    fn listen(&mut self) -> Result<(), SandboxError> {
        let Some(control) = &self.control else {
            return Ok(());
        };
        match message::receive(control)? {
            None => {
                self.control = None;
                // It was killed: who is left would keep the pipes open.
                if self.is_loose && self.exit.is_none() && self.failed.is_none() {
                    let _ = self.child.kill();
                    let _ = self.child.wait();
                    orphans::kill();
                }
            }
            Some(Report::Notice(notice)) => self.notices.push(notice),
            Some(Report::Exited(exit)) => self.exit = Some(exit),
            // The first failure is the cause of those that follow.
            Some(Report::Failed(error)) => {
                self.failed.get_or_insert(error);
            }
        }
        Ok(())
    }

    /// Collects the process and tells how the command ended.
    pub(super) fn finish(mut self) -> Result<Exit, SandboxError> {
        if self.stop.is_some_and(|stop| stop.killed) {
            let _ = self.child.kill();
        }
        let status = self.child.wait().map_err(|error| SandboxError::Control {
            source: Errno::from(error),
        })?;
        match (
            self.stop.map(|stop| stop.reason),
            self.failed.take(),
            self.exit,
        ) {
            (Some(Reason::Cancelled), _, None) => Err(SandboxError::Cancelled),
            (Some(Reason::TimedOut), None, None) => Ok(Exit::TimedOut),
            (_, Some(error), _) => Err(error),
            (_, None, Some(exit)) => Ok(exit),
            (None, None, None) => Err(SandboxError::Died {
                status: status.to_string(),
            }),
        }
    }
}

impl Drop for Running {
    /// An error on our side must not leave a sandbox running.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes one chunk on; closes the reader at its end.
fn forward(
    reader: &mut Option<PipeReader>,
    buffer: &mut [u8],
    stream: Stream,
    output: &mut dyn FnMut(Stream, &[u8]),
) -> Result<(), SandboxError> {
    let Some(pipe) = reader else { return Ok(()) };
    match pipe.read(buffer) {
        Ok(0) => *reader = None,
        Ok(length) => output(stream, &buffer[..length]),
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
        Err(error) => {
            return Err(SandboxError::Control {
                source: error.into(),
            });
        }
    }
    Ok(())
}
