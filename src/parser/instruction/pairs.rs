//! `ENV`, `LABEL`, `ARG`.

use crate::parser::ast::{Arg, Command, Pairs, Word};
use crate::parser::grammar::{Node, Rule};
use crate::parser::problem::Parsed;

use super::{Line, name, word};

pub(super) fn pairs(node: &Node<'_>, line: &Line<'_>) -> Parsed<Pairs> {
    line.flags(node, &[])?;
    if let Some(legacy) = node.child(Rule::legacy) {
        return self::legacy(node, &legacy, line);
    }
    let Some(assignments) = node.child(Rule::assignments) else {
        return Err(line.problems.arguments(
            node.span(),
            format!("{} requires at least one argument", name(node)),
        ));
    };
    let mut pairs = Vec::new();
    for word in assignments.children() {
        let Some((key, value)) = split(&word) else {
            return Err(line.problems.error_with_help(
                ("missing-equals", word.span()),
                format!(
                    "Syntax error - can't find = in {:?}. Must be of the form: name=value",
                    word.text()
                ),
                "put values with blanks in quotes",
            ));
        };
        refuse_blank(&key, node, line)?;
        pairs.push((key, value));
    }
    Ok(Pairs {
        pairs,
        legacy: false,
    })
}

/// `KEY rest of line`
fn legacy(node: &Node<'_>, legacy: &Node<'_>, line: &Line<'_>) -> Parsed<Pairs> {
    let key = legacy.child(Rule::plain_word);
    match (key, legacy.child(Rule::text)) {
        (Some(key), Some(value)) => Ok(Pairs {
            pairs: vec![(word(&key), word(&value))],
            legacy: true,
        }),
        _ => Err(line.problems.error_with_help(
            ("missing-value", legacy.span()),
            format!("{} must have two arguments", name(node)),
            format!("write `{} name=value`", name(node)),
        )),
    }
}

pub(super) fn arg(node: &Node<'_>, line: &Line<'_>) -> Parsed<Command> {
    line.flags(node, &[])?;
    let mut args = Vec::new();
    for child in node.children().filter(|child| child.rule() == Rule::word) {
        let (name, default) = match split(&child) {
            Some((name, default)) => (name, Some(default)),
            None => (word(&child), None),
        };
        refuse_blank(&name, node, line)?;
        args.push(Arg { name, default });
    }
    if args.is_empty() {
        return Err(line
            .problems
            .arguments(node.span(), "ARG requires at least one argument"));
    }
    Ok(Command::Arg(args))
}

/// A word split at its first equals sign.
fn split(node: &Node<'_>) -> Option<(Word, Word)> {
    let (key, value) = node.text().split_once('=')?;
    let all = node.text().len();
    let word = |raw: &str, from: usize, to: usize| Word {
        raw: raw.to_owned(),
        span: node.part(from, to),
    };
    Some((word(key, 0, key.len()), word(value, key.len() + 1, all)))
}

fn refuse_blank(key: &Word, node: &Node<'_>, line: &Line<'_>) -> Parsed<()> {
    if !key.raw.is_empty() {
        return Ok(());
    }
    Err(line.problems.error_with_help(
        ("blank-name", key.span),
        format!("{} names can not be blank", name(node)),
        "write the name directly before the equals sign",
    ))
}
