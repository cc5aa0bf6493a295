//! Words to text: the one place of this room that expands, and that makes diagnostics with a place.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span};
use crate::parser::ast::{Dockerfile, Heredoc, Word};
use crate::parser::expand::{self, Env, ExpandError};

/// Expands words of one file and names places in it.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    source: Arc<SourceFile>,
    escape: char,
}

impl Words {
    /// Words of a file, or of an ONBUILD trigger.
    pub(crate) fn of(file: &Dockerfile) -> Self {
        Self {
            source: Arc::clone(&file.source),
            escape: file.escape(),
        }
    }

    /// One word, which stays one whatever is in it.
    pub(crate) fn word(&self, word: &Word, env: &dyn Env) -> Result<String, Diagnostic> {
        if !word.raw.contains(['$', '"', '\'', self.escape]) {
            return Ok(word.raw.clone());
        }
        let expanded = expand::process_word(&word.raw, self.escape, env);
        Ok(expanded.map_err(|error| self.failed(&error, word))?.value)
    }

    /// One word that may become several.
    pub(crate) fn words(&self, word: &Word, env: &dyn Env) -> Result<Vec<String>, Diagnostic> {
        let expanded = expand::process_words(&word.raw, self.escape, env);
        Ok(expanded.map_err(|error| self.failed(&error, word))?.value)
    }

    /// The content of a heredoc that becomes a file: expanded unless its delimiter was quoted.
    pub(crate) fn body(&self, heredoc: &Heredoc, env: &dyn Env) -> Result<String, Diagnostic> {
        if !heredoc.expand {
            return Ok(heredoc.body.clone());
        }
        let expanded = expand::process_heredoc(&heredoc.body, env);
        let expanded =
            expanded.map_err(|error| self.error("expansion", heredoc.span, error.to_string()))?;
        Ok(expanded.value)
    }

    fn failed(&self, error: &ExpandError, word: &Word) -> Diagnostic {
        error.diagnostic(&self.source, word)
    }

    /// An error at a place.
    pub(crate) fn error(
        &self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::error(code, &self.source, span, message)
    }

    /// A warning at a place.
    pub(crate) fn warning(
        &self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::warning(code, &self.source, span, message)
    }

    /// `Dockerfile:3`
    pub(crate) fn place(&self, span: Span) -> String {
        let line = self.source.line_column(span.start).0;
        format!("{}:{line}", self.source.name)
    }
}
