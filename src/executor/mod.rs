//! Plan in, layers out: runs steps in parallel, RUN in the sandbox, and snapshots what they change.

pub mod sandbox;
pub mod snapshot;
