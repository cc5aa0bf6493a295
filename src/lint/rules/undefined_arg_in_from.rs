//! `UndefinedArgInFrom`: FROM sees only ARGs before the first FROM and the predefined ones.

use crate::lint::check::{Findings, Pass, did_you_mean};
use crate::lint::scope::FromNames;
use crate::parser::expand;

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    let names = FromNames::new(pass.globals());
    for stage in pass.stages() {
        for word in stage.from.platform.iter().chain([&stage.from.image]) {
            let Ok(expanded) = expand::process_word(&word.raw, pass.file.escape(), &names) else {
                continue;
            };
            for name in &expanded.unset {
                let hint = did_you_mean(name, names.all(), "");
                let message = format!("FROM argument '{name}' is not declared{hint}");
                findings.report(stage.instruction, word.span, message);
            }
        }
    }
}
