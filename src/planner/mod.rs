//! AST and arguments in, graph, keys and plan out. Pure: the outside world is asked only through
//! the small traits of [`ports`].

pub mod graph;
pub mod op;
pub mod ports;

pub mod key;

mod build;
mod error;
mod explain;
mod frontend;
mod lower;
mod onbuild;
mod plan;
mod probe;
mod request;
mod resolve;
mod scope;
mod source;
mod stage;
mod words;

#[cfg(test)]
mod tests;

pub use build::graph;
pub use error::{Cause, PlanError};
pub use explain::{Explanation, explain};
pub use plan::{Plan, PlannedStep};
pub use probe::{Verdict, plan};
pub use request::{EpochPolicy, NoCache, PlanRequest, RunDefaults};
pub use source::World;
