//! The names that steps have in the log: `[build 2/3] RUN make`.

use crate::parser::ast::{Command, Instruction};
use crate::platform::Platform;

use super::super::resolve::{Base, ResolvedStage};
use super::super::scope::Scope;
use super::run;
use crate::parser::expand::Env;

/// Numbers the steps of one stage as BuildKit does.
#[derive(Debug)]
pub(crate) struct Numbering {
    stage: String,
    /// The stage's platform, if several are built.
    platform: Option<Platform>,
    next: usize,
    total: usize,
}

impl Numbering {
    /// Numbering of a stage; `several` if more than one platform is built.
    pub(crate) fn of(stage: &ResolvedStage<'_>, several: bool) -> Self {
        let base = usize::from(matches!(stage.base, Base::External(_)));
        let steps = stage.entries.iter().filter(|entry| {
            entry.origin.is_trigger()
                || matches!(
                    entry.instruction.command,
                    Command::Run(_) | Command::Copy(_) | Command::Add(_) | Command::Workdir(_)
                )
        });
        Self {
            stage: stage.label.clone(),
            platform: several.then(|| stage.platform.clone()),
            next: 1,
            total: base + steps.count(),
        }
    }

    /// The name of the next step. `scope` tells what the step is built for, if that is not where
    /// it runs.
    pub(crate) fn name(&mut self, text: &str, scope: &Scope, trigger: bool) -> String {
        let mut name = "[".to_owned();
        if let Some(platform) = &self.platform {
            name.push_str(&platform.to_string());
            name.push_str(&cross(platform, scope));
            name.push(' ');
        }
        if !self.stage.is_empty() {
            name.push_str(&self.stage);
            name.push(' ');
        }
        let width = self.total.to_string().len();
        let trigger = if trigger { "ONBUILD " } else { "" };
        let (next, total) = (self.next, self.total);
        self.next += 1;
        format!("{name}{next:width$}/{total}] {trigger}{text}")
    }
}

/// `->arm64` if the stage compiles for another platform than it runs on.
fn cross(platform: &Platform, scope: &Scope) -> String {
    let whole = scope
        .lookup("TARGETPLATFORM")
        .and_then(|text| text.parse().ok());
    let target: Platform = whole.unwrap_or_else(|| {
        let part = |name: &str| scope.lookup(name).filter(|value| !value.is_empty());
        let os = part("TARGETOS").unwrap_or(&platform.os);
        let architecture = part("TARGETARCH").unwrap_or(&platform.architecture);
        Platform::new(os, architecture, part("TARGETVARIANT")).normalized()
    });
    if target.os != platform.os {
        return format!("->{target}");
    }
    if target.architecture == platform.architecture {
        return String::new();
    }
    match target.variant {
        Some(variant) => format!("->{}/{variant}", target.architecture),
        None => format!("->{}", target.architecture),
    }
}

/// The text of an instruction for the log: keyword in capitals, variables as written, of a heredoc
/// the first line.
pub(crate) fn text(instruction: &Instruction) -> String {
    let text = instruction.text.trim();
    let keyword = instruction.keyword.value.as_str();
    let rest = text.strip_prefix(keyword).unwrap_or(text);
    let line = format!("{}{rest}", keyword.to_uppercase());
    match &instruction.command {
        Command::Run(run) => match run::heredoc_summary(run) {
            Some(summary) => format!("{line} ({summary})"),
            None => line,
        },
        _ => line,
    }
}
