//! `UndefinedVar`: a variable that neither ARG nor ENV nor the base image sets. Silent where the base is
//! unknown.

use crate::lint::check::{Findings, Pass};

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for step in pass.checked_stages().flat_map(|stage| &stage.steps) {
        for unset in &step.unset {
            let (name, hint) = (&unset.name, &unset.hint);
            let message = format!("Usage of undefined variable '${name}'{hint}");
            findings.report(step.instruction, unset.span, message);
        }
    }
}
