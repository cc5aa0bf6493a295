//! The only unsafe code: thin and safe wrappers, one file per kernel topic.

pub mod signal;
pub mod terminal;
