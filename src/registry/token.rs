//! Token servers (distribution-spec's token authentication, OAuth 2 refresh tokens).

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, Url, blocking};
use serde::Deserialize;

use super::auth::Access;
use super::challenge::{RealmError, RealmTrust, judge};
use super::client::Inner;
use super::credential::{Credential, Secret};
use super::endpoint::{Endpoint, same_origin};
use super::error::{RegistryError, Request, Unacceptable};
use super::message::{diagnose, parse_errors, redacted};
use super::retry::{is_transient, parse_retry_after, pause};
use super::transport::read_limited;
use crate::clock::Stopwatch;

const TOKEN_BYTES_MAX: u64 = 1 << 20;
/// What a token without `expires_in` lives (docker's token specification).
const LIFETIME_DEFAULT: Duration = Duration::from_mins(1);
const LIFETIME_MAX: Duration = Duration::from_hours(1);

/// A token and how long it is good.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) header: Secret,
    age: Stopwatch,
    lifetime: Duration,
}

impl Token {
    /// Whether it may be used for another request.
    pub(super) fn is_fresh(&self) -> bool {
        self.age.elapsed() < self.lifetime.mul_f64(0.9)
    }
}

/// What a token is wanted for.
pub(super) struct Want<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) registry: &'a Url,
    pub(super) realm: &'a str,
    pub(super) service: Option<&'a str>,
    pub(super) access: &'a Access,
}

impl Inner {
    /// Gets a token from the server that the registry named, if that may be asked.
    pub(super) fn fetch_token(&self, want: &Want<'_>) -> Result<Token, RegistryError> {
        let refused = |reason| RegistryError::Realm {
            registry: want.endpoint.registry.clone(),
            realm: Url::parse(want.realm).map_or_else(|_| String::new(), |url| redacted(&url)),
            reason,
        };
        let realm = Url::parse(want.realm).map_err(|_| refused(RealmError::Address))?;
        let allowed = self.options.token_hosts.get(&want.endpoint.registry);
        let insecure = |host: &str| self.may_be_plain(host);
        let trust = judge(&realm, want.registry, allowed, &insecure).map_err(refused)?;
        let credential = match trust {
            RealmTrust::Credentials => self.credential(want.endpoint)?,
            RealmTrust::Anonymous => None,
        };
        if let Some(Credential::Token(token)) = credential {
            return Ok(Token {
                header: Secret(format!("Bearer {}", token.0)),
                age: Stopwatch::start(),
                lifetime: LIFETIME_MAX,
            });
        }
        let age = Stopwatch::start();
        let body = self.ask_token_server(want, &realm, credential.as_ref())?;
        parse_token(&body, age).ok_or_else(|| {
            RegistryError::unacceptable(
                Request::new(&Method::GET, &realm),
                Unacceptable::Json("no token in it".to_owned()),
            )
        })
    }

    fn ask_token_server(
        &self,
        want: &Want<'_>,
        realm: &Url,
        credential: Option<&Credential>,
    ) -> Result<Vec<u8>, RegistryError> {
        // Only the registry's own origin is believed as the registry is.
        let trust = match self.known_scheme(want.endpoint) {
            Some(scheme) if same_origin(realm, want.registry) => {
                self.trust(&want.endpoint.host, scheme)
            }
            _ => self.stranger_trust(realm),
        };
        let client = self.pool.client(&trust, &self.options)?;
        let mut attempt = 1;
        loop {
            self.check_stop(want.endpoint)?;
            let builder = token_request(&client, want, realm, credential);
            let (error, retry_after) =
                match token_answer(builder, want, realm, credential.is_some()) {
                    Ok(body) => return Ok(body),
                    Err(failed) => failed,
                };
            let transient = match &error {
                RegistryError::Status { status, .. } => is_transient(status.as_u16()),
                RegistryError::Transport { .. } => true,
                _ => false,
            };
            if !transient || attempt >= self.options.retry.attempts {
                return Err(error);
            }
            if !self
                .stop
                .wait(pause(&self.options.retry, attempt, retry_after))
            {
                return Err(error);
            }
            attempt += 1;
        }
    }
}

