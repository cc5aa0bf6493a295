//! `ONBUILD trigger`

use crate::diagnostic::{Diagnostic, Spanned};
use crate::parser::ast::{Command, Onbuild, TriggerProblem};
use crate::parser::grammar::{Node, Rule};
use crate::parser::problem::{Parsed, Problems, Wrong};

use super::Line;

/// Errors that BuildKit finds while it takes lines apart, in triggers too. All others it finds when
/// the trigger fires.
const EARLY: [&str; 2] = ["missing-equals", "missing-value"];

pub(super) fn onbuild(node: &Node<'_>, line: &Line<'_>) -> Parsed<Command> {
    line.flags(node, &[])?;
    let Some(trigger) = node.children().find(|child| child.rule() != Rule::flag) else {
        return Err(line
            .problems
            .arguments(node.span(), "ONBUILD requires at least one argument"));
    };
    if trigger.rule() == Rule::chained {
        return Err(chained(&line.problems, &trigger));
    }
    let (instruction, problem) = line.instruction(&trigger);
    if let Some(problem) = forbidden(&instruction.command, &instruction.keyword, &line.problems) {
        return Err(problem);
    }
    let problem = problem.map(Wrong::diagnostic);
    if let Some(problem) = problem
        .clone()
        .filter(|problem| EARLY.contains(&problem.code))
    {
        return Err(Wrong::from(problem));
    }
    let mut text = instruction.text.clone();
    for (_, heredoc) in &line.heredocs {
        // Like BuildKit: the lines as written, and the delimiter without the tabs before it.
        let lines = heredoc.span.end - heredoc.span.start;
        text.push('\n');
        text.push_str(heredoc.raw.get(..lines).unwrap_or_default());
        text.push_str(&heredoc.name);
    }
    Ok(Command::Onbuild(Onbuild {
        text,
        instruction: Box::new(instruction),
        problem: problem.map(|problem| Box::new(stored(problem, line))),
    }))
}

fn stored(problem: Diagnostic, line: &Line<'_>) -> TriggerProblem {
    TriggerProblem {
        code: problem.code,
        span: problem.span,
        message: problem.message,
        help: problem.help,
        heredocs: line
            .heredocs
            .iter()
            .map(|(_, heredoc)| heredoc.clone())
            .collect(),
    }
}

fn chained(problems: &Problems<'_>, trigger: &Node<'_>) -> Wrong {
    problems.error_with_help(
        ("invalid-trigger", trigger.span()),
        "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        "remove one ONBUILD",
    )
}

/// The error for a trigger that may not be one, whatever its arguments are.
pub(in crate::parser) fn forbidden(
    command: &Command,
    keyword: &Spanned<String>,
    problems: &Problems<'_>,
) -> Option<Wrong> {
    let name = keyword.value.to_uppercase();
    match (command, name.as_str()) {
        (_, "FROM" | "MAINTAINER") => Some(problems.error(
            "invalid-trigger",
            keyword.span,
            format!("{name} isn't allowed as an ONBUILD trigger"),
        )),
        (Command::Onbuild(_), _) => Some(problems.error(
            "invalid-trigger",
            keyword.span,
            "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
        )),
        _ => None,
    }
}
