//! Real builds on the real kernel, checked by tools that are not ours.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests unwrap, say why they are skipped, and mark their helper processes by environment"
)]

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod base;
mod cache;
mod copy;
mod examples;
mod hostile;
mod image;
mod kills;
mod ladder;
mod language;
mod limits;
mod network;
mod sandbox;
mod sandbox_life;
mod sandbox_mounts;
mod sandbox_rungs;
mod sandbox_world;
