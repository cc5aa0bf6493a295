//! Answering system calls of another process: the listener of a seccomp filter
//! (seccomp_unotify(2), Linux 5.14).

#![expect(
    unsafe_code,
    reason = "this is the room of system calls that no crate wraps"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::seccomp::{Instruction, Program};

/// `_IOWR('!', 0, struct seccomp_notif)`
const RECEIVE: u64 = 0xc050_2100;
/// `_IOWR('!', 1, struct seccomp_notif_resp)`
const SEND: u64 = 0xc018_2101;
/// `_IOW('!', 2, __u64)`
const IS_VALID: u64 = 0x4008_2102;
/// `_IOW('!', 3, struct seccomp_notif_addfd)`
const ADD_FD: u64 = 0x4018_2103;
/// `_IOW('!', 4, __u64)`
const SET_FLAGS: u64 = 0x4008_2104;

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`: both sides on one processor.
const SYNC_WAKE_UP: u64 = 1;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`
const CONTINUE: u32 = 1;
/// `SECCOMP_ADDFD_FLAG_SEND`: the new descriptor is the call's result.
const FLAG_SEND: u32 = 2;
/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`
const NEW_LISTENER: u64 = 8;

/// A call that waits for its answer, as `struct seccomp_notif`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    /// Names the call until it is answered.
    pub id: u64,
    /// The thread that made it.
    pub thread: u32,
    flags: u32,
    /// The number of the call.
    pub number: i32,
    /// The ABI it was made in.
    pub abi: u32,
    instruction_pointer: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// `struct seccomp_notif_resp`
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// `struct seccomp_notif_addfd`
#[repr(C)]
struct AddFd {
    id: u64,
    flags: u32,
    source: u32,
    number: u32,
    number_flags: u32,
}

/// The half of an argument that the kernel takes where it wants 32 bits.
pub fn low(argument: u64) -> u32 {
    u32::try_from(argument & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// An argument that is a descriptor, or `AT_FDCWD`.
pub fn descriptor(argument: u64) -> i32 {
    low(argument).cast_signed()
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It runs as if nobody had asked.
    Continue,
    /// It returns this.
    Value(i64),
    /// It fails with this error number.
    Errno(i32),
}

/// Installs `program` for this thread and what it starts, and gives the listener of the calls for
/// which it says `SECCOMP_RET_USER_NOTIF`. Needs no_new_privs or CAP_SYS_ADMIN. EBUSY if there is a
/// listener above already.
pub fn install_with_listener(program: &[Instruction]) -> io::Result<OwnedFd> {
    let program = Program::new(program)?;
    // SAFETY: `program` has the layout of struct sock_fprog and points to instructions that live
    // until the call returns; the kernel copies and checks them.
    let code = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            NEW_LISTENER,
            &raw const program,
        )
    };
    let Ok(number) = i32::try_from(code) else {
        return Err(io::Error::from_raw_os_error(libc::EOVERFLOW));
    };
    super::process::check(code)?;
    // SAFETY: the call succeeded, so `number` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sets no_new_privs for this thread and what it starts.
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: this prctl takes numbers only.
    let code = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    super::process::check(i64::from(code))
}

/// Asks for quicker wake-ups (Linux 6.6); older kernels refuse, which does not matter.
pub fn wake_up_quickly(listener: impl AsFd) {
    // SAFETY: this request takes its argument by value.
    let _ = unsafe { request(listener, SET_FLAGS, SYNC_WAKE_UP as *mut libc::c_void) };
}

/// Takes the next call. ENOENT if the caller is gone.
pub fn receive(listener: impl AsFd) -> io::Result<Call> {
    let mut call = Call::default();
    // SAFETY: the kernel writes one struct seccomp_notif, which `call` is, all zero as it wants.
    unsafe { request(listener, RECEIVE, (&raw mut call).cast()) }?;
    Ok(call)
}

/// Waits for the next call; `None` once nobody is left who could make one. (From Linux 6.11 on taking a
/// call does not wait then, but fails at once, as it does for a caller that was killed.)
pub fn next(listener: impl AsFd) -> io::Result<Option<Call>> {
    loop {
        match receive(listener.as_fd()) {
            Ok(call) => return Ok(Some(call)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
            Err(_) => (),
        }
        let mut events = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut events, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => (),
            Err(errno) => return Err(errno.into()),
            Ok(_) => {
                let found = events[0].revents().unwrap_or(PollFlags::empty());
                if !found.contains(PollFlags::POLLIN) {
                    return Ok(None);
                }
            }
        }
    }
}

/// Tells whether the call still waits: only then is what was read from its thread's memory its.
pub fn is_waiting(listener: impl AsFd, call: &Call) -> bool {
    let mut id = call.id;
    // SAFETY: the kernel reads one u64.
    unsafe { request(listener, IS_VALID, (&raw mut id).cast()) }.is_ok()
}

/// Answers a call.
pub fn answer(listener: impl AsFd, call: &Call, answer: Answer) -> io::Result<()> {
    let (value, error, flags) = match answer {
        Answer::Continue => (0, 0, CONTINUE),
        Answer::Value(value) => (value, 0, 0),
        Answer::Errno(number) => (0, -number, 0),
    };
    let mut response = Response {
        id: call.id,
        value,
        error,
        flags,
    };
    // SAFETY: the kernel reads one struct seccomp_notif_resp.
    unsafe { request(listener, SEND, (&raw mut response).cast()) }.map(drop)
}

/// Answers a call with a new descriptor of the caller for what `file` is.
pub fn answer_with_file(
    listener: impl AsFd,
    call: &Call,
    file: impl AsFd,
    close_on_exec: bool,
) -> io::Result<()> {
    let number_flags = if close_on_exec { libc::O_CLOEXEC } else { 0 };
    let mut add = AddFd {
        id: call.id,
        flags: FLAG_SEND,
        source: file.as_fd().as_raw_fd().unsigned_abs(),
        number: 0,
        number_flags: number_flags.unsigned_abs(),
    };
    // SAFETY: the kernel reads one struct seccomp_notif_addfd.
    unsafe { request(listener, ADD_FD, (&raw mut add).cast()) }.map(drop)
}

/// # Safety
/// `argument` must be what `number` takes, valid for its reads and writes.
unsafe fn request(
    listener: impl AsFd,
    number: u64,
    argument: *mut libc::c_void,
) -> io::Result<libc::c_int> {
    let fd = listener.as_fd().as_raw_fd();
    #[cfg_attr(
        target_env = "musl",
        expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "the C libraries disagree about the type of requests; all have 32 bits of it"
        )
    )]
    // SAFETY: the caller's promise.
    let code = unsafe { libc::ioctl(fd, number as libc::Ioctl, argument) };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(code)
}
