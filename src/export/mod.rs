//! Image in; registry, layout, archive, running engine, directory or tar out.
//!
//! In go an [`ExportSet`] (the bytes of configs, manifests and an index, made by [`assemble`](ExportSet::assemble)
//! once and the same for every output of one form), a [`BlobSource`] that opens layers wherever they
//! are, and a [`RootfsSource`] for outputs that are files and not images. What leaves is written
//! completely or not at all: files by rename, a repository's tag last.
//!
//! Bytes of an archive are a pure function of the set and the names: sorted entries, one time.
//!
//! Deliberately absent: compression (a layer comes with the descriptor it shall have) and the file
//! system (the sources know it).

mod archive;
mod destination;
mod error;
mod layout;
mod load;
mod output;
mod push;
mod rootfs;
mod set;
mod source;
mod verify;

pub use archive::{write_docker_archive, write_oci_archive};
pub use destination::write_file;
pub use error::ExportError;
pub use layout::write_layout;
pub use load::{Loaded, load};
pub use output::{
    AnnotationLevel, Destination, LayoutForm, MediaTypes, OutputAnnotation, OutputKind, OutputSpec,
    OutputSpecError, PushMode,
};
pub use push::{PushOptions, PushSummary, push};
pub use rootfs::{replace_rootfs_directory, write_rootfs_directory, write_rootfs_tar};
pub use set::{Document, ExportImage, ExportLayer, ExportSet, Style};
pub use source::{BlobSource, RootfsSource};
pub use verify::{Mismatch, verify};
