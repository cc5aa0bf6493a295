//! `MultipleInstructionsDisallowed`: only the last CMD, ENTRYPOINT and HEALTHCHECK of a stage count.

use std::collections::BTreeMap;

use crate::lint::check::{Findings, Pass};
use crate::parser::ast::{Command, Instruction};

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for stage in pass.checked_stages() {
        let mut last: BTreeMap<&str, &Instruction> = BTreeMap::new();
        for step in &stage.steps {
            let name = match &step.instruction.command {
                Command::Cmd(_) => "CMD",
                Command::Entrypoint(_) => "ENTRYPOINT",
                Command::Healthcheck(_) => "HEALTHCHECK",
                _ => continue,
            };
            if let Some(earlier) = last.insert(name, step.instruction) {
                let message = format!(
                    "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
                );
                findings.report(earlier, earlier.keyword.span, message);
            }
        }
    }
}
