//! The parallel walk: `getdents` and `statx` relative to directory descriptors, on rayon.
//!
//! A directory is one task; its names are sorted, filtered, stated and, where the stat index does
//! not know them, read. Big directories are split. Each task leaves a chunk; the chunks are put
//! together in tree order at the end, so the result does not depend on threads.

mod assembly;
mod content;
mod listing;
mod visit;

pub(super) use listing::list;
pub(super) use visit::{Progress, Walk};
