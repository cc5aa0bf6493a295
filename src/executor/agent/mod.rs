//! The ssh agents of `RUN --mount=type=ssh`: a socket of ours for each mount, behind it the keys
//! that the user named or the agent that the user runs.
//!
//! What a command may ask is what BuildKit lets it ask: which keys there are, and for signatures.
//! Keys stay in the memory of this process.

mod keyring;
mod pem;
mod serve;
mod signer;
mod wire;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

pub use keyring::{KeyError, Keyring};
pub use serve::Service;

/// Who signs.
#[derive(Clone, Debug)]
pub enum Agent {
    /// An agent that listens on a socket of this machine.
    Socket(PathBuf),
    /// Keys that were read from files.
    Keys(Arc<Keyring>),
}
