//! The command line from outside: words in; exit code, standard output and standard error out.

#[path = "../common/mod.rs"]
mod common;

mod checks;
mod flags;
mod help;
mod signals;
mod store;
mod streams;
