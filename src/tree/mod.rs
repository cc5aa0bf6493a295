//! File systems as plain data: one layer's entries ([`Tree`]), a chain of layers merged ([`View`]).
//!
//! COPY destinations, users, wildcards, symlinks and content keys are answered from here, without
//! unpacking and without mounting. Pure: no I/O. Paths are bytes, relative to the root, already
//! cleaned; a [`TreePath`] cannot leave its root by construction.
//!
//! ```text
//! Tree (one layer)         View (a chain)
//! etc/           dir       lookup  top layer first, one binary search a layer
//! etc/passwd     file      walk    one merge of the sorted layers
//! usr/bin/x      whiteout  resolve symlinks, inside the root
//! ```
//!
//! Invariants of a [`Tree`]: entries are sorted in tree order, no path occurs twice, and nothing
//! lies below an entry that is not a directory. Directories may be implied by what is in them.

mod codec;
mod entry;
mod error;
mod index;
mod note;
mod path;
mod resolve;
mod select;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod users;
mod view;
mod walk;
mod windows;

pub use codec::TREE_FORMAT;
pub use entry::{Content, Entry, Kind, Unread, is_image_xattr};
pub use error::{DecodeError, OwnerError, ResolveError};
pub use index::{KEPT_BYTES_MAX, Tree, is_kept};
pub use note::{
    DEVICE_NOTE, Device, LAYER_NOTES, LayerNotes, NOTES, OWNER_NOTE, SPECIAL_OWNER_NOTE,
    note_of_owner, owner_note, owner_of_note, special_owner_note, special_owner_of_note,
};
pub use path::TreePath;
pub use resolve::{Follow, Missing};
pub use select::{Selected, selection_digest};
pub use users::{Owner, resolve_owner};
pub use view::{Kept, Node, View};
pub use walk::Walk;
pub use windows::{WINDOWS_ATTRIBUTES, is_windows_record, wrap_windows};
