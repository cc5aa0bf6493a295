//! The client, made when first needed.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::blocking::{Client, ClientBuilder};
use reqwest::redirect::Policy;

use super::HttpError;

/// Silence after which a connection counts as dead.
const SILENCE_TIMEOUT: Duration = Duration::from_mins(1);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A client that is made on first use: its start costs milliseconds that most builds need not pay.
#[derive(Debug, Default)]
pub(super) struct LazyClient(OnceLock<Client>);

impl LazyClient {
    pub(super) fn client(&self) -> Result<&Client, HttpError> {
        if let Some(client) = self.0.get() {
            return Ok(client);
        }
        // Where the machine has no certificates at all, the roots of Mozilla serve.
        let client = builder()
            .build()
            .or_else(|_| builder().tls_certs_only(mozilla_roots()).build())
            .map_err(|source| HttpError::Client { source })?;
        Ok(self.0.get_or_init(|| client))
    }
}

fn builder() -> ClientBuilder {
    // The blocking client applies its timeout to the wait for the headers and to each read of the
    // body, not to the transfer as a whole. `read_timeout` of the async builder must not be set:
    // its body panics when it is read outside of a runtime (reqwest 0.13.5).
    ClientBuilder::new()
        .user_agent(concat!("builder/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(SILENCE_TIMEOUT)
}

fn mozilla_roots() -> Vec<Certificate> {
    webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .filter_map(|root| Certificate::from_der(root).ok())
        .collect()
}
