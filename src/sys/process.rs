//! Processes: fork of a process with one thread, descriptors, signals, keyrings.

#![expect(
    unsafe_code,
    reason = "this is the room of system calls that no crate wraps"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Turns the result of a raw system call into a `Result`.
pub(super) fn check(code: i64) -> io::Result<()> {
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The process that called; with the process id of the child in the caller's namespace.
    Parent(rustix::process::Pid),
    /// The new process.
    Child,
}

/// Forks. Refuses (EBUSY) if the process has more than one thread: a lock held by a thread that
/// does not exist in the child would never be released.
pub fn fork() -> io::Result<Fork> {
    let status = rustix::fs::stat("/proc/self/task");
    // A directory has two links and one more for each thread's directory in it. Without /proc the
    // count is unknown; then the caller's word is taken (it forks before anything starts threads).
    if status.is_ok_and(|status| status.st_nlink > 3) {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    // SAFETY: the process has one thread, so no lock of the allocator or of std is held by a
    // thread that the child lacks.
    let process = unsafe { libc::fork() };
    match (process, rustix::process::Pid::from_raw(process)) {
        (0, _) => Ok(Fork::Child),
        (1.., Some(process)) => Ok(Fork::Parent(process)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Marks every descriptor from `first` on close-on-exec (Linux 5.11), also those that nobody here
/// knows of: inherited ones.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: CLOSE_RANGE_CLOEXEC closes nothing: it only sets a flag of descriptors.
    let code = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check(code)
}

/// Makes `fd` the descriptor number `number` (0, 1 or 2) of this process.
pub fn redirect(fd: impl AsFd, number: i32) -> io::Result<()> {
    debug_assert!((0..=2).contains(&number));
    // SAFETY: dup2 replaces one of the standard descriptors, which no `OwnedFd` owns.
    let code = unsafe { libc::dup2(fd.as_fd().as_raw_fd(), number) };
    check(i64::from(code))
}

/// Borrows a standard descriptor, which std keeps open (it reopens closed ones at start-up).
pub fn standard_input() -> BorrowedFd<'static> {
    // SAFETY: std guarantees at start-up that 0, 1 and 2 are open, and nothing here closes them.
    unsafe { BorrowedFd::borrow_raw(0) }
}

/// Gives every signal its default action and unblocks all: what a new program may expect.
pub fn reset_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL installs no handler; refusals (SIGKILL, SIGSTOP, those of the C
        // library) are harmless and ignored.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: all-zero bytes are a valid sigset_t, and sigemptyset initialises it anyway.
    let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` is valid for writes.
    unsafe { libc::sigemptyset(&raw mut none) };
    // SAFETY: `none` is an initialised set; a null pointer for the old set is allowed.
    let code =
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
    check(i64::from(code))
}

/// Joins a new, empty session keyring, so that the keys of the caller's session are out of reach.
pub fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; nothing is read or written.
    let code = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    };
    check(code)
}

/// Ends the process at once, without running destructors or exit handlers: for forked children.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Lets `fd` be inherited by the next program.
pub fn keep_across_exec(fd: impl AsFd) -> io::Result<()> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
    Ok(())
}

/// Takes ownership of an inherited descriptor by number and marks it close-on-exec.
pub fn adopt(number: i32) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: F_GETFD only asks whether the number is an open descriptor.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) };
    check(i64::from(open))?;
    // SAFETY: the number is open, was inherited, and its one user adopts it once, at start-up.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Moves `kept` to standard input and `other` to standard output, closes every descriptor above
/// standard error, and ends the process with what `then` returns of the two. `then` must not use any
/// other descriptor that was open.
pub fn only_standard_descriptors(
    kept: impl AsFd,
    other: Option<&OwnedFd>,
    then: impl FnOnce(OwnedFd, Option<OwnedFd>) -> i32,
) -> ! {
    let moved = redirect(kept, 0).and_then(|()| other.map_or(Ok(()), |other| redirect(other, 1)));
    if moved.is_err() {
        exit_now(1)
    }
    // SAFETY: descriptors above 2 may have owners in this process, but none of them is used or
    // dropped again: from here on only `then` runs, then the process ends.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    // SAFETY: 0 was just made a duplicate of `kept`, and std never closes it.
    let kept = unsafe { OwnedFd::from_raw_fd(0) };
    // SAFETY: the same for 1, which is only taken if something was moved there.
    let other = other.map(|_| unsafe { OwnedFd::from_raw_fd(1) });
    exit_now(if closed < 0 { 1 } else { then(kept, other) })
}
