//! Why a text is no output, and what was meant.

use crate::failure::{Explain, Kind};

/// Why a text is no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutputSpecError {
    /// A quote is not closed, or something follows it.
    #[error("output `{text}` is not a list of key=value separated by commas")]
    Csv {
        /// The text.
        text: String,
    },
    /// No `type`.
    #[error(
        "output `{text}` has no type: write type=local|tar|oci|docker|image|registry|cacheonly"
    )]
    NoType {
        /// The text.
        text: String,
    },
    /// A type that does not exist.
    #[error("output type `{kind}` is not known")]
    Type {
        /// What was written.
        kind: String,
        /// The nearest that exists.
        nearest: Option<&'static str>,
    },
    /// A key that the type does not have.
    #[error("output type `{kind}` has no attribute `{key}`")]
    Key {
        /// The type.
        kind: String,
        /// What was written.
        key: String,
        /// The nearest that exists.
        nearest: Option<&'static str>,
    },
    /// A key that others have and this program has not (yet).
    #[error("output attribute `{key}={value}` is not supported")]
    Unsupported {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A value that the key does not take.
    #[error("output attribute `{key}` cannot be `{value}`: it is {expected}")]
    Value {
        /// The key.
        key: String,
        /// What was written.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// `local` without `dest`.
    #[error("output type `{kind}` needs dest=PATH")]
    NoDest {
        /// The type.
        kind: &'static str,
    },
}

impl Explain for OutputSpecError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Type { nearest, .. } | Self::Key { nearest, .. } => {
                let hint = |nearest| format!("did you mean `{nearest}`?");
                nearest.map(hint).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}
