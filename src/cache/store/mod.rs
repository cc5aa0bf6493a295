//! The store: one directory, used by many builders at once, crash-only.
//!
//! ```text
//! ROOT/                         0700; an OCI image layout
//! ├── oci-layout
//! ├── index.json                the images, by name
//! ├── blobs/sha256/<hex>        layers, configs, manifests
//! └── builder/v1/               everything below is ours; a newer format gets its own directory
//!     ├── records/<hh>/<key>        sealed JSON: what a key stands for
//!     ├── operations/<key>          keys of records of one operation, newest last
//!     ├── layers/<diff id>         the faces of a layer: its blobs, its unpacked directory
//!     ├── trees/<diff id>          its tree index, sealed
//!     ├── dirs/<boot>-<session>-<n>/   unpacked layers, and drafts of them
//!     ├── work/ synced/ sizes/      of each directory: overlay's, whether durable, measured once
//!     ├── mounts/<id>/<n>/          cache mounts of RUN
//!     ├── contexts/<hash>           stat indexes of build contexts
//!     ├── names/<hash>              what a tag was resolved to
//!     ├── sessions/<session>        what running builders use; locked while they live
//!     ├── claims/<key>              locked while a step runs
//!     ├── tmp/<session>-<n>         files being written
//!     ├── trash/  quarantine/       being removed; damaged
//!     └── collector.lock  index.lock
//! ```
//!
//! Invariants
//! 1. A blob has its name only after its bytes are durable; what refers to it is written later
//!    still: blob, face, record, tag.
//! 2. Records, trees and names are sealed, not synced: a torn one is absent.
//! 3. Unpacked directories are never synced; their name states the boot in which they were made.
//!    After another boot they are absent, unless [`Store::settle`] made them durable.
//! 4. What a builder looks for, it pins first (see `session`); a collector never moves a pinned
//!    object.
//! 5. A face is there if its line in the layer's file is whole and what it names exists.
//! 6. Opening makes nothing. Directories come into being with their first file.
//!
//! Deliberately absent: a database, a daemon, a lock that a reader must take.

mod blob;
mod claim;
mod committer;
mod context;
mod dir;
mod faces;
pub(crate) mod file;
mod image;
mod layer;
mod lock;
mod maintenance;
mod mount;
mod name;
mod open;
mod paths;
mod records;
mod remove;
mod session;

pub use blob::{BlobReader, BlobWriter, Hashing};
pub use claim::{Claim, Lease, Patience, Waiting};
pub use dir::DirDraft;
pub use image::StoredImage;
pub use layer::LayerFaces;
pub use maintenance::{Class, ClassUsage, Fault, ImageUsage, Problem, PrunePolicy, Pruned, Usage};
pub use mount::{CacheMountLease, Sharing};
pub use name::ResolvedName;
pub use open::{Access, Store};
pub use remove::remove_tree;

#[cfg(test)]
mod tests;
