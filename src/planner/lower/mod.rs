//! Stages to steps: instructions become operations, configs are folded beside, history is told.

mod chmod;
mod config;
mod copy;
mod finish;
mod gofmt;
mod instruction;
mod label;
mod mount;
mod path;
mod port;
mod run;
mod signal;
mod stage;

pub(crate) use finish::target;
pub(crate) use stage::{LoweredStage, Lowering};
