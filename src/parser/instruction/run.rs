//! Command lines: `RUN`, `CMD`, `ENTRYPOINT`, `SHELL`.

use crate::diagnostic::Spanned;
use crate::parser::ast::{Command, Run, ShellOrExec, Word};
use crate::parser::flag::{Kind, Known};
use crate::parser::grammar::Node;
use crate::parser::mount;
use crate::parser::problem::Parsed;

use super::Line;

const RUN_FLAGS: Known = &[
    ("mount", Kind::List),
    ("network", Kind::Text),
    ("security", Kind::Text),
    ("device", Kind::List),
];

pub(super) fn run(node: &Node<'_>, line: &Line<'_>) -> Parsed<Command> {
    let mut flags = line.flags(node, RUN_FLAGS)?;
    let mut mounts = Vec::new();
    for value in flags.list("mount") {
        mounts.push(mount::mount(&value, &line.problems)?);
    }
    let network = one_of(
        flags.text("network"),
        &["default", "none", "host"],
        |value| format!("invalid network mode {value:?}"),
        line,
    )?;
    let security = one_of(
        flags.text("security"),
        &["sandbox", "insecure"],
        |value| format!("security {value:?} is not valid"),
        line,
    )?;
    Ok(Command::Run(Run {
        mounts,
        network,
        security,
        devices: flags.list("device").into_iter().map(spanned).collect(),
        command: line.command_line(node)?,
        heredocs: line.heredocs.iter().map(|(_, doc)| doc.clone()).collect(),
    }))
}

pub(super) fn cmd(node: &Node<'_>, line: &Line<'_>) -> Parsed<ShellOrExec> {
    line.flags(node, &[])?;
    line.command_line(node)
}

pub(super) fn shell(node: &Node<'_>, line: &Line<'_>) -> Parsed<Command> {
    line.flags(node, &[])?;
    match line.command_line(node)? {
        ShellOrExec::Exec(words) if !words.is_empty() => Ok(Command::Shell(words)),
        ShellOrExec::Shell(text) if !text.value.is_empty() => Err(line.problems.error_with_help(
            ("shell-not-json", text.span),
            "SHELL requires the arguments to be in JSON form",
            "write it like `SHELL [\"/bin/bash\", \"-c\"]`",
        )),
        _ => Err(line
            .problems
            .arguments(node.span(), "SHELL requires at least one argument")),
    }
}

/// A flag's value that must be one of a few words.
fn one_of(
    value: Option<Word>,
    known: &[&'static str],
    message: impl Fn(&str) -> String,
    line: &Line<'_>,
) -> Parsed<Option<Spanned<String>>> {
    match value {
        Some(value) if !known.contains(&value.raw.as_str()) => Err(line.problems.unknown(
            ("flag-value", value.span),
            message(&value.raw),
            &value.raw,
            known,
        )),
        value => Ok(value.map(spanned)),
    }
}

fn spanned(word: Word) -> Spanned<String> {
    Spanned::new(word.raw, word.span)
}
