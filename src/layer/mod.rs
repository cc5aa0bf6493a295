//! Layers: changes ↔ tar ↔ directory, and compression.
//!
//! ```text
//! entries + contents ──write_layer──▶ tar ──▶ diff id, tree
//!                                      └─Encoding─▶ blob
//! blob ──decompress──▶ tar ──index──▶ tree      (nothing unpacked)
//!                          ├─apply──▶ directory (an overlay lower)
//!                          ├─pick───▶ some files
//!                          └─flatten▶ one file system as a tar
//! ```
//!
//! A layer's bytes are a function of its entries, its contents and the epoch. What comes in is
//! hostile: sizes are bounded, nothing is ever made outside the target, and where readers of tar
//! could disagree the layer is refused.

mod apply;
mod assemble;
pub mod compress;
mod error;
mod flatten;
mod index;
mod pick;
pub mod tar;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod write;

pub use apply::{ApplyOptions, OverlayXattr, Ownership, apply};
pub use compress::blocks::BlobInfo;
pub use compress::{CODEC_VERSION, DEFAULT_GZIP_LEVEL, DEFAULT_ZSTD_LEVEL, Encoding, decompress};
pub use error::LayerError;
pub use flatten::Flatten;
pub use index::{Indexed, index, index_archive};
pub use pick::{Spool, pick};
pub use tar::Limits;
pub use write::{Contents, Encoded, Written, encode_tar, write_layer};

/// A plain tar, open for reading.
pub type Opened<'a> = Box<dyn std::io::Read + Send + 'a>;
