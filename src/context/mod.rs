//! Build contexts: a directory, a tar, a git tree or a file of the web in; a content-addressed
//! selection of files out.
//!
//! ```text
//! directory ─────────────┐
//! stdin, http: tar ──┐   │            wanted sources, .dockerignore, stat index
//! git ───────────────┴─▶ LocalContext ──scan──▶ Vec<tree::Entry>   (tree order, BLAKE3 contents)
//!                                     ──open──▶ File               (never outside, regular only)
//! ```
//!
//! * Only what the sources can touch is read ([`Wanted`]); links they name are followed inside the
//!   root and nowhere else; links inside a copied directory stay links.
//! * Contents come from a *stat index* like git's: a file is read again unless device, inode, size,
//!   mode, mtime and ctime are those of its last reading, which was later than one clock tick after
//!   its last change ([`stamp`]). So nothing stale is ever served.
//! * Owner is 0:0, extended attributes are dropped, as BuildKit does for local contexts
//!   (dockerfile.md §12). A socket becomes an empty file; FIFOs and devices are kept as metadata
//!   and never opened.
//! * Nothing here is trusted: every open is relative to the root with symlinks refused, does not
//!   block, and is checked to be a regular file.

pub mod archive;
pub mod dockerfile;
mod error;
mod follow;
pub mod git;
pub mod http;
mod index;
mod local;
mod root;
pub mod stamp;
mod walk;
mod wanted;

pub use error::ContextError;
pub use local::{IgnoreSource, LocalContext, Modes, Scan};
pub use stamp::{Stamp, unchanged};
pub use wanted::Wanted;

/// A path of a tree as the operating system writes it, relative.
pub(crate) fn os_path(path: &crate::tree::TreePath) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt as _;
    std::path::Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

/// Undoes percent-encoding; `None` if a `%` has no two hex digits behind it.
fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || {
            let value = char::from(bytes.next()?).to_digit(16)?;
            u8::try_from(value).ok()
        };
        decoded.push(digit()? << 4 | digit()?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests;
