//! What export needs from the rooms that keep layers, as traits: it knows no store.

use std::io::{self, Read, Write};
use std::path::Path;

use crate::digest::Digest;
use crate::image::Descriptor;
use crate::reference::Reference;

/// Where the blobs of layers are.
pub trait BlobSource: Sync {
    /// Opens a blob, from here or from the registry it came from. Export verifies what it reads.
    fn open(&self, descriptor: &Descriptor) -> io::Result<Box<dyn Read + Send>>;

    /// A repository on the registry of `target` that has the blob: it can be taken over from there
    /// without any byte passing through here.
    fn mount_candidate(&self, digest: &Digest, target: &Reference) -> Option<Reference>;

    /// Whether the bytes are on this machine.
    fn is_local(&self, digest: &Digest) -> bool;
}

/// The merged root file systems of the images of a set, by their number in it.
pub trait RootfsSource {
    /// Writes the entries of a root file system as tar, sorted, each name below `prefix` (empty, or
    /// a directory with a slash at its end), *without* the two blocks that end an archive.
    fn tar(&self, image: usize, prefix: &str, out: &mut dyn Write) -> io::Result<()>;

    /// Writes a root file system below an existing directory, beside what is there, as far as an
    /// ordinary user can: no owners, no devices. Nothing in it may reach outside.
    fn extract(&self, image: usize, directory: &Path) -> io::Result<()>;
}
