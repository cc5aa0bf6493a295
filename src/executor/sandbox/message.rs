//! The words between the builder and the processes of a sandbox: length, then JSON.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{Errno, SandboxError};
use super::spec::{Exit, Notice, SandboxSpec};

/// The largest message: a command line, an environment and secrets fit many times.
const LENGTH_MAX: u32 = 64 * 1024 * 1024;

/// What the builder asks of a new sandbox.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    /// The command and its root.
    pub(super) spec: SandboxSpec,
    /// The cgroups to join: their directories.
    pub(super) cgroups: Vec<PathBuf>,
    /// The network namespace to join.
    pub(super) network: Option<PathBuf>,
    /// Whether to stop just before the command, with exit code 0: all is tried but the command.
    pub(super) trial: bool,
    /// The text of /etc/resolv.conf.
    pub(super) resolv_conf: String,
}

/// What the sandbox tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It did not come to an exit status.
    Failed(SandboxError),
    /// Something is not as asked, and does not matter enough to fail.
    Notice(Notice),
    /// The command ended.
    Exited(Exit),
}

/// Sends one message.
pub(super) fn send(mut socket: &UnixStream, message: &impl Serialize) -> Result<(), SandboxError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).map_err(|error| SandboxError::Message {
        text: error.to_string(),
    })?;
    let length = u32::try_from(bytes.len() - 4).unwrap_or(u32::MAX);
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    socket.write_all(&bytes).map_err(control)
}

/// Receives one message; `None` when the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(
    mut socket: &UnixStream,
) -> Result<Option<T>, SandboxError> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Ok(()) => (),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(control(error)),
    }
    let length = u32::from_be_bytes(length);
    if length > LENGTH_MAX {
        return Err(SandboxError::Message {
            text: format!("a message of {length} bytes"),
        });
    }
    let mut bytes = vec![0; length as usize];
    socket.read_exact(&mut bytes).map_err(control)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| SandboxError::Message {
            text: error.to_string(),
        })
}

fn control(error: std::io::Error) -> SandboxError {
    SandboxError::Control {
        source: Errno::from(error),
    }
}
