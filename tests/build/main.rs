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
#[expect(dead_code, reason = "the registry's tests use all of it")]
#[path = "../registry/kit/server.rs"]
mod server;

mod bad_input;
mod base;
mod bases;
mod cache;
mod caches;
mod copy;
mod entitlements;
mod escapes;
mod examples;
mod hostile;
mod image;
mod kills;
mod ladder;
mod ladder_debian;
mod ladder_links;
mod ladder_proc;
mod ladder_systemd;
mod ladder_users;
mod language;
mod limits;
mod network;
mod notes;
mod onbuild;
mod options;
mod platforms;
mod pods;
mod remote;
mod sandbox;
mod sandbox_life;
mod sandbox_mounts;
mod sandbox_rungs;
mod sandbox_world;
mod ssh;
mod windows;
