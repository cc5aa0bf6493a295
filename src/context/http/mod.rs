//! Files of the web: `ADD https://…`, http contexts, a Dockerfile by address.
//!
//! A download is kept in a directory that the caller gives, by SHA-256, with a small record by
//! address that holds what the server said of it (ETag, Last-Modified). The next use asks the
//! server whether that still holds and takes the kept file if so; a file whose checksum the
//! Dockerfile pins is taken without asking.
//!
//! ```text
//! <dir>/body/<sha256>     the bytes
//! <dir>/url/<sha256>      JSON: digest of the address, etag, last_modified, digest, size
//! ```
//!
//! Redirects are followed by hand: at most ten, http and https only, never from the open network
//! to this machine or its neighbours by address, and without the `Authorization` header once the
//! host changes (security.md B10).

mod client;
mod error;
mod fetch;
mod keep;
mod url;

pub use error::HttpError;
pub use fetch::{Fetched, Fetcher, Request};
pub use url::{UNNAMED, file_name, is_http_url, parse_http_date};

/// Whether a redirect between two addresses may be followed.
#[cfg(test)]
pub(super) fn may_redirect_text(from: &str, to: &str) -> bool {
    let parse = |text: &str| reqwest::Url::parse(text).ok();
    parse(from)
        .zip(parse(to))
        .is_some_and(|(from, to)| url::may_redirect(&from, &to))
}
