//! `FromAsCasing`: `FROM a as b`

use crate::lint::check::{Findings, Pass};

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for stage in pass.stages() {
        let from = &stage.instruction.keyword.value;
        let Some(keyword) = &stage.from.as_keyword else {
            continue;
        };
        // A FROM of mixed case is the business of another rule.
        let expected = if *from == from.to_lowercase() {
            keyword.value.to_lowercase()
        } else if *from == from.to_uppercase() {
            keyword.value.to_uppercase()
        } else {
            continue;
        };
        if keyword.value != expected {
            let message = format!(
                "'{}' and '{from}' keywords' casing do not match",
                keyword.value
            );
            findings.report(stage.instruction, keyword.span, message);
        }
    }
}
