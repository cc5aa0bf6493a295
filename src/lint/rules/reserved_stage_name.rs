//! `ReservedStageName`: `scratch` or `context` as the name of a stage

use crate::lint::check::{Findings, Pass};

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for stage in pass.stages() {
        if let Some(name) = &stage.from.name {
            let lower = name.value.to_lowercase();
            if ["scratch", "context"].contains(&lower.as_str()) {
                let message =
                    format!("Stage name should not use the same name as reserved stage {lower:?}");
                findings.report(stage.instruction, name.span, message);
            }
        }
    }
}
