//! Words to text: the one place of this room that expands, and that makes diagnostics with a place.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span};
use crate::parser::ast::{Dockerfile, Heredoc, Word};
use crate::parser::expand::{self, Env, ExpandError};

/// Bytes of text that one plan may come to by expansion and inheritance. Honest files stay far
/// below; `ENV A=$A$A` doubles with every line, and a thousand stages may inherit it.
const BUDGET: usize = 64 << 20;

/// Expands words of one file and names places in it.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    source: Arc<SourceFile>,
    escape: char,
    /// Bytes spent so far, shared by all words of a plan.
    spent: Rc<Cell<usize>>,
}

impl Words {
    /// Words of a file.
    pub(crate) fn of(file: &Dockerfile) -> Self {
        Self {
            source: Arc::clone(&file.source),
            escape: file.escape(),
            spent: Rc::default(),
        }
    }

    /// Words of an ONBUILD trigger of an image; they share the budget of `self`.
    pub(crate) fn of_trigger(&self, trigger: &Dockerfile) -> Self {
        Self {
            spent: Rc::clone(&self.spent),
            ..Self::of(trigger)
        }
    }

    /// Accounts for `bytes` of text that the plan has to hold because of what stands at `span`.
    pub(crate) fn spend(&self, bytes: usize, span: Span) -> Result<(), Diagnostic> {
        let spent = self.spent.get().saturating_add(bytes);
        self.spent.set(spent);
        if spent <= BUDGET {
            return Ok(());
        }
        let limit = BUDGET >> 20;
        let message = format!("this file expands to more than {limit} MiB of text");
        let error = self.error("too-much-text", span, message);
        Err(error.help("look for a variable that contains itself several times"))
    }

    /// One word, which stays one whatever is in it.
    pub(crate) fn word(&self, word: &Word, env: &dyn Env) -> Result<String, Diagnostic> {
        if !word.raw.contains(['$', '"', '\'', self.escape]) {
            return Ok(word.raw.clone());
        }
        let expanded = expand::process_word(&word.raw, self.escape, env);
        let text = expanded.map_err(|error| self.failed(&error, word))?.value;
        self.spend(text.len(), word.span)?;
        Ok(text)
    }

    /// One word that may become several.
    pub(crate) fn words(&self, word: &Word, env: &dyn Env) -> Result<Vec<String>, Diagnostic> {
        let expanded = expand::process_words(&word.raw, self.escape, env);
        let texts = expanded.map_err(|error| self.failed(&error, word))?.value;
        self.spend(texts.iter().map(String::len).sum(), word.span)?;
        Ok(texts)
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

    /// `Dockerfile:3`
    pub(crate) fn place(&self, span: Span) -> String {
        let line = self.source.line_column(span.start).0;
        format!("{}:{line}", self.source.name)
    }
}
