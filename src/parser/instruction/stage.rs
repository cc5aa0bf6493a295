//! `FROM [--platform=P] image [AS name]`

use crate::diagnostic::Spanned;
use crate::parser::ast::{Command, From};
use crate::parser::flag::{Kind, Known};
use crate::parser::grammar::{Node, Rule};
use crate::parser::problem::Parsed;

use super::{Line, word};

const FLAGS: Known = &[("platform", Kind::Text)];

pub(super) fn from(node: &Node<'_>, line: &Line<'_>) -> Parsed<Command> {
    let words: Vec<Node<'_>> = node
        .children()
        .filter(|child| child.rule() == Rule::plain_word)
        .collect();
    let (image, name) = match words.as_slice() {
        [image] => (image, None),
        [image, keyword, name] if keyword.text().eq_ignore_ascii_case("as") => {
            (image, Some((keyword, name)))
        }
        _ => {
            return Err(line.problems.error_with_help(
                ("wrong-arguments", node.span()),
                "FROM requires either one or three arguments",
                "write `FROM image` or `FROM image AS name`",
            ));
        }
    };
    if let Some((_, name)) = name
        && !is_stage_name(name.text())
    {
        return Err(line.problems.error_with_help(
            ("invalid-stage-name", name.span()),
            format!(
                "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
                name.text()
            ),
            "use a letter, then letters, digits, `-`, `_` or `.`",
        ));
    }
    let mut flags = line.flags(node, FLAGS)?;
    let spanned = |node: &Node<'_>| Spanned::new(node.text().to_owned(), node.span());
    Ok(Command::From(From {
        platform: flags.text("platform"),
        image: word(image),
        name: name.map(|(_, name)| spanned(name)),
        as_keyword: name.map(|(keyword, _)| spanned(keyword)),
    }))
}

/// `[a-z][a-z0-9-_.]*`, in either case.
fn is_stage_name(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
}
