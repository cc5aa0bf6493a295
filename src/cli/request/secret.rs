//! Secrets and ssh agents: what the environment and the disk have.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::super::args::values::{SecretArg, SshArg};
use super::super::error::AgentError;
use super::super::{CliError, Environment};
use crate::executor::agent::{Agent, Keyring};
use crate::pipeline::request::{SecretBytes, SecretSource};

/// The largest secret (BuildKit, `MaxSecretSize`).
const SECRET_BYTES_MAX: u64 = 500 * 1024;

/// How much BuildKit reads of a key.
const KEY_BYTES_MAX: usize = 100 * 1024;

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

/// Agents by id; without paths it is the agent of the environment.
pub(super) fn agents(
    args: &[SshArg],
    environment: &Environment,
) -> Result<BTreeMap<String, Agent>, CliError> {
    let mut agents = BTreeMap::new();
    for arg in args {
        let id = || arg.id.clone();
        let paths = match arg.paths.as_slice() {
            [] => vec![environment.path("SSH_AUTH_SOCK").ok_or(CliError::NoAgent)?],
            paths => paths
                .iter()
                .map(|path| expand_home(path, environment))
                .collect(),
        };
        let agent = agent(&paths).map_err(|source| CliError::Agent { id: id(), source })?;
        if agents.insert(id(), agent).is_some() {
            return Err(CliError::AgentTwice { id: id() });
        }
    }
    Ok(agents)
}

/// One socket, or keys. Keys are read now: what is wrong with them is told before anything runs.
fn agent(paths: &[PathBuf]) -> Result<Agent, AgentError> {
    let (mut socket, mut keyring) = (None, Keyring::default());
    for path in paths {
        if socket.is_some() {
            return Err(AgentError::ManySockets);
        }
        let at = |source| AgentError::Open {
            path: path.clone(),
            source,
        };
        if fs::metadata(path).map_err(at)?.file_type().is_socket() {
            socket = Some(path.clone());
            continue;
        }
        let bytes = key_file(path).map_err(at)?;
        keyring.add(&bytes).map_err(|source| AgentError::Parse {
            path: path.clone(),
            source,
        })?;
    }
    match socket {
        Some(_) if !keyring.is_empty() => Err(AgentError::Both),
        Some(socket) => Ok(Agent::Socket(socket)),
        None => Ok(Agent::Keys(Arc::new(keyring))),
    }
}

/// The head of a file, which a key fits in. A FIFO or a device has no bytes: it must not block.
fn key_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Room for all of it at once: a vector that grows leaves its old bytes behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES_MAX + 1));
    let file = fs::File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if metadata.is_file() {
        file.take(KEY_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// `~/x` that no shell expanded, because it came after a `=`.
fn expand_home(path: &str, environment: &Environment) -> PathBuf {
    match (path.strip_prefix("~/"), environment.home()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => environment.absolute(Path::new(path)),
    }
}
