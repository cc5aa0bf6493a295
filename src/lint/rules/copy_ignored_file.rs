//! `CopyIgnoredFile`: a source that `.dockerignore` excludes

use crate::lint::check::{Findings, Pass};
use crate::parser::ast::Command;

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for step in pass.checked_stages().flat_map(|stage| &stage.steps) {
        let name = match &step.instruction.command {
            Command::Copy(copy) if copy.from.is_none() => "Copy",
            Command::Add(_) => "Add",
            _ => continue,
        };
        for (source, span) in &step.texts {
            if name == "Add" && is_remote(source) {
                continue;
            }
            let path = clean(source);
            if pass.context.facts.is_ignored(&path) {
                let message =
                    format!("Attempting to {name} file {path:?} that is excluded by .dockerignore");
                findings.report(step.instruction, *span, message);
            }
        }
    }
}

/// Whether a source of ADD is fetched and not read from the context.
fn is_remote(source: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"]
        .iter()
        .any(|scheme| source.starts_with(scheme))
}

/// A path without `.`, `..`, empty parts and the slash before it.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return ".".to_owned();
    }
    parts.join("/")
}
