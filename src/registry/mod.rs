//! The distribution protocol (OCI distribution-spec 1.1): resolve, pull, push, credentials.
//!
//! In goes a [`Reference`](crate::reference::Reference) and what the user's files say about its
//! registry ([`RegistryOptions`]); out come verified manifests and blobs, or an [`RegistryError`]
//! that says what to do. [`Client`] blocks and may be shared by threads.
//!
//! What holds here:
//!
//! - Credentials go to the origin they belong to and to nothing else: not to a redirect's target,
//!   not to a token server that the registry has no right to name, not to an upload address
//!   elsewhere. A challenge counts only if the registry itself sent it.
//! - Bytes from outside are bounded, and verified before anybody relies on them. A resumed
//!   download is never a splice of two contents.
//! - Nothing is done before it is needed: no ping, no credential helper, no certificate store and
//!   no thread before the first request that needs it.
//!
//! Deliberately absent: schema 1 manifests, foreign layer URLs, content trust.

mod auth;
mod auth_file;
mod blob;
mod challenge;
mod client;
mod credential;
mod endpoint;
mod error;
mod helper;
mod http;
mod json;
mod login;
mod manifest;
mod message;
mod mirror;
mod options;
mod push;
mod resolve;
mod retry;
mod token;
mod toml;
mod transport;

pub use blob::BlobReader;
pub use challenge::RealmError;
pub use client::Client;
pub use credential::{Credential, Secret};
pub use error::{ApiError, Broken, RegistryError, Request, Unacceptable};
pub use helper::HelperError;
pub use login::{LoginOutcome, StoredIn};
pub use mirror::{Mirror, MirrorPulls, MirrorRule};
pub use options::{ProxyOptions, RegistryOptions, RetryPolicy};
pub use push::Pushed;
pub use resolve::{Known, Nothing, ResolvedManifest, choose};

/// The largest manifest or index that is read, in bytes (distribution-spec asks for at least this).
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// The largest image config that is read, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 4 << 20;
