//! Caches that runners share.

/// One `--cache-from` or `--cache-to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteSpec {}
