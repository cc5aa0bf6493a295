//! `HEALTHCHECK`

use crate::parser::ast::{Command, Healthcheck, ShellOrExec, Word};
use crate::parser::duration;
use crate::parser::flag::{Flags, Kind, Known};
use crate::parser::grammar::{Node, Rule};
use crate::parser::problem::Parsed;

use super::Line;

const FLAGS: Known = &[
    ("interval", Kind::Text),
    ("timeout", Kind::Text),
    ("start-period", Kind::Text),
    ("start-interval", Kind::Text),
    ("retries", Kind::Text),
];

/// The shortest duration but zero, in nanoseconds: the runtime's resolution.
const MINIMUM: u64 = 1_000_000;

pub(super) fn healthcheck(node: &Node<'_>, line: &Line<'_>) -> Parsed<Command> {
    let Some(kind) = node.child(Rule::health_kind) else {
        return Err(line
            .problems
            .arguments(node.span(), "HEALTHCHECK requires at least one argument"));
    };
    match kind.text().to_uppercase().as_str() {
        "NONE" => none(node, line),
        "CMD" => command(node, line),
        other => Err(line.problems.error_with_help(
            ("healthcheck-type", kind.span()),
            format!("Unknown type {other:?} in HEALTHCHECK (try CMD)"),
            "write `HEALTHCHECK CMD …` or `HEALTHCHECK NONE`; flags stand before CMD",
        )),
    }
    .map(Command::Healthcheck)
}

fn none(node: &Node<'_>, line: &Line<'_>) -> Parsed<Healthcheck> {
    let rest = node.child(Rule::text).or_else(|| node.child(Rule::json));
    if let Some(rest) = rest {
        return Err(line
            .problems
            .arguments(rest.span(), "HEALTHCHECK NONE takes no arguments"));
    }
    // Like BuildKit: the flags of CMD may stand there, and mean nothing.
    line.flags(node, FLAGS)?;
    Ok(Healthcheck::None)
}

fn command(node: &Node<'_>, line: &Line<'_>) -> Parsed<Healthcheck> {
    let mut flags = line.flags(node, FLAGS)?;
    let command = line.command_line(node)?;
    let empty = match &command {
        ShellOrExec::Shell(text) => text.value.is_empty(),
        ShellOrExec::Exec(words) => words.is_empty(),
    };
    if empty {
        return Err(line
            .problems
            .arguments(node.span(), "Missing command after HEALTHCHECK CMD"));
    }
    Ok(Healthcheck::Command {
        interval: interval("interval", &mut flags, line)?,
        timeout: interval("timeout", &mut flags, line)?,
        start_period: interval("start-period", &mut flags, line)?,
        start_interval: interval("start-interval", &mut flags, line)?,
        retries: retries(&mut flags, line)?,
        command,
    })
}

/// A duration flag in nanoseconds; an empty value counts as none.
fn interval(name: &str, flags: &mut Flags, line: &Line<'_>) -> Parsed<Option<u64>> {
    let Some(Word { raw, span }) = flags.text(name).filter(|value| !value.raw.is_empty()) else {
        return Ok(None);
    };
    match duration::parse(&raw) {
        Ok((0, _)) => Ok(Some(0)),
        Ok((value, false)) if value >= MINIMUM => Ok(Some(value)),
        Ok(_) => Err(line.problems.error(
            "invalid-duration",
            span,
            format!("Interval {name:?} cannot be less than 1ms"),
        )),
        Err(message) => Err(line.problems.error_with_help(
            ("invalid-duration", span),
            message,
            "write a number with a unit: 30s, 1m30s, 500ms",
        )),
    }
}

fn retries(flags: &mut Flags, line: &Line<'_>) -> Parsed<Option<u32>> {
    let Some(Word { raw, span }) = flags.text("retries").filter(|value| !value.raw.is_empty())
    else {
        return Ok(None);
    };
    match raw.parse::<i32>().map(u32::try_from) {
        Ok(Ok(retries)) => Ok(Some(retries)),
        Ok(Err(_)) => Err(line.problems.error(
            "invalid-retries",
            span,
            format!("--retries cannot be negative ({raw})"),
        )),
        Err(_) => Err(line.problems.error_with_help(
            ("invalid-retries", span),
            format!("strconv.ParseInt: parsing {raw:?}: invalid syntax"),
            "write a whole number",
        )),
    }
}
