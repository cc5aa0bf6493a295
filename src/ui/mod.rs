//! The faces of a build: progress on a terminal, in a log, as JSON; diagnostics and failures.
//!
//! Enters: the stream of [`crate::event::Event`]s, diagnostics, failures. Leaves: text on a
//! writer that is handed in. Knows nothing of the environment: colour, width and time come from
//! `cli`. A [`Console`] keeps one [`board`] of what is going on and one reader that draws it:
//!
//! ```text
//! Event ─▶ Board (names, output lines, parts) ─▶ plain │ tty │ rawjson │ quiet ─▶ Write
//! ```
//!
//! Text of RUN steps is hostile: every control character is taken out before it reaches a log or
//! a terminal (see [`text`]); only raw JSON carries the bytes as they came.

pub mod check;
pub mod console;
pub mod render;
pub mod table;
pub mod text;
pub mod units;

mod board;
mod plain;
mod rawjson;
mod tty;

#[cfg(test)]
mod tests;

pub use console::{Console, ConsoleOptions, Mode};
pub use render::Style;
pub use table::Table;
