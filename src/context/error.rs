//! What can go wrong with a context.

use std::io;
use std::path::PathBuf;

use crate::failure::{Explain, Kind, io_hints};
use crate::pattern::PatternError;
use crate::tree::TreePath;

/// Why a context, or something in it, cannot be had. Sentences are BuildKit's where scripts match
/// them.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The directory named on the command line cannot be opened.
    #[error("unable to prepare context: path \"{}\" not found", path.display())]
    NoContext {
        /// The directory.
        path: PathBuf,
    },
    /// The directory named on the command line cannot be opened.
    #[error("unable to prepare context: failed to open `{}`", path.display())]
    OpenContext {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no Dockerfile.
    #[error("failed to read dockerfile: open {name}: no such file or directory")]
    NoDockerfile {
        /// The name looked for, as the user knows it.
        name: String,
    },
    /// The Dockerfile is no file that can be read.
    #[error("failed to read dockerfile: `{name}`")]
    ReadDockerfile {
        /// The name as the user knows it.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An ignore file exists and cannot be used; going on without it could ship secrets.
    #[error("failed to read ignore file `{}`", path.display())]
    ReadIgnore {
        /// The ignore file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An ignore file has a malformed pattern.
    #[error("failed to parse ignore file `{}`", path.display())]
    ParseIgnore {
        /// The ignore file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PatternError,
    },
    /// A source of COPY, ADD or a mount is not there.
    #[error(
        "failed to compute cache key: failed to calculate checksum of ref context: \"{path}\": not found"
    )]
    NotFound {
        /// The source, with leading slash.
        path: String,
        /// Whether it exists, and only an ignore file hides it.
        ignored: bool,
    },
    /// A file or directory of the context cannot be read.
    #[error("failed to read `{}` of the context", .path.to_string().trim_start_matches('/'))]
    Read {
        /// The path in the context.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The data on standard input or from the web ended, failed or is too large.
    #[error("failed to receive the context")]
    Receive {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive is damaged or hostile.
    #[error("failed to unpack the context: {cause}")]
    Unpack {
        /// What the unpacker says.
        cause: Box<dyn Explain>,
    },
    /// A sub-directory of a fetched context is missing, or is no directory.
    #[error("path \"{path}\" not found in the context")]
    NoSubdirectory {
        /// The sub-directory as written.
        path: String,
    },
    /// A git address is malformed.
    #[error(transparent)]
    GitRef(#[from] super::git::GitRefError),
    /// A git operation failed.
    #[error(transparent)]
    Git(#[from] super::git::GitError),
    /// A download failed.
    #[error(transparent)]
    Http(#[from] super::http::HttpError),
}

impl Explain for ContextError {
    fn kind(&self) -> Kind {
        match self {
            Self::OpenContext { .. } | Self::Receive { .. } => Kind::Environment,
            Self::Unpack { cause } => cause.kind(),
            Self::GitRef(error) => error.kind(),
            Self::Git(error) => error.kind(),
            Self::Http(error) => error.kind(),
            _ => Kind::User,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NoContext { .. } => "give the directory that holds the Dockerfile, such as `.`",
            Self::NoDockerfile { .. } => "name it with -f, or create it in the context",
            Self::ReadIgnore { .. } => {
                "make it a readable regular file inside the context, or remove it"
            }
            Self::ReadDockerfile { source, .. }
                if matches!(source.kind(), io::ErrorKind::CrossesDevices) =>
            {
                "it is a link that leads outside of the context; put the file itself there"
            }
            Self::NotFound { ignored: true, .. } => {
                "it exists but .dockerignore excludes it; add a line `!PATH` to bring it back"
            }
            Self::NotFound { ignored: false, .. } => {
                "paths are relative to the context, not to the Dockerfile"
            }
            Self::Read { path, source } => return read_hints(path, source),
            Self::OpenContext { source, .. }
            | Self::Receive { source }
            | Self::ReadDockerfile { source, .. } => return io_hints(source),
            Self::ParseIgnore { source, .. } => return source.hints(),
            Self::Unpack { cause } => return cause.hints(),
            Self::GitRef(error) => return error.hints(),
            Self::Git(error) => return error.hints(),
            Self::Http(error) => return error.hints(),
            Self::NoSubdirectory { .. } => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

fn read_hints(path: &TreePath, source: &io::Error) -> Vec<String> {
    let path = path.to_string();
    let path = path.trim_start_matches('/');
    match source.kind() {
        io::ErrorKind::PermissionDenied => vec![format!(
            "make `{path}` readable for you, or add the line `{path}` to .dockerignore"
        )],
        _ => vec![format!(
            "add the line `{path}` to .dockerignore if the build does not need it"
        )],
    }
}
