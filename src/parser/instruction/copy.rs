//! `COPY` and `ADD`.

use crate::parser::ast::{Copy, CopySource, Word};
use crate::parser::flag::{Flags, Kind, Known};
use crate::parser::grammar::{Node, Rule};
use crate::parser::json;
use crate::parser::mount::has_variable;
use crate::parser::problem::Parsed;

use super::{Line, name, word};

const COPY_FLAGS: Known = &[
    ("from", Kind::Text),
    ("chown", Kind::Text),
    ("chmod", Kind::Text),
    ("link", Kind::Switch),
    ("parents", Kind::Switch),
    ("exclude", Kind::List),
];

const ADD_FLAGS: Known = &[
    ("chown", Kind::Text),
    ("chmod", Kind::Text),
    ("link", Kind::Switch),
    ("keep-git-dir", Kind::Switch),
    ("checksum", Kind::Text),
    ("unpack", Kind::Switch),
    ("exclude", Kind::List),
];

pub(super) fn copy(node: &Node<'_>, line: &Line<'_>) -> Parsed<Copy> {
    let mut flags = line.flags(node, COPY_FLAGS)?;
    let mut copy = files(node, line, &mut flags)?;
    copy.from = flags.text("from");
    copy.parents = flags.switch("parents").unwrap_or(false);
    match &copy.from {
        Some(from) if has_variable(&from.raw) => Err(line.problems.error_with_help(
            ("variable-in-from", from.span),
            "'from' doesn't support variable expansion, define alias stage instead",
            format!(
                "write `FROM {} AS name` above and use `--from=name`",
                from.raw
            ),
        )),
        _ => Ok(copy),
    }
}

pub(super) fn add(node: &Node<'_>, line: &Line<'_>) -> Parsed<Copy> {
    let mut flags = line.flags(node, ADD_FLAGS)?;
    Ok(Copy {
        keep_git_dir: flags.switch("keep-git-dir"),
        checksum: flags.text("checksum"),
        unpack: flags.switch("unpack"),
        ..files(node, line, &mut flags)?
    })
}

/// Sources, destination, and the flags that both have.
fn files(node: &Node<'_>, line: &Line<'_>, flags: &mut Flags) -> Parsed<Copy> {
    let (mut sources, json) = match node.child(Rule::json) {
        Some(array) => (strings(&array), true),
        None => (words(node, line)?, false),
    };
    let destination = match sources.pop() {
        Some(CopySource::Path(destination)) if !sources.is_empty() => destination,
        Some(CopySource::Heredoc(heredoc)) if !sources.is_empty() => {
            return Err(line.problems.error_with_help(
                ("heredoc-destination", heredoc.marker),
                format!("{} cannot accept a heredoc as a destination", name(node)),
                "put the destination behind it",
            ));
        }
        _ => {
            return Err(line.problems.arguments(
                node.span(),
                format!(
                    "{} requires at least two arguments, but only one was provided. \
                     Destination could not be determined",
                    name(node)
                ),
            ));
        }
    };
    Ok(Copy {
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.switch("link").unwrap_or(false),
        excludes: flags.list("exclude"),
        sources,
        destination: Some(destination),
        json,
        ..Copy::default()
    })
}

/// Words of the shell form; those that are markers bring their here-documents.
fn words(node: &Node<'_>, line: &Line<'_>) -> Parsed<Vec<CopySource>> {
    let words: Vec<Node<'_>> = node
        .children()
        .filter(|child| child.rule() == Rule::plain_word)
        .collect();
    if let (Some(first), Some(last)) = (words.first(), words.last())
        && first.text().starts_with('[')
    {
        let text = &node.text()[first.offset() - node.offset()..];
        line.refuse_other_array(text, first.span().to(last.span()))?;
    }
    let heredoc = |at: usize| {
        let found = line
            .heredocs
            .binary_search_by_key(&at, |(offset, _)| *offset);
        found.ok().and_then(|index| line.heredocs.get(index))
    };
    Ok(words
        .iter()
        .map(|node| match heredoc(node.offset()) {
            Some((_, heredoc)) => CopySource::Heredoc(heredoc.clone()),
            None => CopySource::Path(word(node)),
        })
        .collect())
}

fn strings(array: &Node<'_>) -> Vec<CopySource> {
    json::strings(array)
        .into_iter()
        .map(|string| {
            CopySource::Path(Word {
                raw: string.value,
                span: string.span,
            })
        })
        .collect()
}
