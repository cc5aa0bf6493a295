//! What a RUN left in its overlay upper directory → a layer.
//!
//! ```text
//! upper ──freeze──▶ Frozen (entries, nothing read) ──write──▶ blob, tree
//!   metadata only: the next step waits          on another thread, later
//! ```
//!
//! Where there is no overlay, the command worked in the very root, and its changes are what differs
//! between two [`Listing`]s of it:
//!
//! ```text
//! root ──survey──▶ Listing ──(the command)──▶ changes ──▶ Frozen, the next Listing
//! ```
//!
//! The entries are canonical, the same whichever way the root was assembled: what is equal to what
//! the layers below show is left out, what vanished is a deletion of exactly that path (never an
//! opaque directory), the first name of a file in tree order is the file.

mod compare;
mod error;
mod freeze;
mod level;
mod listing;
mod parallel;
#[cfg(test)]
mod tests;

pub use compare::Believed;
pub use error::SnapshotError;
pub use freeze::{FreezeOptions, Frozen, freeze};
pub use listing::{Listing, changes, survey};
