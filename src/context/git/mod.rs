//! Git trees as contexts and as sources of ADD.
//!
//! An address ([`GitRef`]) is resolved to a commit, which is what keys name, and fetched by the
//! `git` command into a private directory. The command sees no configuration of the machine, runs
//! no hook, asks nothing, speaks only to http, https, ssh and git servers, and never gets a word
//! from an address where it could be taken for an option (security.md B2).

mod command;
mod fetch;
mod reference;

pub use command::{GitError, GitOptions};
pub use fetch::{FetchedTree, GitSource, head_time};
pub use reference::{GitMtime, GitRef, GitRefError, is_git_url};
