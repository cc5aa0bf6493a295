//! Image names: `registry/repository:tag@digest`, with Docker Hub's short forms.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// The name of an image, normalised as Docker does: `debian` is
/// `docker.io/library/debian:latest`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Host with optional port: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub registry: String,
    /// `library/debian`.
    pub repository: String,
    /// The tag; `latest` is filled in only if there is no digest either.
    pub tag: Option<String>,
    /// The digest that pins the image.
    pub digest: Option<Digest>,
}

/// Why a text is not an image name. The sentences are Docker's where scripts match them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// The text breaks the grammar of distribution/reference.
    #[error("invalid reference format: `{text}`")]
    Format {
        /// The offending text.
        text: String,
    },
    /// Docker demands lower case.
    #[error("invalid reference format: repository name `{text}` must be lowercase")]
    Uppercase {
        /// The offending text.
        text: String,
    },
}

impl Reference {
    /// The name without tag and digest, in full: `docker.io/library/debian`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name as people write it: without `docker.io/` and `library/`, with tag or digest.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let short = full.strip_prefix("docker.io/").unwrap_or(&full);
        short.strip_prefix("library/").unwrap_or(short).to_owned()
    }

    /// The same repository at a digest, without tag.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same repository with a tag, without digest.
    #[must_use]
    pub fn tagged(&self, tag: impl Into<String>) -> Self {
        Self {
            tag: Some(tag.into()),
            digest: None,
            ..self.clone()
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        let format = || ParseReferenceError::Format {
            text: text.to_owned(),
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| format())?)),
            None => (text, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') && !tag.contains(']') => (path, Some(tag)),
            _ => (rest, None),
        };
        let (registry, repository) = match path.split_once('/') {
            Some((host, repository)) if is_host(host) => (host.to_owned(), repository.to_owned()),
            _ => ("docker.io".to_owned(), path.to_owned()),
        };
        let registry = match registry.as_str() {
            "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
            _ => registry,
        };
        let repository = if registry == "docker.io" && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository
        };
        if repository.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(ParseReferenceError::Uppercase {
                text: path.to_owned(),
            });
        }
        let valid = is_registry(&registry)
            && repository.len() + registry.len() < 255
            && repository.split('/').all(is_component)
            && tag.is_none_or(is_tag);
        if !valid {
            return Err(format());
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some("latest".to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }
}

/// Whether the first path component is a host and not a user's name: it has a dot, a port, is
/// `localhost`, or has an upper-case letter (distribution/reference, `splitDockerDomain`).
fn is_host(text: &str) -> bool {
    text.contains(['.', ':', '[']) || text == "localhost" || text.chars().any(char::is_uppercase)
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => {
                if !address
                    .chars()
                    .all(|c| c.is_ascii_hexdigit() || matches!(c, ':' | '.'))
                {
                    return false;
                }
                ("v6", port.strip_prefix(':'))
            }
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label)
        && port.is_none_or(|port| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alnum = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut runs = text.split(alnum).filter(|run| !run.is_empty());
    text.starts_with(alnum)
        && text.ends_with(alnum)
        && runs.all(|run| matches!(run, "." | "_" | "__") || run.chars().all(|c| c == '-'))
}

/// `[\w][\w.-]{0,127}`
fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128
        && text.starts_with(word)
        && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_as_docker_does() {
        let pin = format!("sha256:{}", "0".repeat(64));
        for (text, full) in [
            ("debian", "docker.io/library/debian:latest".to_owned()),
            ("debian:12", "docker.io/library/debian:12".to_owned()),
            ("me/app", "docker.io/me/app:latest".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("127.0.0.1:5000/a/b:1", "127.0.0.1:5000/a/b:1".to_owned()),
            ("[::1]:5000/x", "[::1]:5000/x:latest".to_owned()),
            (
                "index.docker.io/library/x",
                "docker.io/library/x:latest".to_owned(),
            ),
            (&format!("a@{pin}"), format!("docker.io/library/a@{pin}")),
            (
                &format!("a:1@{pin}"),
                format!("docker.io/library/a:1@{pin}"),
            ),
            (
                "a__b.c-d--e",
                "docker.io/library/a__b.c-d--e:latest".to_owned(),
            ),
        ] {
            assert_eq!(
                text.parse::<Reference>().unwrap().to_string(),
                full,
                "{text}"
            );
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in [
            "",
            ":tag",
            "a:",
            "a//b",
            "-a",
            "a..b",
            "Debian",
            "a@sha256:0",
            "a b",
            "../x",
            "x/../y",
            "a___b",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
        assert_eq!(
            "library/debian:1".parse::<Reference>().unwrap().familiar(),
            "debian:1"
        );
    }
}
