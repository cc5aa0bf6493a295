//! `WorkdirRelativePath`: the first WORKDIR of a chain of stages is relative.

use crate::lint::check::{Findings, Pass};
use crate::parser::ast::Command;

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    let mut set: Vec<bool> = Vec::new();
    for stage in pass.stages() {
        let mut here = stage
            .parent
            .is_some_and(|parent| set.get(parent) == Some(&true));
        let checked = pass.is_checked(stage);
        for step in &stage.steps {
            if !matches!(step.instruction.command, Command::Workdir(_)) {
                continue;
            }
            if let Some((path, span)) = step.texts.first()
                && checked
                && !here
                && !path.starts_with('/')
            {
                let message = format!(
                    "Relative workdir {path:?} can have unexpected results if the base image changes"
                );
                findings.report(step.instruction, *span, message);
            }
            here = true;
        }
        set.push(here);
    }
}
