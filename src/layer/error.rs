//! What can go wrong with layers.

use std::io;

use super::tar::TarError;
use crate::failure::{Explain, Kind, io_hints};
use crate::tree::TreePath;

/// A layer cannot be read, written or applied.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive is broken.
    #[error("layer is not a sound archive")]
    Tar {
        /// Why.
        #[source]
        source: TarError,
    },
    /// An entry replaces the root directory by something else.
    #[error("layer replaces the root directory by something else")]
    RootReplaced,
    /// A name that only deletions may have.
    #[error("`{path}` has a name that is reserved for deletions in layers (`.wh.`)")]
    ReservedName {
        /// The path.
        path: TreePath,
    },
    /// A deletion of nothing, of `.` or of `..`.
    #[error("`{path}` is a malformed deletion")]
    BadWhiteout {
        /// The path of the marker.
        path: TreePath,
    },
    /// An entry lies below something that is not a directory.
    #[error("`{path}` is not a directory, but layer puts something in it")]
    NotDirectory {
        /// The path.
        path: TreePath,
    },
    /// Symbolic links lead in a circle.
    #[error("symbolic links on the way to `{path}` never end")]
    Loop {
        /// The path.
        path: TreePath,
    },
    /// A hard link to nothing, to a directory or to something deleted.
    #[error("`{path}` is a hard link to `{target}`, which is no file")]
    LinkTarget {
        /// The link.
        path: TreePath,
        /// What it should be a name of.
        target: TreePath,
    },
    /// A file that other entries are hard links to comes a second time.
    #[error("layer replaces `{path}`, which has other names in the same layer")]
    LinkReplaced {
        /// The path.
        path: TreePath,
    },
    /// A device number that neither tar nor the kernel can hold.
    #[error("`{path}` has a device number out of range")]
    Device {
        /// The device.
        path: TreePath,
    },
    /// A file could not be read for the layer.
    #[error("failed to read `{path}`")]
    ReadFile {
        /// The file.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what it was when it was listed.
    #[error("`{path}` changed while it was read")]
    Changed {
        /// The file.
        path: TreePath,
    },
    /// The input could not be read.
    #[error("failed to read the layer")]
    Read {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The output could not be written.
    #[error("failed to write the layer")]
    Write {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An entry could not be made in a directory.
    #[error("failed to make `{path}`")]
    Create {
        /// The entry.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An attribute of an entry could not be set.
    #[error("failed to set {what} of `{path}`")]
    Attribute {
        /// Mode, owner, time or an xattr.
        what: &'static str,
        /// The entry.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file that is wanted is not in the layer.
    #[error("layer does not contain `{path}`")]
    NotInLayer {
        /// The path in the layer.
        path: TreePath,
    },
    /// The entries to write are not in tree order: a mistake of the caller.
    #[error("`{path}` is out of order")]
    Order {
        /// The entry that comes too late.
        path: TreePath,
    },
    /// A thread that compresses or hashes died.
    #[error("a worker thread of the layer writer ended early")]
    Worker,
}

impl LayerError {
    /// Wraps an error of a stream that an archive is read from.
    pub(super) fn read(source: io::Error) -> Self {
        match source.downcast::<TarError>() {
            Ok(source) => Self::Tar { source },
            Err(source) => Self::Read { source },
        }
    }
}

impl From<TarError> for LayerError {
    fn from(source: TarError) -> Self {
        match source {
            TarError::Read { source } => Self::Read { source },
            source => Self::Tar { source },
        }
    }
}

impl Explain for LayerError {
    fn kind(&self) -> Kind {
        match self {
            Self::ReservedName { .. } | Self::Changed { .. } | Self::Device { .. } => Kind::User,
            Self::Worker | Self::Order { .. } => Kind::Internal,
            _ => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::ReservedName { .. } => {
                vec!["rename the file: image layers cannot hold it".to_owned()]
            }
            Self::Changed { .. } => {
                vec!["build again when nothing else writes to the build context".to_owned()]
            }
            Self::Tar {
                source: TarError::Limit { .. },
            } => vec![
                "the archive is larger than anything expected; is it what you meant?".to_owned(),
            ],
            Self::ReadFile { source, .. }
            | Self::Read { source }
            | Self::Write { source }
            | Self::Create { source, .. }
            | Self::Attribute { source, .. } => io_hints(source),
            _ => Vec::new(),
        }
    }
}
