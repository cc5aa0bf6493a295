//! AST and arguments in, graph, keys and plan out. Pure: the outside world is asked only through
//! the small traits of [`ports`].

pub mod graph;
pub mod op;
pub mod ports;
