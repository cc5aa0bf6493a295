//! `ExposeInvalidFormat`: `EXPOSE 127.0.0.1:80:80`

use crate::lint::check::{Findings, Pass};
use crate::parser::ast::Command;

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for step in pass.checked_stages().flat_map(|stage| &stage.steps) {
        if !matches!(step.instruction.command, Command::Expose(_)) {
            continue;
        }
        for (port, span) in &step.texts {
            if port.contains(':') {
                let message = format!(
                    "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
                );
                findings.report(step.instruction, *span, message);
            }
        }
    }
}
