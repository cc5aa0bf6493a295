//! Why a COPY or ADD is impossible. The words are BuildKit's where scripts match them.

use std::io;

use crate::failure::{Explain, Kind};
use crate::pattern::PatternError;
use crate::tree::{OwnerError, ResolveError, TreePath};

/// Why a COPY or ADD is impossible.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A source does not exist.
    #[error(
        "failed to compute cache key: failed to calculate checksum of ref: \"{path}\": not found"
    )]
    NotFound {
        /// The source, from its root.
        path: String,
        /// How the search ended.
        #[source]
        source: ResolveError,
    },
    /// A pattern is no pattern.
    #[error("invalid pattern `{pattern}`")]
    Pattern {
        /// As written.
        pattern: String,
        /// Why not.
        #[source]
        source: PatternError,
    },
    /// The destination cannot be resolved.
    #[error("failed to resolve the destination `{path}`")]
    Destination {
        /// As written.
        path: String,
        /// Why not.
        #[source]
        source: ResolveError,
    },
    /// `--chown` cannot be resolved.
    #[error("failed to resolve --chown={owner}")]
    Owner {
        /// As written.
        owner: String,
        /// Why not.
        #[source]
        source: OwnerError,
    },
    /// A directory is to be made where something else is.
    #[error("cannot copy to non-directory: {path}")]
    NotADirectory {
        /// Where.
        path: TreePath,
    },
    /// A file is to be put where a directory is.
    #[error("cannot replace to directory {path} with file")]
    ReplacesDirectory {
        /// Where.
        path: TreePath,
    },
    /// A file of a name that no layer can hold.
    #[error("`{path}` has a name that is reserved for deletions in layers (`.wh.`)")]
    ReservedName {
        /// Where.
        path: TreePath,
    },
    /// A source could not be read.
    #[error("failed to read `{path}`")]
    Read {
        /// Which.
        path: TreePath,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An archive of ADD is damaged.
    #[error("failed to extract `{path}`")]
    Archive {
        /// Which.
        path: TreePath,
        /// Why not.
        #[source]
        source: crate::layer::LayerError,
    },
    /// A scratch file could not be made.
    #[error("failed to make a temporary file in the store")]
    Scratch {
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Explain for CopyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Scratch { .. } => Kind::Environment,
            _ => Kind::User,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NotFound { path, .. } => format!(
                "check that `{}` exists in the source and is not excluded by .dockerignore",
                path.trim_start_matches('/')
            ),
            Self::ReservedName { .. } => {
                "rename the file, or leave it out: image layers cannot hold it".to_owned()
            }
            Self::Owner { .. } => {
                "use numbers, or create the user in an earlier step; --link has no users".to_owned()
            }
            Self::Archive { source, .. } => return source.hints(),
            Self::Scratch { source } => return crate::failure::io_hints(source),
            _ => return Vec::new(),
        };
        vec![hint]
    }
}
