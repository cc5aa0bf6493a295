//! The OCI image model: plain structs with public fields, unknown keys kept.
//!
//! Own structs, because the `oci-spec` crate writes maps in random order and drops `Healthcheck`,
//! `OnBuild` and `Shell`; a digest is of our bytes. Pure: no I/O.

pub mod complete;
pub mod config;
pub mod manifest;

pub use complete::{Parts, complete};
pub use config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use manifest::{Compression, Descriptor, Index, Manifest, MediaType};
