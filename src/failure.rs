//! How a command ends: kinds of failure, hints, exit codes.
//!
//! Each room has its own error enum; it implements [`Explain`] so that the top needs no list of
//! rooms. `cli` turns a [`Failure`] into text and an [`ExitCode`].

use std::error::Error;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, SourceFile, Span};

/// Whose turn it is to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The input is wrong or what the user asked to run failed: exit code 1.
    User,
    /// The machine, the network or a server cannot do what is needed: exit code 3.
    Environment,
    /// A build was stopped by a signal: exit code 130 (SIGINT) or 143 (SIGTERM).
    Cancelled,
    /// A bug of ours: exit code 70.
    Internal,
}

/// What an error of a room knows about its remedy.
pub trait Explain: Error + Send + Sync + 'static {
    /// Whose turn it is.
    fn kind(&self) -> Kind;

    /// What to do, one line each, imperative; may be empty.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The documented exit codes (see `docs/exit-codes.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Success = 0,
    /// The build failed or the input is wrong; findings of `--check`.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The environment cannot: no user namespaces, no space, registry unreachable.
    Environment = 3,
    /// A bug of ours.
    Internal = 70,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGTERM or SIGHUP.
    Terminated = 143,
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// What the user wrote is wrong; all findings, in order of place.
    Diagnosed(Vec<Diagnostic>),
    /// A room failed.
    Room(Box<dyn Explain>),
    /// A room failed at what a place of the Dockerfile asks for.
    Placed {
        /// The Dockerfile.
        source: Arc<SourceFile>,
        /// The instruction.
        span: Span,
        /// The failure.
        cause: Box<dyn Explain>,
    },
}

impl Failure {
    /// Whose turn it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Diagnosed(_) => Kind::User,
            Self::Room(error) | Self::Placed { cause: error, .. } => error.kind(),
        }
    }

    /// The same at a place, unless it has one already.
    #[must_use]
    pub fn at(self, source: &Arc<SourceFile>, span: Span) -> Self {
        match self {
            Self::Room(cause) => Self::Placed {
                source: Arc::clone(source),
                span,
                cause,
            },
            placed => placed,
        }
    }

    /// The exit code for this failure.
    pub fn exit_code(&self) -> ExitCode {
        match self.kind() {
            Kind::User => ExitCode::Failed,
            Kind::Environment => ExitCode::Environment,
            Kind::Cancelled => ExitCode::Interrupted,
            Kind::Internal => ExitCode::Internal,
        }
    }
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Room(Box::new(error))
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Diagnosed(vec![diagnostic])
    }
}

/// The remedy for an I/O error that users can act on, if there is one.
pub fn io_hints(error: &std::io::Error) -> Vec<String> {
    use std::io::ErrorKind;
    let hint = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space (`builder prune`), or choose another store with --root DIR"
        }
        ErrorKind::ReadOnlyFilesystem => "choose a writable store with --root DIR",
        ErrorKind::PermissionDenied => "check the owner and the mode of the path",
        _ => return Vec::new(),
    };
    vec![hint.to_owned()]
}
