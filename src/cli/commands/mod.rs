//! The verbs, one file each.

mod build;
mod call;
mod completion;
mod doctor;
mod du;
mod fsck;
mod images;
mod inspect;
mod login;
mod man;
mod plan;
mod prune;
pub(super) mod store;
mod tag;
mod transfer;
mod version;

#[cfg(test)]
mod tests;

pub(super) use build::build;
pub(super) use call::call;
pub(super) use completion::completion;
pub(super) use doctor::doctor;
pub(super) use du::du;
pub(super) use fsck::fsck;
pub(super) use images::images;
pub(super) use inspect::{history, inspect};
pub(super) use login::{login, logout};
pub(super) use man::man;
pub(super) use plan::plan;
pub(super) use prune::prune;
pub(super) use tag::{rm, tag};
pub(super) use transfer::{pull, push};
pub(super) use version::version;

use std::io::{self, Write};

use super::Stop;
use crate::clock::Epoch;
use crate::ui::units;

/// The age of what was made at `created`, in Docker's words.
fn age(created: Option<Epoch>, now: Epoch) -> String {
    match created {
        // Reproducible images say nothing about when they were built.
        None | Some(Epoch(0)) => "N/A".to_owned(),
        Some(created) => units::ago(u64::try_from(now.0 - created.0).unwrap_or(0)),
    }
}

/// Writes to standard output in one piece.
fn print(bytes: &[u8]) -> Result<(), Stop> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(Stop::stdout)
}
