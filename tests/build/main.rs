//! Builds and sandboxes on the real kernel.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests unwrap, say why they are skipped, and mark their helper processes by environment"
)]

mod sandbox;
mod sandbox_life;
mod sandbox_mounts;
mod sandbox_rungs;
mod sandbox_world;
