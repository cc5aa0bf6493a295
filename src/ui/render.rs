//! Draws diagnostics the way rustc does, and failures with their causes and remedies.

use std::error::Error;
use std::io::{self, Write};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use anstyle::{AnsiColor, Effects};

use crate::diagnostic::{Diagnostic, Severity, SourceFile, Span};
use crate::failure::{Explain, Failure, Kind};

use super::text;

/// Findings drawn in full; of more only the number is told.
const DIAGNOSTICS_MAX: usize = 20;
/// Lines of source drawn of one place.
const LINES_MAX: usize = 12;
/// Bytes of one source line that are looked at.
const LINE_BYTES_MAX: usize = 2_000;
/// Causes told of one failure.
const CAUSES_MAX: usize = 16;

/// How text may look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether colours are allowed. Meaning is never in colour alone.
    pub color: bool,
    /// Columns of the terminal, if it is one.
    pub width: Option<usize>,
}

impl Style {
    /// The text in bold red, if colours are allowed.
    fn error(self, text: &str) -> String {
        if self.color {
            let style = AnsiColor::Red.on_default().effects(Effects::BOLD);
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// Draws findings in the order given; after twenty it tells only how many there are.
pub fn diagnostics(list: &[Diagnostic], style: Style, out: &mut dyn Write) -> io::Result<()> {
    for diagnostic in list.iter().take(DIAGNOSTICS_MAX) {
        writeln!(out, "{}", draw(diagnostic, style))?;
    }
    match list.len().saturating_sub(DIAGNOSTICS_MAX) {
        0 => Ok(()),
        more => writeln!(out, "... and {more} more"),
    }
}

/// One finding with its excerpt, without the final newline.
fn draw(diagnostic: &Diagnostic, style: Style) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let excerpt = Excerpt::of(diagnostic);
    let label = diagnostic
        .help
        .as_ref()
        .map(|help| format!("help: {}", text::clean_name(help)));
    let annotation = AnnotationKind::Primary
        .span(excerpt.start..excerpt.end)
        .label(label);
    let name = text::clean_name(&diagnostic.source.name);
    let snippet = Snippet::source(excerpt.text)
        .line_start(excerpt.line)
        .path(name)
        .fold(false)
        .annotation(annotation);
    let mut group = level
        .primary_title(text::clean_name(&diagnostic.message))
        .id(diagnostic.code)
        .element(snippet);
    if let Some(url) = &diagnostic.url {
        group = group.element(Level::NOTE.message(format!("see {url}")));
    }
    let renderer = if style.color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let renderer = renderer.term_width(style.width.unwrap_or(140).max(40));
    renderer.render(&[group])
}

/// The lines of a place, safe to print and bounded, and the place inside them.
struct Excerpt {
    text: String,
    line: usize,
    start: usize,
    end: usize,
}

impl Excerpt {
    fn of(diagnostic: &Diagnostic) -> Self {
        let source = &diagnostic.source.text;
        let bound = |offset: usize| source.floor_char_boundary(offset.min(source.len()));
        let start = bound(diagnostic.span.start);
        let end = bound(diagnostic.span.end).max(start);
        let first = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let mut excerpt = Self {
            text: String::new(),
            line: diagnostic.source.line_column(start).0,
            start: 0,
            end: 0,
        };
        let mut offset = first;
        for (index, line) in source[first..].split_inclusive('\n').enumerate() {
            if index > 0 && (offset >= end || index >= LINES_MAX) {
                break;
            }
            excerpt.add(line, offset, (start, end));
            offset += line.len();
        }
        if offset < end {
            excerpt.end = excerpt.text.len();
        }
        excerpt
    }

    /// Adds one line, found at `offset` in the source, and moves the ends of the place with it.
    /// Hidden characters become `?`; of an overlong line only the surroundings of the start stay.
    fn add(&mut self, line: &str, offset: usize, (start, end): (usize, usize)) {
        let content = line.trim_end_matches(['\n', '\r']);
        let near = start.saturating_sub(offset).min(content.len());
        let from = if content.len() > LINE_BYTES_MAX {
            content.floor_char_boundary(near.saturating_sub(LINE_BYTES_MAX / 4))
        } else {
            0
        };
        let to = content.floor_char_boundary((from + LINE_BYTES_MAX).min(content.len()));
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        for (at, character) in content[from..to].char_indices() {
            let at = offset + from + at;
            if at <= start {
                self.start = self.text.len();
            }
            if at <= end {
                self.end = self.text.len();
            }
            let visible = character == '\t'
                || !text::clean(
                    character.encode_utf8(&mut [0; 4]).as_bytes(),
                    text::Colors::Strip,
                )
                .is_empty();
            self.text.push(if visible { character } else { '?' });
        }
        if offset + to <= start {
            self.start = self.text.len();
        }
        if offset + to <= end {
            self.end = self.text.len();
        }
    }
}

/// A finding on one line, in the words of buildx: `FromAsCasing: … (line 1)`.
pub fn check_line(diagnostic: &Diagnostic) -> String {
    let message = text::clean_name(&diagnostic.message);
    format!(
        "{}: {message} (line {})",
        diagnostic.code,
        diagnostic.line()
    )
}

/// The summary of a build's warnings, in the words of buildx; in full under `--debug`.
pub fn warnings(
    list: &[Diagnostic],
    style: Style,
    full: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    let plural = if list.len() == 1 { "" } else { "s" };
    let more = if full { "" } else { " (use --debug to expand)" };
    writeln!(out, "\n {} warning{plural} found{more}:", list.len())?;
    if full {
        return diagnostics(list, style, out);
    }
    for diagnostic in list {
        writeln!(out, " - {}", check_line(diagnostic))?;
    }
    Ok(())
}

/// Tells why a command failed: findings with excerpts, one `ERROR:` line that starts with
/// `prefix` (`failed to build: failed to solve: `, or nothing), causes, and hints.
pub fn failure(
    failure: &Failure,
    prefix: &str,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let label = style.error("ERROR:");
    match failure {
        Failure::Diagnosed(list) => {
            diagnostics(list, style, out)?;
            let errors: Vec<_> = list
                .iter()
                .filter(|diagnostic| diagnostic.severity == Severity::Error)
                .collect();
            let Some(first) = errors.first().copied().or(list.first()) else {
                return writeln!(out, "{label} {prefix}nothing to build");
            };
            let message = text::clean_name(&first.message);
            match errors.len() {
                0 | 1 => writeln!(out, "{label} {prefix}{message}"),
                2 => writeln!(out, "{label} {prefix}{message} (and 1 more error)"),
                count => writeln!(
                    out,
                    "{label} {prefix}{message} (and {} more errors)",
                    count - 1
                ),
            }
        }
        Failure::Room(error) => explain(error.as_ref(), prefix, style, out),
        Failure::Placed {
            source,
            span,
            cause,
        } => {
            excerpt(source, *span, out)?;
            explain(cause.as_ref(), prefix, style, out)
        }
    }
}

/// Shows an instruction with the lines around it, the way BuildKit does.
pub fn excerpt(source: &SourceFile, span: Span, out: &mut dyn Write) -> io::Result<()> {
    const RULE: &str = "--------------------";
    const PADDING: usize = 4;
    let lines: Vec<&str> = source.text.lines().collect();
    let first = source.line_column(span.start).0;
    let last = source
        .line_column(span.end.saturating_sub(1).max(span.start))
        .0;
    let (mut start, mut end, mut padding) = (first, last.min(lines.len()), 0);
    while padding < PADDING {
        if start > 1 {
            start -= 1;
            padding += 1;
        }
        if end < lines.len() {
            end += 1;
            padding += 1;
        }
        padding += 1;
    }
    writeln!(out, "{}:{first}\n{RULE}", source.name)?;
    for number in start..=end {
        let Some(line) = lines.get(number - 1) else {
            break;
        };
        let mark = if (first..=last).contains(&number) {
            ">>>"
        } else {
            "   "
        };
        let line = text::clean_name(line);
        writeln!(out, "{}", format!(" {number:3} | {mark} {line}").trim_end())?;
    }
    writeln!(out, "{RULE}")
}

/// Tells why a command failed before it became a [`Failure`].
pub fn error(error: &dyn Explain, style: Style, out: &mut dyn Write) -> io::Result<()> {
    explain(error, "", style, out)
}

fn explain(error: &dyn Explain, prefix: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let message = text::clean_name(&error.to_string());
    writeln!(out, "{} {prefix}{message}", style.error("ERROR:"))?;
    causes(error.source(), out)?;
    let mut all = error.hints();
    if error.kind() == Kind::Internal {
        all.push(
            "this is a bug in builder; please report it with the command and this text".into(),
        );
    }
    hints(&all, out)
}

/// The chain of causes, the nearest first.
fn causes(first: Option<&(dyn Error + 'static)>, out: &mut dyn Write) -> io::Result<()> {
    let chain = std::iter::successors(first, |&error| error.source());
    for (index, cause) in chain.take(CAUSES_MAX).enumerate() {
        if index == 0 {
            writeln!(out, "Caused by:")?;
        }
        for line in cause.to_string().lines() {
            writeln!(out, "  {}", text::clean_name(line))?;
        }
    }
    Ok(())
}

/// Remedies after a blank line, each once.
fn hints(list: &[String], out: &mut dyn Write) -> io::Result<()> {
    let mut told: Vec<&String> = Vec::new();
    for hint in list {
        if told.is_empty() {
            writeln!(out)?;
        }
        if !told.contains(&hint) {
            writeln!(out, "hint: {}", text::clean_name(hint))?;
            told.push(hint);
        }
    }
    Ok(())
}
