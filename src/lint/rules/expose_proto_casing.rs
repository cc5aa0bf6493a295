//! `ExposeProtoCasing`: `EXPOSE 80/TcP`

use crate::lint::check::{Findings, Pass};
use crate::parser::ast::Command;

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for step in pass.checked_stages().flat_map(|stage| &stage.steps) {
        if !matches!(step.instruction.command, Command::Expose(_)) {
            continue;
        }
        for (port, span) in &step.texts {
            let protocol = port.split_once('/').map_or("", |(_, protocol)| protocol);
            if protocol != protocol.to_lowercase() {
                let message =
                    format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
                findings.report(step.instruction, *span, message);
            }
        }
    }
}
