//! `builder` compiles a Dockerfile into an OCI image.
//!
//! The library is one street, walked downward only (see `ARCHITECTURE.md`):
//!
//! ```text
//! Dockerfile ─parse─▶ ast ─stages, lower─▶ Graph ─key, probe─▶ Plan ─execute─▶ Layer
//!    ─assemble─▶ Image ─export─▶ store, registry, OCI layout, archive, directory, tar
//! ```
//!
//! Modules are listed by rank: a module may use only modules above it in this file, never one of
//! its own rank. `tests/tidy` holds the table.

// Rank 0: values.
pub mod clock;
pub mod diagnostic;
pub mod digest;
pub mod platform;

// Rank 1: names, events, failures, system calls.
pub mod event;
pub mod failure;
pub mod reference;
pub mod sys;

// Rank 2: pure models, and paths inside a root.
pub mod image;
pub mod parser;
pub mod pattern;
pub mod rooted;
pub mod tree;

// Rank 3: the rooms that touch one kind of outside thing each.
pub mod context;
pub mod layer;
pub mod lint;
pub mod registry;
pub mod ui;

// Rank 4 to 9: the street itself.
pub mod cache;
pub mod cli;
pub mod executor;
pub mod export;
pub mod pipeline;
pub mod planner;

// No room: for unit tests only.
#[cfg(test)]
mod testing;
