//! AST and arguments in, graph, keys and plan out. Pure: the outside world is asked only through
//! the small traits of [`ports`].
//!
//! ```text
//! ast ─stage─▶ StageTable ─resolve─▶ StageGraph ─lower─▶ Graph ─key─▶ Material ─probe─▶ Plan
//!               names         bases, ONBUILD,     steps,          definition       Given | Cached
//!                             reachable stages    configs,        keys             | Build
//!                             (one a platform)    history                          | Undetermined
//! ```
//!
//! * [`graph`](graph()) makes the graph of a request; [`plan`](plan()) asks the cache about it, and
//!   [`explain`](explain()) says what differs from before. Nothing is run and nothing is read but
//!   what the ports read.
//! * Phases are types: a stage before and after its base is known, a graph, a plan.
//! * Config and history are folded beside the steps; steps know nothing of them.
//! * [`key`] holds what each step can observe, once, in a table.
//! * What the user wrote wrong is a diagnostic with its place; all of a phase are told at once.
//! * Untrusted text is bounded: expansion and inheritance share one budget a plan.

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
mod outline;
mod plan;
mod probe;
mod request;
mod resolve;
mod scope;
mod source;
mod stage;
mod survey;
mod variable;
mod words;

#[cfg(test)]
mod tests;

pub use build::graph;
pub use error::{Cause, PlanError};
pub use explain::{Explanation, explain};
pub use outline::{Listed, Outline, OutlineArg, OutlineMount, TargetLine, outline, targets};
pub use plan::{Plan, PlannedStep};
pub use probe::{Verdict, plan};
pub use request::{EpochPolicy, NoCache, PlanRequest, RunDefaults};
pub use source::World;
pub use survey::{Survey, arguments, survey};
pub use variable::Variable;
