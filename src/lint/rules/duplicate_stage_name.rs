//! `DuplicateStageName`: a stage name used twice

use std::collections::BTreeSet;

use crate::lint::check::{Findings, Pass};

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    let mut seen = BTreeSet::new();
    for stage in pass.stages() {
        if let Some(name) = &stage.from.name {
            let lower = name.value.to_lowercase();
            let message = format!("Duplicate stage name {lower:?}, stage names should be unique");
            if !seen.insert(lower) {
                findings.report(stage.instruction, name.span, message);
            }
        }
    }
}
