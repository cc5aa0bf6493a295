//! The command line from outside: words in; exit code, standard output and standard error out.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../common/mod.rs"]
mod common;

mod checks;
mod flags;
mod help;
mod signals;
mod store;
mod streams;
