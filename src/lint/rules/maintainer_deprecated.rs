//! `MaintainerDeprecated`: use a label

use crate::lint::check::{Findings, Pass};
use crate::parser::ast::Command;

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for instruction in &pass.file.instructions {
        if matches!(instruction.command, Command::Maintainer(_)) {
            let message = "Maintainer instruction is deprecated in favor of using label";
            findings.report(instruction, instruction.keyword.span, message.to_owned());
        }
    }
}
