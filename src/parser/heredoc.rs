//! Here-documents: which markers a line has, and what their bodies say.

use std::sync::Arc;

use crate::diagnostic::{SourceFile, Span};

use super::ast::Heredoc;
use super::grammar::{self, Rule};
use super::lines::{Body, Logical};

/// A marker such as `3<<-"EOF"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// The delimiter without quotes.
    pub(super) name: String,
    /// The digits before it.
    pub(super) fd: Option<u32>,
    /// Whether `-` was written.
    pub(super) chomp: bool,
    /// Whether no part of the delimiter was quoted.
    pub(super) expand: bool,
    /// Where it starts in the text of its logical line.
    pub(super) offset: usize,
    /// Where it stands in the file.
    pub(super) span: Span,
}

/// The markers of a line, in order. A line with an unclosed quote has none.
pub(super) fn markers(line: &Logical) -> Vec<Marker> {
    if !line.text().contains("<<") {
        return Vec::new();
    }
    let Some(nodes) = grammar::recognise(Rule::heredocs, line) else {
        return Vec::new();
    };
    let mut markers = Vec::new();
    for node in nodes {
        let Some(delimiter) = node.child(Rule::delimiter) else {
            continue;
        };
        let (name, quoted) = unquote(delimiter.text());
        if name.is_empty() {
            continue;
        }
        markers.push(Marker {
            name,
            fd: node
                .child(Rule::descriptor)
                .and_then(|digits| digits.text().parse().ok()),
            chomp: node.child(Rule::chomp).is_some(),
            expand: !quoted,
            offset: node.offset(),
            span: node.span(),
        });
    }
    markers
}

/// A delimiter without its quotes and escapes, and whether it had quotes. The grammar has seen to it
/// that quotes are closed.
fn unquote(raw: &str) -> (String, bool) {
    let mut name = String::new();
    let mut quoted = false;
    let mut open = None;
    let mut letters = raw.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, open) {
            ('\'' | '"', None) => {
                quoted = true;
                open = Some(letter);
            }
            (_, Some(quote)) if letter == quote => open = None,
            ('\\', None) => name.extend(letters.next()),
            ('\\', Some('"')) => match letters.peek() {
                Some('"' | '$' | '\\') => name.extend(letters.next()),
                _ => name.push(letter),
            },
            _ => name.push(letter),
        }
    }
    (name, quoted)
}

/// The here-document of a marker and its body.
pub(super) fn heredoc(source: &Arc<SourceFile>, marker: &Marker, body: &Body) -> Heredoc {
    let lines = source.text.get(body.lines.range()).unwrap_or_default();
    let mut raw = source
        .text
        .get(body.all.range())
        .unwrap_or_default()
        .to_owned();
    raw.push('\n');
    Heredoc {
        name: marker.name.clone(),
        fd: marker.fd,
        chomp: marker.chomp,
        expand: marker.expand,
        body: if marker.chomp {
            without_tabs(lines)
        } else {
            lines.to_owned()
        },
        raw,
        marker: marker.span,
        span: body.lines,
    }
}

/// The lines without the tabs they start with.
fn without_tabs(lines: &str) -> String {
    lines
        .split_inclusive('\n')
        .map(|line| line.trim_start_matches('\t'))
        .collect()
}
