//! The directive zone at the top of a file: `# syntax=`, `# escape=`, `# check=`.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span, Spanned};

use super::ast::Directives;
use super::grammar::{self, Rule};

/// The directives, and where the rest of the file starts.
#[derive(Debug, Default)]
pub(super) struct Zone {
    /// What was found.
    pub(super) directives: Directives,
    /// The offset of the first line that is not a directive.
    pub(super) end: usize,
}

/// One recognised directive line.
struct Line {
    name: Spanned<String>,
    value: Spanned<String>,
}

/// Reads the directive zone: it ends at the first line that is not a directive.
pub(super) fn zone(source: &Arc<SourceFile>, problems: &mut Vec<Diagnostic>) -> Zone {
    let mut zone = Zone {
        end: byte_order_mark(&source.text),
        ..Zone::default()
    };
    while let Some((line, next)) = directive_at(&source.text, zone.end, "#") {
        match line.name.value.to_ascii_lowercase().as_str() {
            "syntax" => set(source, problems, &mut zone.directives.syntax, line),
            "check" => set(source, problems, &mut zone.directives.check, line),
            "escape" => escape(source, problems, &mut zone.directives.escape, line),
            _ => break,
        }
        zone.end = next;
    }
    if zone.directives.syntax.is_none() {
        zone.directives.syntax = foreign_syntax(&source.text);
    }
    zone
}

fn byte_order_mark(text: &str) -> usize {
    if text.starts_with('\u{feff}') { 3 } else { 0 }
}

/// The directive on the line at `start`, and the offset of the next line.
fn directive_at(text: &str, start: usize, comment: &str) -> Option<(Line, usize)> {
    let rest = text.get(start..)?;
    let length = rest.find('\n').unwrap_or(rest.len());
    let line = &rest[..length];
    let body = line.trim_start().strip_prefix(comment)?;
    let body = body.trim_end();
    let at = start + (line.trim_end().len() - body.len());
    // The grammar knows `#` only; what stands behind the comment mark is what matters.
    let normal = format!("#{body}");
    let mut name = None;
    let mut value = None;
    for pair in grammar::directive(&normal)? {
        let range = pair.as_span();
        let span = Span::new(at + range.start() - 1, at + range.end() - 1);
        let text = Spanned::new(pair.as_str().to_owned(), span);
        match pair.as_rule() {
            Rule::directive_name => name = Some(text),
            Rule::directive_value => value = Some(text),
            _ => {}
        }
    }
    let next = start + (length + 1).min(rest.len());
    let line = Line {
        name: name?,
        value: value?,
    };
    Some((line, next))
}

fn set(
    source: &Arc<SourceFile>,
    problems: &mut Vec<Diagnostic>,
    slot: &mut Option<Spanned<String>>,
    line: Line,
) {
    if slot.is_some() {
        problems.push(repeated(source, &line));
    } else {
        *slot = Some(line.value);
    }
}

fn escape(
    source: &Arc<SourceFile>,
    problems: &mut Vec<Diagnostic>,
    slot: &mut Option<Spanned<char>>,
    line: Line,
) {
    let span = line.value.span;
    match line.value.value.as_str() {
        _ if slot.is_some() => problems.push(repeated(source, &line)),
        "\\" => *slot = Some(Spanned::new('\\', span)),
        "`" => *slot = Some(Spanned::new('`', span)),
        other => problems.push(
            Diagnostic::error(
                "invalid-escape",
                source,
                span,
                format!("invalid escape token '{other}' does not match ` or \\"),
            )
            .help("write `# escape=\\` or # escape=` "),
        ),
    }
}

fn repeated(source: &Arc<SourceFile>, line: &Line) -> Diagnostic {
    let name = line.name.value.to_ascii_lowercase();
    Diagnostic::error(
        "repeated-directive",
        source,
        line.name.span,
        format!("only one {name} parser directive can be used"),
    )
    .help("remove one of them")
}

/// A `syntax` of files in other languages: behind a `#!` line, as `//syntax=`, or as a JSON key.
fn foreign_syntax(text: &str) -> Option<Spanned<String>> {
    let mut start = byte_order_mark(text);
    if text[start..].starts_with("#!") {
        start += text[start..].find('\n')? + 1;
    }
    for comment in ["#", "//"] {
        let mut at = start;
        while let Some((line, next)) = directive_at(text, at, comment) {
            match line.name.value.to_ascii_lowercase().as_str() {
                "syntax" => return Some(line.value),
                "check" | "escape" => at = next,
                _ => break,
            }
        }
    }
    if !text[start..].trim_start().starts_with('{') {
        return None;
    }
    let json: serde_json::Value = serde_json::from_str(&text[start..]).ok()?;
    let value = json.get("syntax")?.as_str()?.to_owned();
    Some(Spanned::new(value, Span::new(start, start)))
}
