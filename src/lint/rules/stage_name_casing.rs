//! `StageNameCasing`: `FROM a AS Base`

use crate::lint::check::{Findings, Pass};

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for stage in pass.stages() {
        if let Some(name) = &stage.from.name
            && name.value != name.value.to_lowercase()
        {
            let message = format!("Stage name '{}' should be lowercase", name.value);
            findings.report(stage.instruction, name.span, message);
        }
    }
}
