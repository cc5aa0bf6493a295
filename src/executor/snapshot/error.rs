//! What can go wrong with snapshots.

use std::io;
use std::path::PathBuf;

use crate::failure::{Explain, Kind, io_hints};
use crate::tree::TreePath;

/// A directory cannot be turned into a layer.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The directory of the step or one of the layers below cannot be opened.
    #[error("failed to open the layer directory `{}`", .path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something in the directory cannot be looked at.
    #[error("failed to examine `{path}`")]
    Examine {
        /// The path in the root.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A time cannot be set.
    #[error("failed to set the time of `{path}`")]
    Time {
        /// The path in the root.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The command made a file that no layer can hold.
    #[error("`{path}` has a name that is reserved for deletions in layers (`.wh.`)")]
    ReservedName {
        /// The path in the root.
        path: TreePath,
    },
    /// The overlay was mounted with a feature whose traces cannot be read from the directory alone.
    #[error("`{path}` was moved or split by the overlay driver ({feature})")]
    Redirected {
        /// The path in the root.
        path: TreePath,
        /// `redirect_dir` or `metacopy`.
        feature: &'static str,
    },
}

impl Explain for SnapshotError {
    fn kind(&self) -> Kind {
        match self {
            Self::ReservedName { .. } => Kind::User,
            Self::Redirected { .. } => Kind::Internal,
            Self::Open { .. } | Self::Examine { .. } | Self::Time { .. } => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::ReservedName { .. } => {
                vec!["rename or remove the file in the same RUN".to_owned()]
            }
            Self::Open { source, .. }
            | Self::Examine { source, .. }
            | Self::Time { source, .. } => io_hints(source),
            Self::Redirected { .. } => Vec::new(),
        }
    }
}
