//! Why a word cannot be expanded.

use std::ops::Range;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span};
use crate::failure::{Explain, Kind};
use crate::parser::ast::Word;

/// What is wrong, in BuildKit's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// `'` without its partner.
    #[error("unexpected end of statement while looking for matching single-quote")]
    SingleQuote,
    /// `"` without its partner.
    #[error("unexpected end of statement while looking for matching double-quote")]
    DoubleQuote,
    /// `${` without `}`.
    #[error("syntax error: missing '}}'")]
    Brace,
    /// `${v/p` without its second slash.
    #[error("syntax error: missing '/' in ${{}}")]
    Slash,
    /// `${}`, `${:…}`, `${{…}`.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${v=…}` and other forms that do not exist here.
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    /// `${v:?message}` of a variable that is not there.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message after `?`, or a stock one.
        message: String,
    },
    /// A backslash in a pattern before something that needs none.
    #[error("invalid pattern ({pattern}) in substitution: invalid escape '\\{letter}'")]
    PatternEscape {
        /// The pattern.
        pattern: String,
        /// What stood behind the backslash.
        letter: char,
    },
    /// A pattern too complicated to be compiled.
    #[error("invalid pattern ({0}) in substitution: too long")]
    PatternSize(String),
    /// The word grows beyond [`super::GROWTH`].
    #[error("the result is longer than {} bytes", super::GROWTH)]
    TooLong,
    /// Braces nest deeper than [`super::DEPTH`].
    #[error("substitutions nest deeper than {}", super::DEPTH)]
    TooDeep,
}

/// A word that cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {raw:?}: {problem}")]
pub struct ExpandError {
    /// The raw word, its beginning if it is long.
    pub raw: String,
    /// What is wrong.
    #[source]
    pub problem: Problem,
    /// Which bytes of the raw word it is about.
    pub range: Range<usize>,
}

/// How much of a word is repeated in a message.
const SHOWN: usize = 200;

impl ExpandError {
    /// An error about `range` of `raw`.
    pub(super) fn new(raw: &str, problem: Problem, range: Range<usize>) -> Self {
        let mut shown = raw[..raw.floor_char_boundary(SHOWN)].to_owned();
        if shown.len() < raw.len() {
            shown.push('…');
        }
        Self {
            raw: shown,
            problem,
            range,
        }
    }

    /// The place in the file: the part of the word if it was written in one piece, else the word.
    pub fn span_in(&self, word: &Word) -> Span {
        if word.raw.len() != word.span.end.saturating_sub(word.span.start) {
            return word.span;
        }
        Span::new(
            word.span.start + self.range.start,
            word.span.start + self.range.end,
        )
    }

    /// The same as a diagnostic about a word of a file.
    pub fn diagnostic(&self, source: &Arc<SourceFile>, word: &Word) -> Diagnostic {
        let mut diagnostic =
            Diagnostic::error("expansion", source, self.span_in(word), self.to_string());
        diagnostic.help = self.hints().into_iter().next();
        diagnostic
    }
}

impl Explain for ExpandError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn hints(&self) -> Vec<String> {
        let hint = match &self.problem {
            Problem::SingleQuote | Problem::DoubleQuote => {
                "close the quote, or put the escape character before it"
            }
            Problem::Brace => "close the brace, or write `\\$` for a dollar sign",
            Problem::Slash => "write both slashes: `${v/pattern/replacement}`",
            Problem::BadSubstitution => "name a variable, or write `\\$` for a dollar sign",
            Problem::Modifier(_) => {
                "these forms exist: ${v:-w} ${v:+w} ${v:?w} ${v#p} ${v##p} ${v%p} ${v%%p} ${v/p/r} ${v//p/r}"
            }
            Problem::Required { .. } => "set it with ARG, ENV or --build-arg",
            Problem::PatternEscape { .. } => "only `*`, `?`, `\\`, `/` and `}` can be escaped",
            Problem::PatternSize(_) | Problem::TooLong | Problem::TooDeep => "make it shorter",
        };
        vec![hint.to_owned()]
    }
}
