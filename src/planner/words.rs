//! Words to text: the one place of this room that expands, and that makes diagnostics with a place.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span};
use crate::parser::ast::{Heredoc, Word};

/// Where a word's variables are looked up.
pub(crate) trait Variables {
    /// The value of a variable; `None` if it is not set.
    fn value(&self, name: &str) -> Option<&str>;
}

/// No variable at all.
pub(crate) struct NoVariables;

impl Variables for NoVariables {
    fn value(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// Expands words of one file and names places in it.
#[derive(Clone, Debug)]
pub(crate) struct Words<'a> {
    source: &'a Arc<SourceFile>,
    escape: char,
    /// Where everything is said to be: for ONBUILD triggers of an image, which stand in no file.
    pinned: Option<Span>,
}

impl<'a> Words<'a> {
    /// Words of a file whose escape character is `escape`.
    pub(crate) fn new(source: &'a Arc<SourceFile>, escape: char) -> Self {
        Self {
            source,
            escape,
            pinned: None,
        }
    }

    /// The same, but every place is `span`.
    pub(crate) fn pinned(&self, span: Span) -> Self {
        Self {
            pinned: Some(span),
            ..self.clone()
        }
    }

    /// An error at a place.
    pub(crate) fn error(
        &self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::error(code, self.source, self.pinned.unwrap_or(span), message)
    }

    /// A warning at a place.
    pub(crate) fn warning(
        &self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::warning(code, self.source, self.pinned.unwrap_or(span), message)
    }

    /// `Dockerfile:3`
    pub(crate) fn place(&self, span: Span) -> String {
        let span = self.pinned.unwrap_or(span);
        format!("{}:{}", self.source.name, self.source.line_column(span.start).0)
    }
}
