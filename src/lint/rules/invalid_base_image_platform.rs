//! `InvalidBaseImagePlatform`: the base image is for another platform than the build.

use crate::lint::check::{Findings, Pass};

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for stage in pass.checked_stages() {
        let base = pass.context.facts.base(stage.index);
        if let Some((image, found, expected)) = base.and_then(|base| base.wrong_platform) {
            let message = format!(
                "Base image {image} was pulled with platform \"{found}\", expected \"{expected}\" for current build"
            );
            findings.report(stage.instruction, stage.from.image.span, message);
        }
    }
}
