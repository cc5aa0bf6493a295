//! Every error that parsing can report, in BuildKit's words where it has some.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span, suggest};

use super::limit;

/// The instructions, for suggestions.
pub(super) const INSTRUCTIONS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// The result of reading one thing: it, or the one error that stands for it.
pub(super) type Parsed<T> = Result<T, Wrong>;

/// The diagnostic of an instruction that is wrong; boxed, because results are passed a lot.
#[derive(Debug)]
pub(super) struct Wrong(Box<Diagnostic>);

impl Wrong {
    /// The diagnostic.
    pub(super) fn diagnostic(self) -> Diagnostic {
        *self.0
    }
}

impl From<Diagnostic> for Wrong {
    fn from(problem: Diagnostic) -> Self {
        Self(Box::new(problem))
    }
}

/// Makes the diagnostics of one file.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    source: &'a Arc<SourceFile>,
}

impl<'a> Problems<'a> {
    /// For the file `source`.
    pub(super) fn new(source: &'a Arc<SourceFile>) -> Self {
        Self { source }
    }

    /// An error that needs no more than its words.
    pub(super) fn error(
        &self,
        code: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Wrong {
        Wrong(Box::new(Diagnostic::error(
            code,
            self.source,
            span,
            message,
        )))
    }

    /// An error with its remedy.
    pub(super) fn error_with_help(
        &self,
        (code, span): (&'static str, Span),
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Wrong {
        Wrong(Box::new(
            Diagnostic::error(code, self.source, span, message).help(help),
        ))
    }

    /// An error about a word that is none of `known`; suggests the nearest.
    pub(super) fn unknown(
        &self,
        (code, span): (&'static str, Span),
        message: String,
        word: &str,
        known: &[&'static str],
    ) -> Wrong {
        let help = match suggest(word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "this instruction has no flags".to_owned(),
            None => format!("use one of {}", known.join(", ")),
        };
        Wrong(Box::new(
            Diagnostic::error(code, self.source, span, message).help(help),
        ))
    }

    /// `X requires …`.
    pub(super) fn arguments(&self, span: Span, message: impl Into<String>) -> Wrong {
        self.error("wrong-arguments", span, message)
    }

    /// No instruction has this name.
    pub(super) fn unknown_instruction(&self, span: Span, keyword: &str) -> Wrong {
        let message = format!("unknown instruction: {keyword}");
        match suggest(keyword, INSTRUCTIONS) {
            Some(near) => self.error_with_help(
                ("unknown-instruction", span),
                message,
                format!("did you mean `{near}`?"),
            ),
            None => self.error_with_help(
                ("unknown-instruction", span),
                message,
                "an instruction that goes on needs a `\\` at the end of the line before",
            ),
        }
    }

    /// A here-document without an end.
    pub(super) fn unterminated_heredoc(&self, marker: Span, name: &str) -> Wrong {
        self.error_with_help(
            ("unterminated-heredoc", marker),
            "unterminated heredoc",
            format!("end it with a line that is exactly `{name}`"),
        )
    }
}

/// A physical line that is too long.
pub(super) fn line_too_long(source: &Arc<SourceFile>, start: usize, end: usize) -> Diagnostic {
    let message = format!(
        "dockerfile line greater than max allowed size of {}",
        limit::PHYSICAL_LINE_BYTES
    );
    let end = source.text.floor_char_boundary(end.min(start + 80));
    Diagnostic::error("line-too-long", source, Span::new(start, end), message)
        .help("split it into continued lines, or COPY the data from a file")
}

/// An instruction that is too long.
pub(super) fn instruction_too_long(source: &Arc<SourceFile>, span: Span) -> Diagnostic {
    let message = format!("instruction longer than {} bytes", limit::INSTRUCTION_BYTES);
    Diagnostic::error("instruction-too-long", source, span, message)
        .help("move the text into a file of the context, or into a here-document")
}

/// A file with too many of something.
pub(super) fn too_many(source: &Arc<SourceFile>, span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(
        "dockerfile-too-large",
        source,
        span,
        format!("too many {what}"),
    )
    .help("split the file into several Dockerfiles")
}

/// A file that is too large as a whole.
pub(super) fn file_too_large(source: &Arc<SourceFile>, bytes: usize) -> Diagnostic {
    let message = format!(
        "the Dockerfile has {bytes} bytes, more than the limit of {}",
        limit::FILE_BYTES
    );
    Diagnostic::error("dockerfile-too-large", source, Span::default(), message)
        .help("check that `-f` names a Dockerfile")
}
