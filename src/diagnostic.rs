//! Source text, places in it, and what is to be said about them.
//!
//! A [`Diagnostic`] is data; `ui::render` draws it. What the user wrote is diagnosed, not thrown.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A text that the user wrote: the Dockerfile, a `.dockerignore`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The name shown in messages, as the user would type it: `Dockerfile`, `docker/app.Dockerfile`.
    pub name: String,
    /// The whole text, exactly as read (byte order mark and CRLF included).
    pub text: String,
}

impl SourceFile {
    /// Makes a shared source file.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            text: text.into(),
        })
    }

    /// The line (from 1) and the column in characters (from 1) of a byte offset.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let before = &self.text[..offset];
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |text| text.chars().count())
            + 1;
        (line, column)
    }
}

/// A range of bytes of a [`SourceFile`]; it indexes the original text also after continuations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// The span of `start..end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest span that covers both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }

    /// The span as a range for slicing.
    pub const fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Pairs a value with its place.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// Nothing will be built.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One thing to say about one place of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable name: `unknown-instruction` for errors of ours, `StageNameCasing` for BuildKit's
    /// checks.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// The text that the spans index.
    pub source: Arc<SourceFile>,
    /// The place; empty spans point between two characters.
    pub span: Span,
    /// One sentence, lower case, no final period. BuildKit's words where scripts match them.
    pub message: String,
    /// What to do, one line: "did you mean `COPY`?".
    pub help: Option<String>,
    /// The page that documents a check.
    pub url: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(
        code: &'static str,
        source: &Arc<SourceFile>,
        span: Span,
        message: impl Into<String>,
    ) -> Self {
        let (source, message) = (Arc::clone(source), message.into());
        Self {
            code,
            severity: Severity::Error,
            source,
            span,
            message,
            help: None,
            url: None,
        }
    }

    /// A warning at a place.
    pub fn warning(
        code: &'static str,
        source: &Arc<SourceFile>,
        span: Span,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, source, span, message)
        }
    }

    /// The same with a line of help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The line of the place, from 1.
    pub fn line(&self) -> usize {
        self.source.line_column(self.span.start).0
    }
}

/// The candidate nearest to `word` by edit distance, if it is near enough to be meant (at most a
/// third of the word's letters differ, two in a short word as in git, one in a word of less than
/// three; case does not count).
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let letters = lower.chars().count();
    let limit = (letters / 3).max(if letters < 3 { 1 } else { 2 });
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance in characters.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let file = SourceFile::new("Dockerfile", "FROM a\nRUN é x\n");
        assert_eq!(file.line_column(0), (1, 1));
        assert_eq!(file.line_column(7), (2, 1));
        assert_eq!(file.line_column(13), (2, 6));
        assert_eq!(file.line_column(999), (3, 1));
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        let words = ["COPY", "RUN", "WORKDIR"];
        assert_eq!(suggest("COPPY", words), Some("COPY"));
        assert_eq!(suggest("wrokdir", words), Some("WORKDIR"));
        assert_eq!(suggest("BANANA", words), None);
    }
}
