//! File systems as plain data: one layer's entries ([`Tree`]), a chain of layers merged ([`View`]).
//!
//! COPY destinations, users, wildcards, symlinks and content keys are answered from here, without
//! unpacking and without mounting. Pure: no I/O. Paths are bytes, relative to the root, already
//! cleaned; a [`TreePath`] cannot leave its root by construction.

mod entry;
mod path;

pub use entry::{Entry, Kind};
pub use path::TreePath;
