//! Builds and sandboxes on the real kernel.

mod sandbox;
