//! Signals that stop a command: the first asks, the second ends the process.
//!
//! A handler, not a blocked mask and `sigwait`: a mask would be inherited by every program that
//! a RUN step starts. Handlers go back to the default at exec.

use std::io::{self, Read};
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The write end of the pipe that carries the first signal; -1 before [`stop_requests`].
static PIPE: AtomicI32 = AtomicI32::new(-1);
/// The signals that came so far.
static COUNT: AtomicI32 = AtomicI32::new(0);

/// Whether signals that other threads take go to the main thread.
static PASS_ON: AtomicBool = AtomicBool::new(false);

/// Runs in the handler: only async-signal-safe calls (signal-safety(7)).
extern "C" fn on_signal(signal: libc::c_int) {
    if PASS_ON.load(Ordering::SeqCst) && pass_on(signal) {
        return;
    }
    if COUNT.fetch_add(1, Ordering::SeqCst) > 0 {
        #[expect(
            unsafe_code,
            reason = "exit(3) is not async-signal-safe, nix has no _exit"
        )]
        // SAFETY: `_exit` is async-signal-safe and takes any number.
        unsafe {
            libc::_exit(exit_code(signal))
        }
    }
    let errno = Errno::last_raw();
    let byte = u8::try_from(signal).unwrap_or(0);
    let pipe = PIPE.load(Ordering::SeqCst);
    #[expect(unsafe_code, reason = "a handler has no owned descriptor to borrow")]
    // SAFETY: `write` is async-signal-safe; it reads one byte of `byte`, which lives until it
    // returns. A bad descriptor is an error, which is of no concern: one byte is one signal.
    unsafe {
        libc::write(pipe, (&raw const byte).cast(), 1);
    }
    Errno::set_raw(errno);
}

/// Gives a signal to the main thread; `false` if this is it. Async-signal-safe.
fn pass_on(signal: libc::c_int) -> bool {
    let errno = Errno::last_raw();
    #[expect(unsafe_code, reason = "nix has no tgkill")]
    // SAFETY: getpid, gettid and tgkill take and give numbers only.
    let is_main = unsafe {
        let (process, thread) = (libc::getpid(), libc::syscall(libc::SYS_gettid));
        let is_main = thread == libc::c_long::from(process);
        if !is_main {
            libc::syscall(libc::SYS_tgkill, process, process, signal);
        }
        is_main
    };
    Errno::set_raw(errno);
    !is_main
}

/// The exit code of a process that a signal stopped: 130 for SIGINT, else 143.
const fn exit_code(signal: libc::c_int) -> libc::c_int {
    if signal == libc::SIGINT { 130 } else { 143 }
}

/// The first signal that asks this process to stop.
#[derive(Debug)]
pub struct StopRequest {
    pipe: io::PipeReader,
}

/// Catches SIGINT, SIGTERM and SIGHUP from now on. The first is told to the holder of the result;
/// the second ends the process at once. A signal that was ignored when the process started
/// (`nohup`) stays ignored. Call it once, early.
pub fn stop_requests() -> io::Result<StopRequest> {
    let (reader, writer) = io::pipe()?;
    PIPE.store(writer.into_raw_fd(), Ordering::SeqCst);
    let handler = SigHandler::Handler(on_signal);
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        #[expect(
            unsafe_code,
            reason = "a handler can break any invariant; this one cannot"
        )]
        // SAFETY: `on_signal` makes only async-signal-safe calls and touches only atomics.
        let before = unsafe { sigaction(signal, &action) }?;
        if matches!(before.handler(), SigHandler::SigIgn) {
            let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
            #[expect(unsafe_code, reason = "nix marks every sigaction unsafe")]
            // SAFETY: ignoring a signal runs no code.
            unsafe { sigaction(signal, &ignore) }?;
        }
    }
    Ok(StopRequest { pipe: reader })
}

/// From now on signals that other threads take go to the main thread, which may have blocked them
/// to read them from a descriptor. What the main thread takes is handled as before.
pub fn pass_on_to_main_thread() {
    PASS_ON.store(true, Ordering::SeqCst);
}

/// Ends the process at once, as the second signal does: for a first one whose work does not end.
pub fn end_process(signal: Signal) -> ! {
    #[expect(
        unsafe_code,
        reason = "nix has no _exit, and exit waits for what is stuck"
    )]
    // SAFETY: `_exit` takes any number; no code of this process runs after it.
    unsafe {
        libc::_exit(exit_code(signal as libc::c_int))
    }
}

impl StopRequest {
    /// Waits for the signal.
    pub fn wait(mut self) -> io::Result<Signal> {
        let mut byte = [0];
        self.pipe.read_exact(&mut byte)?;
        Signal::try_from(i32::from(byte[0])).map_err(io::Error::from)
    }
}
