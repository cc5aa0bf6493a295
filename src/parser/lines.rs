//! The line pass: physical lines in, logical lines and here-document bodies out.
//!
//! It knows comments, continuations and the ends of here-documents, and nothing of instructions.
//! Each logical line carries a map from offsets in its joined text to offsets in the file.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span, Spanned};

use super::heredoc::Marker;
use super::limit;
use super::problem;

/// One instruction's text, continuations joined and comments dropped, without here-documents.
#[derive(Debug)]
pub(super) struct Logical {
    /// The escape character, then the text, without blanks at its ends.
    text: String,
    /// `(offset in text, offset in the file)` of each piece, ascending in both.
    pieces: Vec<(usize, usize)>,
    /// The comment lines directly above.
    pub(super) comments: Vec<Spanned<String>>,
    /// The first blank line inside a continuation.
    pub(super) empty_continuation: Option<Span>,
}

impl Logical {
    /// The text as the grammar takes it: with the escape character before it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The text as the user sees it.
    pub(super) fn shown(&self) -> &str {
        &self.text[1..]
    }

    /// The place of `start..end` of [`Self::text`], from its first to its last byte.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        let first = self.original(start);
        if end <= start {
            return Span::new(first, first);
        }
        let last = self.text.floor_char_boundary(end - 1);
        Span::new(first, self.original(last) + (end - last))
    }

    /// The place of the whole text.
    pub(super) fn whole(&self) -> Span {
        self.span(1, self.text.len())
    }

    fn original(&self, offset: usize) -> usize {
        let after = self.pieces.partition_point(|(joined, _)| *joined <= offset);
        match self.pieces.get(after.saturating_sub(1)) {
            Some((joined, original)) => original + offset.saturating_sub(*joined),
            None => offset,
        }
    }

    /// Removes blanks from both ends of the joined text.
    fn trim(&mut self) {
        self.text.truncate(self.text.trim_end().len());
        let shown = &self.text[1..];
        let blanks = shown.len() - shown.trim_start().len();
        if blanks > 0 {
            let first = self.original(1 + blanks);
            self.text.drain(1..=blanks);
            self.pieces.retain_mut(|(joined, _)| {
                *joined = joined.saturating_sub(blanks);
                *joined > 1
            });
            self.pieces.insert(0, (1, first));
        }
    }

    fn push(&mut self, piece: &str, original: usize) {
        if !piece.is_empty() {
            self.pieces.push((self.text.len(), original));
            self.text.push_str(piece);
        }
    }
}

/// The body of a here-document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body {
    /// The lines up to the terminator.
    pub(super) lines: Span,
    /// The lines and the terminator.
    pub(super) all: Span,
    /// Whether the terminator was there.
    pub(super) terminated: bool,
}

/// Walks over the physical lines of a file.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    source: &'a Arc<SourceFile>,
    escape: char,
    at: usize,
    broken: bool,
}

impl<'a> Lines<'a> {
    /// Starts at `at`, behind the directives.
    pub(super) fn new(source: &'a Arc<SourceFile>, escape: char, at: usize) -> Self {
        Self {
            source,
            escape,
            at,
            broken: false,
        }
    }

    /// The next physical line with its offset, without its line end; `None` at the end of the file.
    fn physical(&mut self, problems: &mut Vec<Diagnostic>) -> Option<(usize, &'a str)> {
        let rest = self.source.text.get(self.at..)?;
        if rest.is_empty() || self.broken {
            return None;
        }
        let end = rest.find('\n').unwrap_or(rest.len());
        let start = self.at;
        if end > limit::PHYSICAL_LINE_BYTES {
            self.broken = true;
            problems.push(problem::line_too_long(self.source, start, start + end));
            return None;
        }
        self.at = start + (end + 1).min(rest.len());
        Some((start, rest[..end].trim_end_matches('\r')))
    }

    /// The next logical line; `None` at the end of the file.
    pub(super) fn logical(&mut self, problems: &mut Vec<Diagnostic>) -> Option<Logical> {
        let mut comments = Vec::new();
        loop {
            let (start, raw) = self.physical(problems)?;
            let line = raw.trim_start();
            let start = start + (raw.len() - line.len());
            if let Some(comment) = line.strip_prefix('#') {
                comments.push(comment_text(comment, start + 1));
                continue;
            }
            let (piece, goes_on) = self.without_continuation(line);
            if piece.is_empty() && !goes_on {
                comments.clear();
                continue;
            }
            let mut logical = Logical {
                text: self.escape.to_string(),
                pieces: Vec::new(),
                comments: std::mem::take(&mut comments),
                empty_continuation: None,
            };
            logical.push(piece, start);
            if goes_on {
                self.join(&mut logical, problems);
            }
            logical.trim();
            if logical.shown().is_empty() {
                continue;
            }
            return Some(logical);
        }
    }

    /// Appends the lines that continue `logical`.
    fn join(&mut self, logical: &mut Logical, problems: &mut Vec<Diagnostic>) {
        while let Some((start, line)) = self.physical(problems) {
            let trimmed = line.trim_start();
            if trimmed.starts_with('#') {
                continue;
            }
            if trimmed.is_empty() {
                let place = Span::new(start, start + line.len());
                logical.empty_continuation.get_or_insert(place);
                continue;
            }
            let (piece, goes_on) = self.without_continuation(line);
            logical.push(piece, start);
            if logical.text.len() > limit::INSTRUCTION_BYTES {
                self.broken = true;
                problems.push(problem::instruction_too_long(self.source, logical.whole()));
                return;
            }
            if !goes_on {
                return;
            }
        }
    }

    /// Splits off a continuation: the escape character, not itself escaped, then blanks to the end.
    fn without_continuation<'t>(&self, line: &'t str) -> (&'t str, bool) {
        match line.trim_end_matches([' ', '\t']).strip_suffix(self.escape) {
            Some(piece) if !piece.ends_with(self.escape) => (piece, true),
            _ => (line, false),
        }
    }

    /// Reads the body that belongs to a marker, starting at the current line.
    pub(super) fn body(&mut self, marker: &Marker, problems: &mut Vec<Diagnostic>) -> Body {
        let start = self.at;
        while let Some((offset, line)) = self.physical(problems) {
            let candidate = if marker.chomp {
                line.trim_start_matches('\t')
            } else {
                line
            };
            if candidate == marker.name {
                return Body {
                    lines: Span::new(start, offset),
                    all: Span::new(start, offset + line.len()),
                    terminated: true,
                };
            }
        }
        Body {
            lines: Span::new(start, self.at),
            all: Span::new(start, self.at),
            terminated: false,
        }
    }
}

/// A comment's text without blanks around it; `start` is the offset behind its `#`.
fn comment_text(comment: &str, start: usize) -> Spanned<String> {
    let text = comment.trim_start();
    let start = start + (comment.len() - text.len());
    let text = text.trim_end();
    Spanned::new(text.to_owned(), Span::new(start, start + text.len()))
}
