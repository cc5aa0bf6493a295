//! `ConsistentInstructionCasing`: the whole file in one case; the majority says which.

use crate::lint::check::{Findings, Pass};
use crate::parser::ast::Command;

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    // Like BuildKit: ARGs before the first FROM do not count.
    let instructions = || {
        let all = pass.file.instructions.iter();
        all.skip_while(|one| matches!(one.command, Command::Arg(_)))
    };
    let (mut lower, mut upper) = (0_usize, 0_usize);
    for instruction in instructions() {
        let keyword = &instruction.keyword.value;
        lower += usize::from(*keyword == keyword.to_lowercase());
        upper += usize::from(*keyword == keyword.to_uppercase());
    }
    let majority = if lower > upper {
        "lowercase"
    } else {
        "uppercase"
    };
    for instruction in instructions() {
        let keyword = &instruction.keyword.value;
        let expected = if lower > upper {
            keyword.to_lowercase()
        } else {
            keyword.to_uppercase()
        };
        if *keyword != expected {
            let message = format!(
                "Command '{keyword}' should match the case of the command majority ({majority})"
            );
            findings.report(instruction, instruction.keyword.span, message);
        }
    }
}
