//! The registry client and the exports, against Debian's registry, a server that can do everything
//! wrong, and skopeo as a judge that is not ours.

#![expect(
    clippy::unwrap_used,
    clippy::cloned_ref_to_slice_refs,
    reason = "a test that cannot go on fails, and a name is a name"
)]

#[path = "../common/mod.rs"]
mod common;

mod auth;
mod faults;
mod files;
mod hostile;
mod kit;
mod real;
