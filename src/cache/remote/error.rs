//! Why a shared cache could not be used.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::cache::error::StoreError;
use crate::cache::key::Key;
use crate::cache::record::RecordFault;
use crate::digest::Digest;
use crate::failure::{Explain, Kind, io_hints};

/// A failure of a shared cache. An import that fails is a warning, an export an error.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The directory to import from is not there.
    #[error("there is no cache in `{}`", path.display())]
    Absent {
        /// The directory.
        path: PathBuf,
    },
    /// Something in the directory cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something in the directory cannot be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What stands under a key is not its record.
    #[error("the cache entry {key} in {place} is refused")]
    Refused {
        /// The key.
        key: Key,
        /// The place.
        place: String,
        /// Why.
        #[source]
        source: RecordFault,
    },
    /// The registry did not do what was asked.
    #[error("failed to {action} the cache {place}")]
    Registry {
        /// `read`, `write`.
        action: &'static str,
        /// The repository.
        place: String,
        /// Whose turn it is.
        kind: Kind,
        /// What to do.
        hints: Vec<String>,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A blob did not arrive whole.
    #[error("failed to fetch blob {digest} from {place}")]
    Fetch {
        /// Which.
        digest: Digest,
        /// The place.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A blob did not leave whole.
    #[error("failed to send blob {digest} to {place}")]
    Send {
        /// Which.
        digest: Digest,
        /// The place.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record cannot be written as JSON, or is too long to be shared.
    #[error("the record {key} cannot be shared: {reason}")]
    Encode {
        /// Its key.
        key: Key,
        /// Why.
        reason: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RemoteError {
    /// Whether other keys may be asked for all the same.
    pub(crate) fn is_of_one_entry(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Encode { .. })
    }

    /// The error and its causes in one line.
    pub(crate) fn line(&self) -> String {
        let mut text = self.to_string();
        let mut cause = Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

impl Explain for RemoteError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Registry { kind, .. } => *kind,
            Self::Encode { .. } => Kind::Internal,
            _ => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::Registry { hints, .. } => hints.clone(),
            Self::Absent { .. } => {
                vec!["the first build that exports with --cache-to makes it".to_owned()]
            }
            Self::Read { source, .. } | Self::Write { source, .. } => io_hints(source),
            _ => Vec::new(),
        }
    }
}
