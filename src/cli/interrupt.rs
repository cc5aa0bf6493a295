//! Ctrl-C: the first signal asks, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use super::screen;
use crate::failure::ExitCode;
use crate::sys::signal;

/// How long the work may take to stop.
const GRACE: Duration = Duration::from_millis(800);

/// How long the message about it may take.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Remembers the signal that asked this process to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt {
    signal: Arc<AtomicI32>,
}

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on; the first calls `on_stop` on a thread of
    /// its own, and ends the process if the work does not end within a second. If signals cannot
    /// be caught they kill, which the store survives.
    pub(super) fn watch(on_stop: impl FnOnce() + Send + 'static) -> Self {
        let interrupt = Self::default();
        let signal = Arc::clone(&interrupt.signal);
        if let Ok(request) = signal::stop_requests() {
            let wait = move || {
                if let Ok(number) = request.wait() {
                    signal.store(number as i32, Ordering::SeqCst);
                    on_stop();
                    // What waits for a silent server, or for a child that does not die, is not
                    // waited for: processes and mounts below us end with us, and the store takes it.
                    std::thread::sleep(GRACE);
                    // Nor for a standard error that nobody reads.
                    std::thread::spawn(|| screen::complain(|out| writeln!(out, "ERROR: stopped")));
                    std::thread::sleep(LAST_WORDS);
                    signal::end_process(number);
                }
            };
            drop(
                std::thread::Builder::new()
                    .name("signals".into())
                    .spawn(wait),
            );
        }
        interrupt
    }

    /// The exit code if a signal came: 130 for SIGINT, else 143.
    pub(super) fn exit_code(&self) -> Option<ExitCode> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            libc::SIGINT => Some(ExitCode::Interrupted),
            _ => Some(ExitCode::Terminated),
        }
    }
}
