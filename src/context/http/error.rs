//! What can go wrong with a download.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::failure::{Explain, Kind, io_hints};

/// Why a file of the web cannot be had. Addresses are shown without user and password.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The text is no http or https address.
    #[error("`{url}` is not an http or https address")]
    Address {
        /// The text.
        url: String,
    },
    /// The client cannot be made: no usable TLS.
    #[error("failed to set up https")]
    Client {
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server cannot be reached or the connection broke.
    #[error("failed to fetch {url}")]
    Transfer {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The bytes stopped, or could not be written.
    #[error("failed to receive {url}")]
    Receive {
        /// The address.
        url: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server refuses.
    #[error("invalid response status {status} for {url}")]
    Status {
        /// The address.
        url: String,
        /// The status code.
        status: u16,
    },
    /// A redirect leads where none may.
    #[error("{url} redirects to {target}, which is not allowed")]
    Redirect {
        /// The address.
        url: String,
        /// Where to.
        target: String,
    },
    /// More redirects than anybody needs.
    #[error("{url} redirects too often")]
    Redirects {
        /// The address.
        url: String,
    },
    /// The file is larger than the limit.
    #[error("{url} is larger than {limit} bytes")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The content is not what the Dockerfile pins.
    #[error("digest mismatch for {url}: expected {expected}, got {actual}")]
    Checksum {
        /// The address.
        url: String,
        /// What is pinned.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The last component of the address cannot be a file name.
    #[error("invalid filename in {url}")]
    FileName {
        /// The address.
        url: String,
    },
    /// The directory of kept downloads cannot be used.
    #[error("failed to write `{}`", path.display())]
    Keep {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Explain for HttpError {
    fn kind(&self) -> Kind {
        match self {
            Self::Client { .. }
            | Self::Transfer { .. }
            | Self::Receive { .. }
            | Self::Keep { .. } => Kind::Environment,
            Self::Status { status, .. } if *status >= 500 => Kind::Environment,
            _ => Kind::User,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Keep { source, .. } | Self::Receive { source, .. } => return io_hints(source),
            Self::Status {
                status: 401 | 403, ..
            } => "give credentials with --secret id=HTTP_AUTH_TOKEN_<host>,env=…",
            Self::Checksum { .. } => {
                "if the new content is what you want, put its digest into --checksum"
            }
            Self::Transfer { .. } => "check the address, the network and the proxy variables",
            Self::FileName { .. } => "name the destination file in the instruction",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
