//! Texts that other rooms understand: outputs, remote caches, registries.

use super::super::args::RegistryArgs;
use super::super::{CliError, Environment};
use crate::cache::remote::RemoteSpec;
use crate::export::OutputSpec;
use crate::registry::RegistryOptions;

/// `-o`
pub(super) fn outputs(
    specs: &[String],
    _environment: &Environment,
) -> Result<Vec<OutputSpec>, CliError> {
    match specs.first() {
        None => Ok(Vec::new()),
        Some(spec) => Err(CliError::Unsupported {
            what: format!("--output {spec}"),
        }),
    }
}

/// `--cache-from` and `--cache-to`
pub(super) fn remotes(
    flag: &'static str,
    specs: &[String],
    _environment: &Environment,
) -> Result<Vec<RemoteSpec>, CliError> {
    match specs.first() {
        None => Ok(Vec::new()),
        Some(spec) => Err(CliError::Unsupported {
            what: format!("--{flag} {spec}"),
        }),
    }
}

/// How registries are reached.
pub fn registry(
    _args: &RegistryArgs,
    _environment: &Environment,
) -> Result<RegistryOptions, CliError> {
    Ok(RegistryOptions::default())
}
