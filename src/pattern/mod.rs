//! Patterns over paths: text in, a matcher out. Pure: no I/O.
//!
//! Three notations, one engine ([`program`]):
//!
//! | type | where | rules |
//! |---|---|---|
//! | [`Glob`] | sources of COPY and ADD | Go's `filepath.Match`, component by component, no `**` |
//! | [`DeepGlob`] | `COPY --parents` | the same with `**` across directories |
//! | [`Ignore`] | `.dockerignore`, `--exclude` | moby/patternmatcher: ordered, `!` brings back |
//!
//! Paths are bytes, cleaned, relative to the root of the tree, without leading slash. The engine
//! works on sets of positions: its time is bounded by pattern length × path length for every
//! input. Nothing here is gitignore: patterns are anchored at the root, a trailing slash means
//! nothing, braces are plain characters.

mod error;
mod glob;
mod ignore;
mod program;
mod syntax;

pub use error::PatternError;
pub use glob::{DeepGlob, Glob};
pub use ignore::{Ignore, Inherited};

#[cfg(test)]
mod tests;
