//! The host name of a command: set where the kernel allows it, told by PID 1 where a container's filter
//! refuses sethostname(2), as podman's does also in namespaces of one's own.

use rustix::io::Errno;

use super::error::SandboxError;
use super::memory;
use crate::sys::supervise::{Answer, Call};

/// Bytes of one field of `struct utsname`.
const NAME_FIELD: usize = 65;

/// Who tells a command the name of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostName {
    /// The kernel.
    Set,
    /// Whoever answers its calls.
    Told,
}

impl HostName {
    /// Sets the name of this process's namespace, as far as that is allowed.
    pub(super) fn set(name: &str) -> Result<Self, SandboxError> {
        match rustix::system::sethostname(name.as_bytes()) {
            Ok(()) => Ok(Self::Set),
            Err(Errno::PERM | Errno::NOSYS) => Ok(Self::Told),
            Err(errno) => Err(SandboxError::HostName {
                name: name.to_owned(),
                source: errno.into(),
            }),
        }
    }
}

/// Answers uname(2) with another name; the first argument is where it goes.
pub(super) fn tell(call: &Call, name: &str) -> Result<Answer, Errno> {
    match memory::write(call, call.args[0], &names(name)) {
        Some(()) => Ok(Answer::Value(0)),
        None => Err(Errno::FAULT),
    }
}

/// A `struct utsname` with another host name.
pub(super) fn names(name: &str) -> Vec<u8> {
    let host = rustix::system::uname();
    let fields = [
        host.sysname().to_bytes(),
        name.as_bytes(),
        host.release().to_bytes(),
        host.version().to_bytes(),
        host.machine().to_bytes(),
        b"(none)",
    ];
    let mut bytes = vec![0; NAME_FIELD * fields.len()];
    for (to, field) in bytes.chunks_mut(NAME_FIELD).zip(fields) {
        let length = field.len().min(NAME_FIELD - 1);
        to[..length].copy_from_slice(&field[..length]);
    }
    bytes
}
