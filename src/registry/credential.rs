//! What proves to a registry who asks.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// What a file, a helper or the user knows about one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password, or a personal access token in the password's place.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth 2 refresh token (`identitytoken` of `config.json`; helpers mark it by the user name
    /// `<token>`).
    Identity(Secret),
    /// A bearer token that is sent as it is (`registrytoken` of `config.json`).
    Token(Secret),
}

impl Credential {
    /// A name and a password.
    pub fn basic(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Basic {
            user: user.into(),
            password: Secret(password.into()),
        }
    }

    /// The value of an `Authorization` header for the Basic scheme (RFC 7617), if there is a
    /// password.
    pub(super) fn basic_header(&self) -> Option<Secret> {
        match self {
            Self::Basic { user, password } => {
                let pair = STANDARD.encode(format!("{user}:{}", password.0));
                Some(Secret(format!("Basic {pair}")))
            }
            Self::Identity(_) | Self::Token(_) => None,
        }
    }
}

/// The names under which Docker and podman file a registry: Docker Hub has several.
pub(super) fn same_registry(left: &str, right: &str) -> bool {
    let hub = |name: &str| {
        matches!(
            name,
            "docker.io" | "index.docker.io" | "registry-1.docker.io"
        )
    };
    left == right || (hub(left) && hub(right))
}

/// What Docker calls a registry in `auths` and to its helpers.
pub(super) fn server_key(registry: &str) -> &str {
    if same_registry(registry, "docker.io") {
        "https://index.docker.io/v1/"
    } else {
        registry
    }
}
