//! The distribution protocol: resolve, pull, push, credentials.

/// How to reach registries.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {}
