//! Text in, tree and diagnostics out. Pure and total: any input gives a tree.
//!
//! `grammar/dockerfile.pest` is the one truth of the syntax. This room does no I/O, resolves no
//! name and expands nothing by itself; [`expand`] is the word expansion that the planner calls.

pub mod ast;
