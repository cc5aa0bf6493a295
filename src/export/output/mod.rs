//! `-o`: what shall become of the result, typed.
//!
//! The form is buildx's: one CSV record of `key=value` fields, `-o DIR` for a directory and `-o -`
//! for a tar on standard output. A key or value that is not understood is an error, never passed
//! over.

mod csv;
mod error;
mod parse;
mod spec;

pub use error::OutputSpecError;
pub use spec::{
    AnnotationLevel, Destination, LayoutForm, MediaTypes, OutputAnnotation, OutputKind, OutputSpec,
    PushMode,
};

#[cfg(test)]
mod tests;
