//! `LegacyKeyValueFormat`: `ENV key value`

use crate::lint::check::{Findings, Pass};
use crate::parser::ast::Command;

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for step in pass.checked_stages().flat_map(|stage| &stage.steps) {
        let name = match &step.instruction.command {
            Command::Env(pairs) if pairs.legacy => "ENV",
            Command::Label(pairs) if pairs.legacy => "LABEL",
            _ => continue,
        };
        let message = format!(
            "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
        );
        findings.report(step.instruction, step.instruction.span, message);
    }
}
