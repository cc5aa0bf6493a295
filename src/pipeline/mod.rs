//! The street as one readable function: request in, images out.

pub mod request;
pub mod result;
pub mod transfer;
