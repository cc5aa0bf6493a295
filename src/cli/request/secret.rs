//! Secrets and ssh agents: what the environment and the disk have.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use super::super::args::values::{SecretArg, SshArg};
use super::super::{CliError, Environment};
use crate::pipeline::request::{SecretBytes, SecretSource};

/// The largest secret (BuildKit, `MaxSecretSize`).
const SECRET_BYTES_MAX: u64 = 500 * 1024;

/// Where the secrets are. Without `src` and `env` the id names a variable if there is one, else a
/// file. A variable that is not set is no secret, which matters only where one is required.
pub(super) fn secrets(
    args: &[SecretArg],
    environment: &Environment,
    notices: &mut Vec<String>,
) -> Result<BTreeMap<String, SecretSource>, CliError> {
    let mut secrets = BTreeMap::new();
    for arg in args {
        let variable = match (&arg.env, &arg.file) {
            (Some(name), _) => Some(name),
            (None, None) if arg.is_env || environment.set(&arg.id).is_some() => Some(&arg.id),
            _ => None,
        };
        let source = match variable {
            Some(name) => {
                let Some(value) = environment.set(name) else {
                    notices.push(format!("secret {}: the variable {name} is not set", arg.id));
                    continue;
                };
                SecretSource::Value(SecretBytes(value.as_bytes().to_vec()))
            }
            None => file(arg.file.as_deref().unwrap_or(&arg.id), environment)?,
        };
        secrets.insert(arg.id.clone(), source);
    }
    Ok(secrets)
}

/// A file that is there and not too large.
fn file(path: &str, environment: &Environment) -> Result<SecretSource, CliError> {
    let path = expand_home(path, environment);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() > SECRET_BYTES_MAX => Err(CliError::SecretSize { path }),
        Ok(_) => Ok(SecretSource::File(path)),
        Err(source) => Err(CliError::Stat { path, source }),
    }
}

/// Agents by id; without paths it is the agent of the environment. Keys are refused: what a RUN
/// would get is the key itself.
pub(super) fn agents(
    args: &[SshArg],
    environment: &Environment,
) -> Result<BTreeMap<String, Vec<PathBuf>>, CliError> {
    let mut agents = BTreeMap::new();
    for arg in args {
        let id = || arg.id.clone();
        let path = match arg.paths.as_slice() {
            [] => environment.path("SSH_AUTH_SOCK").ok_or(CliError::NoAgent)?,
            [path] => expand_home(path, environment),
            [first, ..] => {
                socket(&id(), expand_home(first, environment))?;
                return Err(CliError::ManySockets { id: id() });
            }
        };
        agents.insert(id(), vec![socket(&id(), path)?]);
    }
    Ok(agents)
}

fn socket(id: &str, path: PathBuf) -> Result<PathBuf, CliError> {
    match fs::metadata(&path) {
        Ok(metadata) if metadata.file_type().is_socket() => Ok(path),
        Ok(_) => Err(CliError::NotASocket {
            id: id.to_owned(),
            path,
        }),
        Err(source) => Err(CliError::Stat { path, source }),
    }
}

/// `~/x` that no shell expanded, because it came after a `=`.
fn expand_home(path: &str, environment: &Environment) -> PathBuf {
    match (path.strip_prefix("~/"), environment.home()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => environment.absolute(Path::new(path)),
    }
}
