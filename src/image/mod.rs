//! The OCI image model: plain structs with public fields, unknown keys kept.
//!
//! Own structs, because the `oci-spec` crate writes maps in random order and drops `Healthcheck`,
//! `OnBuild` and `Shell` (docs/design/oci-types.md). Pure: no I/O.

pub mod assemble;
pub mod config;
pub mod manifest;

pub use assemble::{
    AssembleError, Document, Flavour, Image, LayerBlob, Parts, assemble, for_platform, index,
};
pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use manifest::{Compression, Descriptor, Index, Manifest, MediaType};
