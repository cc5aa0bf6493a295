//! Why an image did not get out.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::failure::{Explain, Kind, io_hints};
use crate::reference::ParseReferenceError;
use crate::registry::RegistryError;

/// Why an image did not get out.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A blob could not be read, or was not what its descriptor says.
    #[error("failed to read layer {digest}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file or directory could not be written.
    #[error("failed to write `{}`", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A stream could not be written.
    #[error("failed to write the output stream")]
    Stream {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The destination exists and is something else.
    #[error("`{}` is not an OCI image layout and not empty", path.display())]
    NotALayout {
        /// The path.
        path: PathBuf,
    },
    /// The index of an existing layout is not understood.
    #[error("failed to read the index of the layout `{}`", path.display())]
    LayoutIndex {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The root file system of an image could not be made.
    #[error("failed to produce the root file system of the image")]
    Rootfs {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `docker load` takes one platform. The words are BuildKit's.
    #[error("docker exporter does not currently support exporting manifest lists")]
    ManyPlatforms,
    /// A push without a name.
    #[error("tag is needed when pushing to registry")]
    NoName,
    /// `name=` holds something that is no image name.
    #[error("output name is not valid")]
    Name {
        /// Why.
        #[source]
        source: ParseReferenceError,
    },
    /// Neither Docker nor Podman is there.
    #[error("no running Docker or Podman to load the image into")]
    NoEngine,
    /// The engine did not take the image.
    #[error("`{engine} load` failed: {message}")]
    Load {
        /// `docker` or `podman`.
        engine: String,
        /// What it said.
        message: String,
    },
    /// The engine's program could not be run.
    #[error("failed to run `{engine}`")]
    Engine {
        /// `docker` or `podman`.
        engine: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The registry did not take a part of the image.
    #[error("failed to push {name}")]
    Push {
        /// The name pushed to.
        name: String,
        /// Why.
        #[source]
        source: RegistryError,
    },
    /// A document could not be encoded.
    #[error("failed to encode a document of the image")]
    Encode {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Explain for ExportError {
    fn kind(&self) -> Kind {
        match self {
            Self::Push { source, .. } => source.kind(),
            Self::NotALayout { .. } | Self::ManyPlatforms | Self::NoName | Self::Name { .. } => {
                Kind::User
            }
            Self::Encode { .. } => Kind::Internal,
            _ => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Push { source, .. } => return source.hints(),
            Self::Blob { source, .. }
            | Self::Write { source, .. }
            | Self::Stream { source }
            | Self::Rootfs { source } => return io_hints(source),
            Self::NotALayout { .. } => "choose an empty or new directory as dest",
            Self::ManyPlatforms => "build for one --platform, or write type=oci",
            Self::NoName => "name the image with -t REGISTRY/NAME:TAG",
            Self::NoEngine => {
                "start Docker or Podman, or write a file with -o type=docker,dest=image.tar"
            }
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
