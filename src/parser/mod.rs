//! Text in, tree and diagnostics out. Pure and total: any input gives a tree.
//!
//! `grammar/dockerfile.pest` is the one truth of the syntax. This room does no I/O, resolves no
//! name and expands nothing by itself; [`expand`] is the word expansion that the planner calls.
//!
//! ```text
//! bytes ─file::from_bytes─▶ SourceFile ─directive─▶ zone ─lines─▶ Logical ─grammar─▶ Node
//!    ─instruction─▶ ast::Instruction              (heredoc bodies: lines again, asked by file)
//! ```
//!
//! Costs are linear in the text, and [`limit`] bounds them. [`format`](mod@format) prints a tree so
//! that parsing the print gives the tree again.

pub mod ast;
pub mod expand;
pub mod format;
pub mod limit;
pub mod mount;

mod directive;
mod duration;
mod file;
mod flag;
mod grammar;
mod heredoc;
mod instruction;
mod json;
mod lines;
mod problem;

#[cfg(test)]
mod tests;

pub use file::{describe, parse, parse_bytes, parse_trigger};
