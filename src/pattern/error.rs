//! Why a text is not a pattern.

use crate::failure::{Explain, Kind};

/// Why a text is not a pattern. The sentences are Go's and Docker's where scripts match them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// `filepath.Match` would answer `ErrBadPattern`: an open or empty class, a trailing backslash.
    #[error("syntax error in pattern: `{pattern}`")]
    Syntax {
        /// The pattern as written.
        pattern: String,
    },
    /// A lone `!`.
    #[error("illegal exclusion pattern: \"!\"")]
    IllegalException,
}

impl PatternError {
    /// A syntax error in `pattern`.
    pub(super) fn syntax(pattern: &[u8]) -> Self {
        Self::Syntax {
            pattern: String::from_utf8_lossy(pattern).into_owned(),
        }
    }
}

impl Explain for PatternError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Syntax { .. } => {
                "close every `[` with `]`, and write `\\[` or `\\\\` for the character itself"
            }
            Self::IllegalException => "write a pattern after `!`, or remove the line",
        };
        vec![hint.to_owned()]
    }
}
