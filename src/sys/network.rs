//! What a new network namespace needs: its loopback interface up, and nowhere else.

#![expect(
    unsafe_code,
    reason = "this is the room of system calls that no crate wraps"
)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// SIOCGIFFLAGS and SIOCSIFFLAGS; the C libraries disagree about the type of requests.
const GET_FLAGS: libc::Ioctl = 0x8913;
const SET_FLAGS: libc::Ioctl = 0x8914;

const ADD_ROUTE: libc::Ioctl = 0x890b;

/// `struct rtentry` of linux/route.h; not every C library's crate has it.
#[repr(C)]
#[derive(Debug)]
struct RouteEntry {
    _pad1: libc::c_ulong,
    destination: libc::sockaddr_in,
    gateway: libc::sockaddr_in,
    mask: libc::sockaddr_in,
    flags: libc::c_ushort,
    _pad2: libc::c_short,
    _pad3: libc::c_ulong,
    _pad4: *const libc::c_void,
    metric: libc::c_short,
    device: *const libc::c_char,
    mtu: libc::c_ulong,
    window: libc::c_ulong,
    round_trip: libc::c_ushort,
}

/// Adds a route that says that 127.0.0.0/8 cannot be reached: what is bound to another interface than
/// `lo` would else be sent along the default route.
pub fn refuse_loopback_elsewhere() -> io::Result<()> {
    // SAFETY: no pointers are passed; the result is checked before it is used as a descriptor.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `raw` was just returned by socket(2), is open, and nobody else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: all-zero bytes are valid: integers, addresses of integers, and null pointers.
    let mut route: RouteEntry = unsafe { std::mem::zeroed() };
    let family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or(2);
    for address in [&mut route.destination, &mut route.gateway, &mut route.mask] {
        address.sin_family = family;
    }
    route.destination.sin_addr.s_addr = 0x7f00_0000_u32.to_be();
    route.mask.sin_addr.s_addr = 0xff00_0000_u32.to_be();
    route.flags = libc::RTF_UP | libc::RTF_REJECT;
    // SAFETY: SIOCADDRT only reads the rtentry it is given, whose layout this is.
    let code = unsafe { libc::ioctl(socket.as_raw_fd(), ADD_ROUTE, &raw const route) };
    super::process::check(i64::from(code))
}

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
        *to = libc::c_char::try_from(*from).unwrap_or(0);
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
