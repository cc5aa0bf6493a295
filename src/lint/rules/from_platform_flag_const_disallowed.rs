//! `FromPlatformFlagConstDisallowed`: `FROM --platform=linux/amd64 a`, unless the stage's name says so

use crate::lint::check::{Findings, Pass};
use crate::lint::scope::FromNames;
use crate::parser::expand;
use crate::platform::Platform;

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    let names = FromNames::new(pass.globals());
    for stage in pass.stages() {
        let Some(platform) = &stage.from.platform else {
            continue;
        };
        let expanded = expand::process_word(&platform.raw, pass.file.escape(), &names);
        let Ok(expanded) = expanded else {
            continue;
        };
        // Anything that is substituted is no constant.
        if !expanded.used.is_empty() || !expanded.unset.is_empty() {
            continue;
        }
        let Ok(parsed) = expanded.value.parse::<Platform>() else {
            continue;
        };
        let name = stage
            .from
            .name
            .as_ref()
            .map(|name| name.value.to_lowercase());
        let told = name
            .is_some_and(|name| name.contains(&parsed.os) || name.contains(&parsed.architecture));
        if !told {
            let message = format!(
                "FROM --platform flag should not use constant value {:?}",
                expanded.value
            );
            findings.report(stage.instruction, platform.span, message);
        }
    }
}
