//! What was done once is kept here: blobs by digest, layers by diff id, records by key.
//!
//! - [`key`]: a [`Key`] is the digest of a [`Material`], everything that a step observes.
//! - [`record`]: a [`Record`] says what a key stands for; immutable, the first writer wins.
//! - [`store`]: one directory on disk, used by many builders at once ([`Store`]).
//! - [`remote`]: caches that runners share.
//!
//! What comes out was verified on the way; what is damaged, torn or half written is absent.

mod error;
pub mod key;
pub mod record;
pub mod remote;
mod seal;
pub mod store;

pub use error::StoreError;
pub use key::{Key, Material};
pub use record::{BlobForm, RECORD_VERSION, Record};
pub use store::{Access, Store};
