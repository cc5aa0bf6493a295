//! tar, read and written for layers (POSIX.1-2017 pax, GNU extensions, Go's `archive/tar` as the
//! arbiter where they leave room).
//!
//! Only header fields are encoded by the `tar` crate: its reader splits PAX records at newlines
//! (a file capability with a 0x0a byte is lost, a value can smuggle a link target in), reads long
//! names without a bound and does not know PAX sparse files; its unpacker is not used at all.

mod error;
mod header;
mod pax;
mod reader;
mod sparse;
#[cfg(test)]
mod tests;
mod writer;

pub use error::TarError;
pub use header::{Member, MemberKind};
pub use reader::{Limits, Reader};
pub use writer::{TarEntry, append_header, end_of_archive, padding};

/// Bytes of a block: headers and data are padded to it.
pub const BLOCK: usize = 512;
