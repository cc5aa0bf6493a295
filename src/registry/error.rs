//! Why a registry did not do what was asked, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use reqwest::{Method, StatusCode, Url};

use super::challenge::RealmError;
use super::helper::HelperError;
use super::message::redacted;
use crate::digest::Digest;
use crate::failure::{Explain, Kind, io_hints};
use crate::platform::Platform;
use crate::reference::Reference;

/// One request as messages show it: without user, query and fragment, which may be secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: String,
    /// Scheme, host, port and path.
    pub url: String,
}

impl Request {
    pub(super) fn new(method: &Method, url: &Url) -> Self {
        Self {
            method: method.to_string(),
            url: redacted(url),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.url)
    }
}

/// One error of a registry's answer (distribution-spec, "Error Codes").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiError {
    /// `MANIFEST_UNKNOWN`, `DENIED`, …
    pub code: String,
    /// What the registry says, cut and cleaned.
    pub message: String,
}

/// What a request died of before an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The name has no address.
    Name,
    /// Nothing listens there.
    Refused,
    /// The certificate is signed by nobody that is trusted, or is for another name.
    Certificate,
    /// The other side does not speak TLS.
    NotTls,
    /// Nothing came for too long.
    Silence,
    /// The connection broke.
    Connection,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Name => "the host is not known",
            Self::Refused => "the connection was refused",
            Self::Certificate => "the server's certificate is not trusted",
            Self::NotTls => "the server does not speak TLS",
            Self::Silence => "no answer in time",
            Self::Connection => "the connection broke",
        })
    }
}

