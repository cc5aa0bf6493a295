//! Going to the rung of the isolation ladder where commands can run.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::{CliError, Environment};
use crate::event::Reporter;
use crate::executor::sandbox::rung::{self, Again, Ladder};
use crate::executor::sandbox::{RootDriver, Rung};
use crate::failure::Failure;
use crate::pipeline::Need;
use crate::sys::signal;

/// The running program, for children.
pub(super) const PROGRAM: &str = "/proc/self/exe";

/// The way to the rung. Where a command must run in a user namespace, the whole program runs again
/// in one, does everything there, and only its exit code comes back.
#[derive(Debug)]
pub(super) struct Passage<'a> {
    /// The store; trials are remembered there.
    pub(super) root: &'a Path,
    /// `--isolation`
    pub(super) wanted: Option<Rung>,
    /// Where we are.
    pub(super) environment: &'a Environment,
    /// What the program that ran elsewhere came to.
    code: Cell<Option<u8>>,
}

impl<'a> Passage<'a> {
    /// A way that was not gone yet.
    pub(super) fn new(root: &'a Path, wanted: Option<Rung>, environment: &'a Environment) -> Self {
        Self {
            root,
            wanted,
            environment,
            code: Cell::new(None),
        }
    }

    /// Whether [`Passage::enter`] may end this process's part.
    pub(super) fn may_leave(&self) -> bool {
        self.environment.rung.is_none()
    }

    /// Goes to the rung; gives how roots are made there. An error if there is none, or if everything was done elsewhere: then
    /// [`Passage::done_elsewhere`] has the exit code.
    pub(super) fn enter(&self, need: Need, reporter: &Reporter) -> Result<RootDriver, Failure> {
        let rung = match self.environment.rung {
            Some(rung) => rung,
            None => self.choose()?,
        };
        match (rung, need) {
            (Rung::None, Need::Commands) => return Err(self.no_rung()?.into()),
            (Rung::None, Need::Files) => return Ok(RootDriver::default()),
            _ => {}
        }
        if self.may_leave() && matches!(rung, Rung::UserRange | Rung::UserSingle) {
            let again = Again::this(std::env::args_os().collect::<Vec<OsString>>());
            // It waits in the main thread and passes signals on to the other process.
            signal::pass_on_to_main_thread();
            if let Some(code) = rung::enter(rung, &again)? {
                self.code.set(Some(code));
                return Err(CliError::DoneElsewhere.into());
            }
        }
        if need == Need::Commands {
            reporter.notice(format!("isolation: {}", rung.describe()));
        }
        Ok(rung.root_driver())
    }

    fn choose(&self) -> Result<Rung, Failure> {
        if let Some(rung) = self.wanted {
            return Ok(rung);
        }
        Ok(ladder(self.root, rung::probe)?.best(true))
    }

    /// Why commands cannot be run.
    fn no_rung(&self) -> Result<CliError, CliError> {
        if self.wanted == Some(Rung::None) {
            return Ok(CliError::NoRung {
                reasons: "--isolation=none".to_owned(),
                remedies: Vec::new(),
            });
        }
        // Nothing is remembered where nothing works.
        let (reasons, remedies) = ladder(self.root, rung::probe)?.obstacles();
        Ok(CliError::NoRung { reasons, remedies })
    }

    /// The exit code of the program that did everything elsewhere.
    pub(super) fn done_elsewhere(&self) -> Option<u8> {
        self.code.get()
    }
}

/// Tries the rungs, with a store that is made if it is not there.
pub(super) fn ladder(
    root: &Path,
    probe: impl FnOnce(&Path, &Path) -> Ladder,
) -> Result<Ladder, CliError> {
    fs::create_dir_all(root).map_err(|source| CliError::Write {
        path: root.to_owned(),
        source,
    })?;
    Ok(probe(root, Path::new(PROGRAM)))
}
