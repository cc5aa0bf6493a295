//! The only unsafe code: thin, safe wrappers around system calls that `nix` and `rustix` lack.
//!
//! One file per kernel topic; every wrapper takes and gives owned or borrowed descriptors and
//! reports failures as [`std::io::Error`]. Nothing here imports another room.

pub mod landlock;
pub mod limit;
#[cfg(target_env = "musl")]
pub mod memory;
pub mod mount;
pub mod network;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod status;
pub mod supervise;
pub mod terminal;
pub mod xattr;
