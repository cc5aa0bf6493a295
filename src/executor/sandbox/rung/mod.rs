//! The isolation ladder: which way of running commands this machine and this user allow.
//!
//! Nothing is decided from versions or settings: each rung is tried in a child process, down to
//! the last step before the command. Settings are only read to explain a failure and to name the
//! remedy. What was found is remembered in the store until anything that could change it changes.

mod enter;
mod ladder;
mod link;
mod own_ids;
mod remedy;
mod subid;
mod trial;

pub use enter::{Again, MARKER, RungError, current, enter};
pub use ladder::{Ladder, Standing, Verdict};
pub use link::{RunNetwork, try_network};
pub use trial::{probe, probe_anew};

pub(super) use enter::{ENTER, enter_main};
pub(super) use link::{LINK_TRIAL, link_trial_main};
pub(super) use trial::{TRIAL, trial_main};
