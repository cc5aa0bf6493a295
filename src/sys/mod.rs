//! The only unsafe code: thin, safe wrappers around system calls that `nix` and `rustix` lack.
//!
//! One file per kernel topic; every wrapper takes and gives owned or borrowed descriptors and
//! reports failures as [`std::io::Error`]. Nothing here imports another room.

pub mod xattr;
