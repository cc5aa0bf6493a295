//! The context and the Dockerfile.

use std::ffi::OsStr;
use std::path::Path;

use super::super::{CliError, Environment};
use crate::pipeline::request::{ContextSpec, DockerfileSpec};

/// The positional argument: `-`, a directory, or an address. A directory wins over an address of
/// the same name, as in buildx.
pub(super) fn context(word: &OsStr, environment: &Environment) -> Result<ContextSpec, CliError> {
    if word == "-" {
        return Ok(ContextSpec::Stdin);
    }
    if word.is_empty() {
        return Err(CliError::NoContext);
    }
    let path = environment.absolute(Path::new(word));
    if path.is_dir() {
        return Ok(ContextSpec::Directory(path));
    }
    match word.to_str() {
        Some(text) if is_address(text) => Ok(ContextSpec::Url(text.to_owned())),
        _ => Err(CliError::ContextMissing { path: word.into() }),
    }
}

/// Whether a text is a git or HTTP address (BuildKit, `gitutil.IsGitURL` and `urlutil.IsURL`).
pub(super) fn is_address(text: &str) -> bool {
    let schemes = ["http://", "https://", "git://", "ssh://", "github.com/"];
    schemes.iter().any(|scheme| text.starts_with(scheme)) || is_scp_address(text)
}

/// `git@host:path`
fn is_scp_address(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else {
        return false;
    };
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let host = rest.split_once(':').map_or("", |(host, _)| host);
    !user.is_empty() && user.chars().all(word) && !host.is_empty() && host.chars().all(word)
}

/// `-f`: relative to the working directory, or to the tree of a fetched context.
pub(super) fn dockerfile(
    word: Option<&OsStr>,
    context: &ContextSpec,
    environment: &Environment,
) -> Result<DockerfileSpec, CliError> {
    let Some(word) = word.filter(|word| !word.is_empty()) else {
        return Ok(DockerfileSpec::Default);
    };
    match (word.to_str(), context) {
        (Some("-"), ContextSpec::Stdin) => Err(CliError::StdinTwice),
        (Some("-"), _) => Ok(DockerfileSpec::Stdin),
        (Some(text), _) if text.starts_with("http://") || text.starts_with("https://") => {
            Ok(DockerfileSpec::Url(text.to_owned()))
        }
        (_, ContextSpec::Directory(_)) => {
            Ok(DockerfileSpec::Path(environment.absolute(word.as_ref())))
        }
        (_, ContextSpec::Stdin | ContextSpec::Url(_)) => Ok(DockerfileSpec::Path(word.into())),
    }
}
