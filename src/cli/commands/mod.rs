//! The verbs, one file each.

mod build;
mod completion;
mod man;
mod version;

pub(super) use build::build;
pub(super) use completion::completion;
pub(super) use man::man;
pub(super) use version::version;

use std::io::{self, Write};

use super::Stop;

/// Writes to standard output in one piece.
fn print(bytes: &[u8]) -> Result<(), Stop> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(Stop::stdout)
}
