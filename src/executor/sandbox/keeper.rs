//! Empties the secrets of a step whose builder and supervisor were killed, where secrets are files of the store.
//!
//! Nobody can be told to clean up after SIGKILL. So a process of its own holds each secret, and waits for the
//! end of the supervisor, which in the ordinary case has emptied the secret before, and ended this process.

use std::os::fd::{AsFd as _, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::process::PidfdFlags;

use super::error::{Errno, SandboxError};
use crate::sys::process::{Fork, exit_now, fork, only_standard_descriptors, redirect};

/// Starts the process for a secret. It is one of this process's descendants, and goes with them.
pub(super) fn hold(secret: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let failed = |source: Errno| SandboxError::Fork { source };
    let this = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
    let this = this.map_err(|errno| failed(errno.into()))?;
    match fork().map_err(|error| failed(error.into()))? {
        Fork::Parent(_) => return Ok(()),
        Fork::Child => (),
    }
    let _ = rustix::thread::set_name(c"builder-keeper");
    // Ctrl-C is for the builder.
    let _ = rustix::process::setsid();
    // The builder waits for the ends of all pipes, and of the socket.
    let Ok(secret) = rustix::io::fcntl_dupfd_cloexec(secret, 3) else {
        exit_now(1)
    };
    if redirect(&secret, 2).is_err() {
        exit_now(1)
    }
    only_standard_descriptors(this, Some(&secret), |supervisor, secret| {
        let mut fds = [PollFd::new(supervisor.as_fd(), PollFlags::POLLIN)];
        while nix::poll::poll(&mut fds, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
        let emptied = secret.map(|secret| rustix::fs::ftruncate(secret, 0));
        i32::from(!matches!(emptied, Some(Ok(()))))
    })
}
