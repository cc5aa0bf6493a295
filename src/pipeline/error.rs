//! What can go wrong between the rooms.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::failure::{Explain, Kind};
use crate::layer::tar::TarError;
use crate::pattern::PatternError;
use crate::reference::ParseReferenceError;

/// Why the street ended early.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// An image name is none.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// A source pattern is none.
    #[error("invalid pattern `{pattern}`")]
    Pattern {
        /// As written.
        pattern: String,
        /// Why not.
        #[source]
        source: PatternError,
    },
    /// An archive that is a context is damaged.
    #[error("the archive is not sound: {source}")]
    Archive {
        /// How.
        source: TarError,
    },
    /// A base image has a layer of an unknown kind.
    #[error("layers of type `{media_type}` are not supported")]
    LayerType {
        /// Its media type.
        media_type: String,
    },
    /// Manifest and config of a base image disagree.
    #[error("image {image} has {layers} layers but its config lists {diff_ids}")]
    LayerCount {
        /// The manifest.
        image: Digest,
        /// Layers of the manifest.
        layers: usize,
        /// Diff ids of the config.
        diff_ids: usize,
    },
    /// An OCI layout cannot be read.
    #[error("failed to read `{}` of the OCI layout", .path.display())]
    LayoutRead {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A document of an OCI layout is malformed.
    #[error("failed to parse a document of the OCI layout `{}`", .path.display())]
    LayoutJson {
        /// The layout.
        path: PathBuf,
        /// How.
        #[source]
        source: serde_json::Error,
    },
    /// An OCI layout does not have the image.
    #[error("no such image in the OCI layout: `{address}`")]
    NotInLayout {
        /// As given.
        address: String,
    },
    /// An image is neither in the store nor in a layout.
    #[error("image `{name}` is not at hand")]
    NotAtHand {
        /// As given.
        name: String,
    },
    /// A secret's file cannot be read.
    #[error("failed to read the file of secret `{id}`: `{}`", .path.display())]
    Secret {
        /// The secret.
        id: String,
        /// Its file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A secret is too big. The limit is BuildKit's.
    #[error("invalid secret `{id}`: more than 500 KiB")]
    SecretSize {
        /// The secret.
        id: String,
    },
    /// A document of an image cannot be written as JSON.
    #[error("failed to write a document of the image")]
    Document {
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// Standard output cannot be written.
    #[error("failed to write to standard output")]
    Stdout {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Standard input cannot be read.
    #[error("failed to read standard input")]
    Stdin {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A scratch directory cannot be made.
    #[error("failed to make a temporary directory in the store")]
    Scratch {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// `# syntax=` or `BUILDKIT_SYNTAX` names a frontend that is not ours.
    #[error("frontend `{syntax}` is not supported: only docker/dockerfile is built in")]
    Syntax {
        /// The frontend.
        syntax: String,
    },
    /// The epoch of `--timestamp=git` is not to be had.
    #[error("--timestamp=git: the context has no git commit")]
    NoCommit,
    /// An argument cannot be used with another.
    #[error("{0}")]
    Usage(&'static str),
    /// The build was stopped.
    #[error("the build was cancelled")]
    Cancelled,
    /// A helper thread panicked.
    #[error("a thread of the builder panicked")]
    Panicked,
}

impl Explain for PipelineError {
    fn kind(&self) -> Kind {
        match self {
            Self::Cancelled => Kind::Cancelled,
            Self::Panicked | Self::Document { .. } => Kind::Internal,
            Self::Scratch { .. } | Self::Stdin { .. } | Self::Stdout { .. } => Kind::Environment,
            _ => Kind::User,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Scratch { source } | Self::LayoutRead { source, .. } => {
                crate::failure::io_hints(source)
            }
            Self::Syntax { .. } => {
                vec!["remove the `# syntax=` line, or set it to docker/dockerfile:1".to_owned()]
            }
            Self::NoCommit => vec!["use --timestamp=SECONDS or SOURCE_DATE_EPOCH".to_owned()],
            _ => Vec::new(),
        }
    }
}
