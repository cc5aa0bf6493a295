//! `builder fsck`

use super::super::Stop;
use super::super::args::FsckArgs;
use crate::cache::Store;
use crate::cache::store::{Fault, Problem};
use crate::failure::{ExitCode, Failure};

/// Checks every byte; exit code 1 if damage is left.
pub(crate) fn fsck(args: &FsckArgs, store: &Store) -> Result<ExitCode, Stop> {
    let problems = store.fsck(args.repair).map_err(Failure::from)?;
    let damage = problems.iter().filter(|problem| problem.fault.is_damage());
    let left = damage.clone().filter(|problem| !problem.repaired).count();
    let mut text: String = problems.iter().map(line).collect();
    let verdict = match (damage.count(), left) {
        (0, _) => "the store is sound".to_owned(),
        (all, 0) => format!("{all} damaged objects were taken out of the way"),
        (_, left) => {
            format!("{left} damaged objects; `builder fsck --repair` takes them out of the way")
        }
    };
    text.push_str(&verdict);
    text.push('\n');
    super::print(text.as_bytes())?;
    Ok(if left == 0 {
        ExitCode::Success
    } else {
        ExitCode::Failed
    })
}

fn line(problem: &Problem) -> String {
    let what = match &problem.fault {
        Fault::DamagedBlob => "bytes are not those of the digest".to_owned(),
        Fault::DamagedFile => "damaged".to_owned(),
        Fault::ForgedRecord => "a record that this program did not write".to_owned(),
        Fault::BrokenFace => "leads nowhere".to_owned(),
        Fault::MissingBlob { digest } => format!("needs {digest}, which is not here"),
        Fault::DamagedIndex { reason } => format!("cannot be read: {reason}"),
        Fault::Foreign => "not made by this program".to_owned(),
        Fault::Loose => "nothing needs it".to_owned(),
        Fault::Leftover | Fault::Faceless => "left by a builder that was killed".to_owned(),
    };
    let kind = if problem.fault.is_damage() {
        "damage"
    } else {
        "note"
    };
    let repaired = if problem.repaired { " (repaired)" } else { "" };
    format!("{kind}: {}: {what}{repaired}\n", problem.path.display())
}
