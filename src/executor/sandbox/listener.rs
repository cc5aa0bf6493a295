//! Handing the listener of a filter from the command's process, which makes it, to the process that
//! answers.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use super::error::SandboxError;
use crate::sys::{self, supervise};

/// Sends a listener.
pub(super) fn send(socket: &UnixStream, listener: &OwnedFd) -> Result<(), SandboxError> {
    let fds = [listener.as_raw_fd()];
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(&[0])],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::empty(),
        None,
    );
    sent.map(drop).map_err(|errno| SandboxError::Control {
        source: errno.into(),
    })
}

/// Receives what was sent; `None` if the other side has nothing to send, or died.
pub(super) fn receive(socket: &UnixStream) -> Option<OwnedFd> {
    let mut word = [0];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let mut parts = [IoSliceMut::new(&mut word)];
    let received = recvmsg::<()>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )
    .ok()?;
    let rights = received.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    })?;
    let listener = sys::process::adopt(rights).ok()?;
    supervise::wake_up_quickly(&listener);
    Some(listener)
}

#[cfg(test)]
mod tests {
    use crate::executor::sandbox::host_name::HostName;
    use crate::executor::sandbox::seccomp;
    use crate::sys::supervise;

    #[test]
    fn the_wait_for_calls_ends_with_those_who_could_make_them() {
        let caller = std::thread::spawn(|| {
            supervise::no_new_privileges().unwrap();
            supervise::install_with_listener(&seccomp::devices_filter(HostName::Set))
        });
        let Ok(listener) = caller.join().unwrap() else {
            // Below another supervisor there is none.
            return;
        };
        assert!(supervise::next(&listener).unwrap().is_none());
    }
}
