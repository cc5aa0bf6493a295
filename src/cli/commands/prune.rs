//! `builder prune`

use super::super::args::PruneArgs;
use super::super::{Stop, screen};
use crate::cache::Store;
use crate::cache::store::PrunePolicy;
use crate::failure::{ExitCode, Failure};
use crate::ui::units;

/// Removes what was not used for longest; images stay.
pub(crate) fn prune(args: &PruneArgs, store: &Store) -> Result<ExitCode, Stop> {
    let policy = PrunePolicy {
        max_size: args.max_size,
        older_than: args.older_than,
        all: args.all,
        ..PrunePolicy::default()
    };
    let pruned = store.prune(&policy).map_err(Failure::from)?;
    let line = format!(
        "Removed {} objects\nTotal reclaimed space: {}\n",
        pruned.count,
        units::bytes(pruned.bytes)
    );
    super::print(line.as_bytes())?;
    if pruned.in_use > 0 {
        screen::complain(|out| writeln!(out, "{} objects are in use and stay", pruned.in_use));
    }
    for (path, error) in &pruned.left {
        screen::complain(|out| {
            writeln!(
                out,
                "WARNING: failed to remove `{}`: {error}",
                path.display()
            )
        });
    }
    Ok(ExitCode::Success)
}
