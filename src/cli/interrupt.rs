//! Ctrl-C: the first signal asks, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::failure::ExitCode;
use crate::sys::signal;

/// Remembers the signal that asked this process to stop.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt {
    signal: Arc<AtomicI32>,
}

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on; the first calls `on_stop` on a thread of
    /// its own. If signals cannot be caught they kill, which the store survives.
    pub(super) fn watch(on_stop: impl FnOnce() + Send + 'static) -> Self {
        let interrupt = Self::default();
        let signal = Arc::clone(&interrupt.signal);
        if let Ok(request) = signal::stop_requests() {
            let wait = move || {
                if let Ok(number) = request.wait() {
                    signal.store(number as i32, Ordering::SeqCst);
                    on_stop();
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