/// Sends a request to a token server; the body of a success, or the error and the pause asked for.
fn token_answer(
    builder: blocking::RequestBuilder,
    want: &Want<'_>,
    realm: &Url,
    had_credential: bool,
) -> Result<Vec<u8>, (RegistryError, Option<Duration>)> {
    let request = Request::new(&Method::GET, realm);
    let broken = |error: &reqwest::Error| {
        let (broken, detail) = diagnose(error);
        let request = request.clone();
        (
            RegistryError::Transport {
                request,
                broken,
                detail,
            },
            None,
        )
    };
    let mut response = builder.send().map_err(|error| broken(&error))?;
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| parse_retry_after(value.to_str().ok()?));
    let body =
        read_limited(&mut response, TOKEN_BYTES_MAX, &request).map_err(|error| (error, None))?;
    match status.as_u16() {
        200..=299 => Ok(body),
        401 | 403 => Err((
            RegistryError::Denied {
                action: want.access.action,
                registry: want.endpoint.registry.clone(),
                repository: want.endpoint.name(),
                had_credential,
                answer: parse_errors(&body),
            },
            None,
        )),
        _ => Err((
            RegistryError::Status {
                request,
                status,
                answer: parse_errors(&body),
            },
            retry_after,
        )),
    }
}

/// `GET realm?service=…&scope=…` with Basic, or OAuth's `POST` for a refresh token.
fn token_request(
    client: &blocking::Client,
    want: &Want<'_>,
    realm: &Url,
    credential: Option<&Credential>,
) -> blocking::RequestBuilder {
    if let Some(Credential::Identity(token)) = credential {
        let mut form = Url::parse("form:").unwrap_or_else(|_| realm.clone());
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", want.service.unwrap_or_default())
            .append_pair("client_id", "builder")
            .append_pair("scope", &want.access.scopes.join(" "))
            .append_pair("refresh_token", &token.0);
        return client
            .post(realm.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned());
    }
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = want.service {
            query.append_pair("service", service);
        }
        for scope in &want.access.scopes {
            query.append_pair("scope", scope);
        }
    }
    let request = client.get(url);
    match credential.and_then(Credential::basic_header) {
        Some(header) => request.header(AUTHORIZATION, header.0),
        None => request,
    }
}

fn parse_token(body: &[u8], age: Stopwatch) -> Option<Token> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<f64>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let token = filled(answer.token).or_else(|| filled(answer.access_token))?;
    // A token with a line break would be a header of its own.
    if token.chars().any(|c| c.is_control() || !c.is_ascii()) {
        return None;
    }
    let lifetime = answer
        .expires_in
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|lifetime| !lifetime.is_zero());
    Some(Token {
        header: Secret(format!("Bearer {token}")),
        age,
        lifetime: lifetime.unwrap_or(LIFETIME_DEFAULT).min(LIFETIME_MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_with_their_lifetime() {
        let lifetime = |body: &str| {
            parse_token(body.as_bytes(), Stopwatch::start()).map(|token| token.lifetime.as_secs())
        };
        assert_eq!(lifetime(r#"{"token":"t","expires_in":300}"#), Some(300));
        assert_eq!(lifetime(r#"{"access_token":"t"}"#), Some(60));
        assert_eq!(
            lifetime(r#"{"token":"","access_token":"t","expires_in":0}"#),
            Some(60)
        );
        assert_eq!(lifetime(r#"{"token":"t","expires_in":1e18}"#), Some(3600));
        assert_eq!(lifetime(r#"{"token":"t","expires_in":-5}"#), Some(60));
        for bad in [
            "",
            "{}",
            r#"{"token":""}"#,
            r#"{"token":"a\r\nHost: x"}"#,
            "<html>",
        ] {
            assert_eq!(lifetime(bad), None, "{bad}");
        }
    }
}
