//! What is in the store, what of it can go, and whether it is sound.
//!
//! - `inventory` reads everything once.
//! - `usage` adds it up: [`Store::du`](super::Store::du).
//! - `leftovers` are what killed builders left: [`Store::clean`](super::Store::clean).
//! - `prune` removes what was not used for longest: [`Store::prune`](super::Store::prune).
//! - `fsck` proves every byte and every reference: [`Store::fsck`](super::Store::fsck).

mod fsck;
mod inventory;
mod leftovers;
mod prune;
mod usage;

pub use fsck::{Fault, Problem};
pub use prune::{PrunePolicy, Pruned};
pub use usage::{Class, ClassUsage, ImageUsage, Usage};
