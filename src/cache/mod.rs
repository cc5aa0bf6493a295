//! What was done once is kept here: blobs by digest, layers by diff id, records by key.

pub mod key;
pub mod record;
pub mod remote;

pub use key::{Key, Material};
pub use record::Record;
