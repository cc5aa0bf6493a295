//! `builder completion SHELL`

use super::super::Stop;
use super::super::args::{Args, CompletionArgs};
use crate::failure::ExitCode;

/// Prints the completion script.
pub(crate) fn completion(args: &CompletionArgs) -> Result<ExitCode, Stop> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::grammar(), "builder", &mut script);
    super::print(&script)?;
    Ok(ExitCode::Success)
}