/// Why a registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such image. The sentence is BuildKit's.
    #[error("failed to resolve source metadata for {reference}: {reference}: not found")]
    NotFound {
        /// The image.
        reference: Box<Reference>,
    },
    /// The image is not offered for the platform. The last words are BuildKit's.
    #[error(
        "failed to resolve source metadata for {reference}: no match for platform {platform} in manifest: not found"
    )]
    NoPlatform {
        /// The image.
        reference: Box<Reference>,
        /// The platform wanted.
        platform: Box<Platform>,
        /// The platforms on offer.
        offered: Vec<Platform>,
    },
    /// A blob is gone.
    #[error("blob {digest} of {repository} does not exist")]
    NoBlob {
        /// `registry/repository`.
        repository: String,
        /// The blob.
        digest: Digest,
    },
    /// Pulling is forbidden by registries.conf.
    #[error("pulling from {repository} is blocked by registries.conf")]
    Blocked {
        /// `registry/repository`.
        repository: String,
    },
    /// The registry wants (other) credentials. The words are Docker's.
    #[error("{action} access denied for {repository}, repository does not exist or may require authorization{}", detail(.answer))]
    Denied {
        /// `pull` or `push`.
        action: &'static str,
        /// The registry's name, for `builder login`.
        registry: String,
        /// `registry/repository`, or the registry alone.
        repository: String,
        /// Whether credentials were sent.
        had_credential: bool,
        /// What the registry says.
        answer: Vec<ApiError>,
    },
    /// Any other refusal.
    #[error("{request}: {status}{}", detail(.answer))]
    Status {
        /// The request.
        request: Request,
        /// The status of the last try.
        status: StatusCode,
        /// What the registry says.
        answer: Vec<ApiError>,
    },
    /// No answer.
    #[error("{request}: {broken}: {detail}")]
    Transport {
        /// The request.
        request: Request,
        /// The kind of trouble.
        broken: Broken,
        /// The words of the system or library.
        detail: String,
    },
    /// An answer breaks the protocol or was made to harm.
    #[error("{request}: the answer is not acceptable: {reason}")]
    Answer {
        /// The request.
        request: Request,
        /// What is wrong with it.
        reason: Box<Unacceptable>,
    },
    /// The registry sends tokens' seekers somewhere forbidden.
    #[error("registry {registry} names the token server `{realm}`, which is not asked: {reason}")]
    Realm {
        /// The registry.
        registry: String,
        /// The address, without secrets.
        realm: String,
        /// Why not.
        reason: RealmError,
    },
    /// A credential helper failed.
    #[error("failed to get credentials for {registry}")]
    Helper {
        /// The registry.
        registry: String,
        /// Why.
        #[source]
        source: HelperError,
    },
    /// A credentials file cannot be read or written.
    #[error("failed to use credentials file `{}`", path.display())]
    AuthFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nowhere to keep credentials.
    #[error("no file to keep credentials in is known")]
    NoAuthFile,
    /// A file of certificates or keys cannot be used.
    #[error("failed to use certificate file `{}`: {detail}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// The HTTP client cannot be made: no thread, a proxy's address that is none.
    #[error("failed to prepare the HTTP client: {detail}")]
    Prepare {
        /// Why.
        detail: String,
    },
    /// The bytes to push could not be read.
    #[error("failed to read blob {digest} for pushing")]
    Source {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The build was stopped.
    #[error("stopped while talking to {registry}")]
    Stopped {
        /// The registry.
        registry: String,
    },
}

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// A body beyond its bound.
    #[error("it has more than {max} bytes")]
    TooLarge {
        /// The bound.
        max: u64,
    },
    /// The bytes are not those of the digest.
    #[error("it has digest {actual} instead of {expected}")]
    Digest {
        /// The digest asked for or promised.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// The size is not the descriptor's.
    #[error("it has {actual} bytes instead of {expected}")]
    Size {
        /// The size promised.
        expected: u64,
        /// The size of what came.
        actual: u64,
    },
    /// The document is not JSON without duplicate names.
    #[error("it is not strict JSON: {0}")]
    Json(String),
    /// Neither a manifest nor an index, or both (CVE-2021-41190).
    #[error("it is not clearly a manifest or an index: {0}")]
    Ambiguous(&'static str),
    /// A type that is not supported.
    #[error("media type `{0}` is not supported")]
    MediaType(String),
    /// Something else than asked for; the first bytes, cleaned.
    #[error("it begins with `{0}`")]
    Unexpected(String),
    /// A header that must be there is missing or not understood.
    #[error("header {0} is missing or not understood")]
    Header(&'static str),
    /// A redirect that is not followed.
    #[error("it redirects to `{0}`, which is not followed")]
    Redirect(String),
    /// An upload address on another host: neither credentials nor bytes go there.
    #[error("it wants the upload at `{0}`, another origin")]
    UploadElsewhere(String),
    /// Compressed in transit: blobs must arrive as they are.
    #[error("it is encoded as `{0}` in transit")]
    Encoding(String),
    /// Indexes inside indexes without end.
    #[error("indexes are nested more than {0} deep")]
    Nested(usize),
    /// The content is another one than before the connection broke.
    #[error("the content changed between two tries")]
    Changed,
}

impl RegistryError {
    pub(super) fn unacceptable(request: Request, reason: Unacceptable) -> Self {
        let reason = Box::new(reason);
        Self::Answer { request, reason }
    }

    pub(super) fn not_found(reference: &Reference) -> Self {
        Self::NotFound {
            reference: Box::new(reference.clone()),
        }
    }

    /// The HTTP status that the registry answered with, if it is what failed.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(status.as_u16()),
            Self::NotFound { .. } | Self::NoBlob { .. } => Some(404),
            Self::Denied { .. } => Some(403),
            _ => None,
        }
    }

    /// The errors that the registry named.
    pub fn answer(&self) -> &[ApiError] {
        match self {
            Self::Status { answer, .. } | Self::Denied { answer, .. } => answer,
            _ => &[],
        }
    }

    /// Whether another place, or the same one later, may well do what this one did not.
    pub(super) fn is_place_at_fault(&self) -> bool {
        !matches!(
            self,
            Self::Stopped { .. }
                | Self::Source { .. }
                | Self::Blocked { .. }
                | Self::NoPlatform { .. }
        )
    }
}

