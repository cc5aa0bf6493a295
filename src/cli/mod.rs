//! Words in, an exit code out: the door of the house.
//!
//! ```text
//! words ─args─▶ Args ─request─▶ BuildRequest ─pipeline─▶ BuildResult ─commands─▶ text, files
//! ```
//!
//! Only this room reads the environment; only this room and `ui` print. Standard output carries
//! data (an image id, JSON, a tar), everything else goes to standard error.

pub mod args;
pub mod environment;
pub mod error;
pub mod request;

mod commands;
mod docker_config;
mod files;
mod interrupt;
mod isolation;
mod run;
mod screen;

pub use environment::Environment;
pub use error::{CliError, Stop};
pub use run::main;
