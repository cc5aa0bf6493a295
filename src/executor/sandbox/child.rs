//! The hook at the top of `main`: is this process one that a builder started as a helper?

use std::process::ExitCode;

use super::{janitor, network, outer, rung};

/// The first argument of a process that is a sandbox.
pub(super) const RUN: &str = "__builder-sandbox-run";

/// Serves a helper's job and returns its exit code; `None` in an ordinary process.
///
/// Must be the first thing that `main` calls, before any thread exists: namespaces are joined per
/// thread, and only a process with one thread may fork.
pub fn run_if_child() -> Option<ExitCode> {
    let argument = std::env::args_os().nth(1)?;
    match argument.to_str()? {
        RUN => Some(outer::main()),
        network::NETWORK => Some(network::network_main()),
        janitor::JANITOR => Some(janitor::janitor_main()),
        rung::ENTER => Some(rung::enter_main()),
        rung::TRIAL => Some(rung::trial_main()),
        rung::LINK_TRIAL => Some(rung::link_trial_main()),
        _ => None,
    }
}
