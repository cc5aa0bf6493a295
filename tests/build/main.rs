//! Builds and sandboxes on the real kernel.

mod sandbox;
mod sandbox_life;
mod sandbox_mounts;
mod sandbox_rungs;
mod sandbox_world;
