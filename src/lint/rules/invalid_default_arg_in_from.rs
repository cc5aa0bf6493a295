//! `InvalidDefaultArgInFrom`: without `--build-arg`, FROM would name no image.

use crate::lint::check::{Findings, Pass};
use crate::lint::scope;
use crate::parser::expand;
use crate::reference::Reference;

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    let escape = pass.file.escape();
    let defaults = scope::defaults(pass.globals(), escape);
    for stage in pass.stages() {
        let image = &stage.from.image;
        let Ok(expanded) = expand::process_word(&image.raw, escape, &defaults) else {
            continue;
        };
        let has_variable = !expanded.used.is_empty() || !expanded.unset.is_empty();
        if has_variable && expanded.value.parse::<Reference>().is_err() {
            let message = format!(
                "Default value for ARG {} results in empty or invalid base image name",
                image.raw
            );
            findings.report(stage.instruction, image.span, message);
        }
    }
}
