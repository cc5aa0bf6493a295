//! The registry client and the exports, against Debian's registry, a server that can do everything
//! wrong, and skopeo as a judge that is not ours.

mod auth;
mod faults;
mod files;
mod hostile;
mod kit;
mod real;
