//! The one thing a new network namespace needs: its loopback interface up.

#![expect(
    unsafe_code,
    reason = "this is the room of system calls that no crate wraps"
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// SIOCGIFFLAGS and SIOCSIFFLAGS; the C libraries disagree about the type of requests.
const GET_FLAGS: libc::Ioctl = 0x8913;
const SET_FLAGS: libc::Ioctl = 0x8914;

/// Sets `lo` of the current network namespace up.
pub fn loopback_up() -> io::Result<()> {
    // SAFETY: no pointers are passed; the result is checked before it is used as a descriptor.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `raw` was just returned by socket(2), is open, and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: all-zero bytes are a valid ifreq: it is integers, byte arrays and a union of them.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    // SAFETY: libc::SIOCGIFFLAGS reads the name and writes the flags of the ifreq it is given.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), GET_FLAGS, &raw mut request) };
    super::process::check(i64::from(code))?;
    // SAFETY: libc::SIOCGIFFLAGS succeeded, so the flags are the initialised member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let up = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or(0);
    request.ifr_ifru.ifru_flags = flags | up;
    // SAFETY: SIOCSIFFLAGS only reads the ifreq it is given.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), SET_FLAGS, &raw const request) };
    super::process::check(i64::from(code))
}
