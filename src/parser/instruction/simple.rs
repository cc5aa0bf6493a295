//! Instructions without flags or forms of their own: `EXPOSE`, `VOLUME`, `USER`, `WORKDIR`,
//! `STOPSIGNAL`, `MAINTAINER`.

use crate::diagnostic::Spanned;
use crate::parser::ast::{Command, Word, Words};
use crate::parser::grammar::{Node, Rule};
use crate::parser::json;
use crate::parser::problem::Parsed;

use super::{Line, name, word};

/// One argument: the rest of the line.
pub(super) fn rest(node: &Node<'_>, line: &Line<'_>) -> Parsed<Word> {
    line.flags(node, &[])?;
    match node.child(Rule::text) {
        Some(text) => Ok(word(&text)),
        None => Err(line.problems.arguments(
            node.span(),
            format!("{} requires exactly one argument", name(node)),
        )),
    }
}

pub(super) fn maintainer(node: &Node<'_>, line: &Line<'_>) -> Parsed<Command> {
    let Word { raw, span } = rest(node, line)?;
    Ok(Command::Maintainer(Spanned::new(raw, span)))
}

pub(super) fn expose(node: &Node<'_>, line: &Line<'_>) -> Parsed<Command> {
    line.flags(node, &[])?;
    Ok(Command::Expose(plain_words(node, line)?))
}

pub(super) fn volume(node: &Node<'_>, line: &Line<'_>) -> Parsed<Command> {
    line.flags(node, &[])?;
    let json = node.child(Rule::json);
    let words = match &json {
        Some(array) => json::strings(array)
            .into_iter()
            .map(|Spanned { value, span }| Word { raw: value, span })
            .collect(),
        None => plain_words(node, line)?,
    };
    if words.is_empty() {
        return Err(line
            .problems
            .arguments(node.span(), "VOLUME requires at least one argument"));
    }
    if let Some(empty) = words.iter().find(|word| word.raw.trim().is_empty()) {
        return Err(line.problems.error_with_help(
            ("empty-volume", empty.span),
            "VOLUME specified can not be an empty string",
            "name a directory",
        ));
    }
    let json = json.is_some();
    Ok(Command::Volume(Words { words, json }))
}

/// At least one word, separated by blanks; no array of anything but strings.
fn plain_words(node: &Node<'_>, line: &Line<'_>) -> Parsed<Vec<Word>> {
    let nodes: Vec<Node<'_>> = node
        .children()
        .filter(|child| child.rule() == Rule::plain_word)
        .collect();
    let Some(first) = nodes.first() else {
        return Err(line.problems.arguments(
            node.span(),
            format!("{} requires at least one argument", name(node)),
        ));
    };
    if node.rule() == Rule::volume {
        let text = &node.text()[first.offset() - node.offset()..];
        line.refuse_other_array(text, node.span())?;
    }
    Ok(nodes.iter().map(word).collect())
}