impl Explain for RegistryError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. }
            | Self::NoPlatform { .. }
            | Self::Denied { .. }
            | Self::Blocked { .. }
            | Self::NoAuthFile => Kind::User,
            Self::Stopped { .. } => Kind::Cancelled,
            _ => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NotFound { .. } => {
                "check the name and the tag; a private image is also \"not found\" without `builder login`"
                    .to_owned()
            }
            Self::NoPlatform { offered, .. } => offered_hint(offered),
            Self::Denied {
                registry,
                had_credential,
                ..
            } => denied_hint(registry, *had_credential),
            Self::Status { status, .. } => return status_hint(*status),
            Self::Transport {
                broken, request, ..
            } => return broken_hint(*broken, &request.url),
            Self::Answer { reason, .. } if matches!(**reason, Unacceptable::UploadElsewhere(_)) => "set the registry's public address in its configuration (`http.host`, or \
                  `relativeurls: true` behind a proxy)"
                .to_owned(),
            Self::Realm { .. } => {
                "if the token server is yours, allow it for this registry in the options".to_owned()
            }
            Self::Helper { registry, .. } => format!(
                "run the helper by hand, or write credentials with `builder login {registry}`"
            ),
            Self::AuthFile { source, .. } | Self::Source { source, .. } => return io_hints(source),
            Self::NoAuthFile => "set DOCKER_CONFIG or HOME".to_owned(),
            _ => return Vec::new(),
        };
        vec![hint]
    }
}

fn offered_hint(offered: &[Platform]) -> String {
    let names: Vec<String> = offered.iter().take(20).map(Platform::to_string).collect();
    if names.is_empty() {
        return "the index names no platform at all".to_owned();
    }
    format!("it is offered for {}", names.join(", "))
}

fn denied_hint(registry: &str, had_credential: bool) -> String {
    if had_credential {
        return format!(
            "the credentials for {registry} do not suffice: check the name, or log in again with \
             `builder login {registry}`"
        );
    }
    format!("check the name, or log in with `builder login {registry}`")
}

fn status_hint(status: StatusCode) -> Vec<String> {
    let hint = match status.as_u16() {
        429 => "the registry limits how often it is asked: log in, wait, or use a mirror",
        500..=599 => "the registry has trouble: try again later, or use a mirror",
        413 => "a proxy before the registry limits the size of requests: raise its limit",
        _ => return Vec::new(),
    };
    vec![hint.to_owned()]
}

fn broken_hint(broken: Broken, url: &str) -> Vec<String> {
    let host = Url::parse(url)
        .map(|url| super::challenge::authority(&url))
        .unwrap_or_default();
    let hint = match broken {
        Broken::Name => format!("check the spelling of `{host}`, the network and the DNS"),
        Broken::Refused => {
            format!("check that the registry at `{host}` runs and the port is right")
        }
        Broken::Certificate => format!(
            "put the authority's certificate into /etc/docker/certs.d/{host}/ca.crt, or list the \
             registry as insecure"
        ),
        Broken::NotTls => format!("if `{host}` speaks plain HTTP, list it as an insecure registry"),
        Broken::Silence | Broken::Connection => {
            format!("check the network and proxies on the way to `{host}`, then try again")
        }
    };
    vec![hint]
}

pub(super) fn detail(answer: &[ApiError]) -> String {
    let mut text = String::new();
    for error in answer.iter().take(3) {
        text.push_str(": ");
        text.push_str(&error.code);
        if !error.code.is_empty() && !error.message.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.message);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_tells_how_to_log_in() {
        let denied = |had_credential| RegistryError::Denied {
            action: "pull",
            registry: "r.example".to_owned(),
            repository: "r.example/x".to_owned(),
            had_credential,
            answer: Vec::new(),
        };
        for had_credential in [true, false] {
            assert!(denied(had_credential).hints()[0].contains("`builder login r.example`"));
        }
        assert!(
            denied(true)
                .to_string()
                .starts_with("pull access denied for r.example/x")
        );
    }
}
