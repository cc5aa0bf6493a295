//! `RedundantTargetPlatform`: `FROM --platform=$TARGETPLATFORM a`

use crate::lint::check::{Findings, Pass};

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for stage in pass.stages() {
        let Some(platform) = &stage.from.platform else {
            continue;
        };
        if ["$TARGETPLATFORM", "${TARGETPLATFORM}"].contains(&platform.raw.as_str()) {
            let message = format!(
                "Setting platform to predefined {} in FROM is redundant as this is the default behavior",
                platform.raw
            );
            findings.report(stage.instruction, platform.span, message);
        }
    }
}
