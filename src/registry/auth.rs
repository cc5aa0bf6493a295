//! Tokens and credentials in memory: who gets which, and when they are fetched anew.
//!
//! The first request to a registry carries nothing; its challenge is remembered, so that all
//! others, for other repositories too, come with the right header at once. Threads that need the
//! same token wait for one fetch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, Url, blocking};
use serde::Deserialize;

use super::auth_file::{AuthFile, Finding};
use super::challenge::{Challenge, RealmTrust, judge};
use super::client::Inner;
use super::credential::{Credential, Secret};
use super::endpoint::{Endpoint, Scheme, origin};
use super::error::{RegistryError, Request, Unacceptable, diagnose, parse_errors, redacted};
use super::helper::{self, Helper};
use super::retry::{is_transient, parse_retry_after, pause};
use super::transport::read_limited;
use crate::clock::Stopwatch;

const TOKEN_BYTES_MAX: u64 = 1 << 20;
/// What a token without `expires_in` lives (docker's token specification).
const LIFETIME_DEFAULT: Duration = Duration::from_secs(60);
const LIFETIME_MAX: Duration = Duration::from_secs(3600);

/// What requests are allowed to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Access {
    /// `repository:NAME:pull,push` and the like; empty for `/v2/` itself.
    pub(super) scopes: Vec<String>,
    /// `pull` or `push`, for messages.
    pub(super) action: &'static str,
}

impl Access {
    pub(super) fn pull(repository: &str) -> Self {
        Self {
            scopes: vec![format!("repository:{repository}:pull")],
            action: "pull",
        }
    }

    pub(super) fn push(repository: &str) -> Self {
        Self {
            scopes: vec![format!("repository:{repository}:pull,push")],
            action: "push",
        }
    }

    /// Push, and pull from another repository of the registry.
    pub(super) fn mount(repository: &str, from: &str) -> Self {
        let mut access = Self::push(repository);
        access.scopes.push(format!("repository:{from}:pull"));
        access
    }

    pub(super) fn login() -> Self {
        Self {
            scopes: Vec::new(),
            action: "login",
        }
    }
}

/// Origin and scopes: what a token is for.
type TokenKey = (String, Vec<String>);
type Slot<T> = Arc<Mutex<Option<T>>>;

/// What was learnt and fetched so far.
#[derive(Debug, Default)]
pub(super) struct Auth {
    challenges: Mutex<BTreeMap<String, Challenge>>,
    tokens: Mutex<BTreeMap<TokenKey, Slot<Token>>>,
    credentials: Mutex<BTreeMap<String, Slot<Option<Credential>>>>,
}

#[derive(Clone, Debug)]
struct Token {
    header: Secret,
    age: Stopwatch,
    lifetime: Duration,
}

impl Token {
    fn is_fresh(&self) -> bool {
        self.age.elapsed() < self.lifetime.mul_f64(0.9)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Auth {
    fn slot<K: Ord, T>(map: &Mutex<BTreeMap<K, Slot<T>>>, key: K) -> Slot<T> {
        Arc::clone(lock(map).entry(key).or_default())
    }

    /// Puts a credential in place of what files and helpers would say.
    pub(super) fn set_credential(&self, endpoint: &Endpoint, credential: Credential) {
        let slot = Self::slot(&self.credentials, endpoint.name());
        *lock(&slot) = Some(Some(credential));
    }
}

/// A 401 and what it was an answer to.
pub(super) struct Rejection<'a> {
    pub(super) url: &'a Url,
    pub(super) challenge: Challenge,
    pub(super) header: Option<&'a Secret>,
}

impl Inner {
    /// The `Authorization` header for a request to the endpoint's own address `url`, if it is
    /// known that it needs one.
    pub(super) fn authorization(
        &self,
        endpoint: &Endpoint,
        url: &Url,
        access: &Access,
    ) -> Result<Option<Secret>, RegistryError> {
        let challenge = lock(&self.auth.challenges).get(&origin(url)).cloned();
        match challenge {
            None => Ok(None),
            Some(Challenge::Basic) => {
                let credential = self.credential(endpoint)?;
                Ok(credential.and_then(|credential| credential.basic_header()))
            }
            Some(Challenge::Bearer { realm, service, .. }) => {
                let slot = Auth::slot(&self.auth.tokens, (origin(url), access.scopes.clone()));
                let mut token = lock(&slot);
                if let Some(token) = token.as_ref().filter(|token| token.is_fresh()) {
                    return Ok(Some(token.header.clone()));
                }
                let want = Want {
                    endpoint,
                    registry: url,
                    realm: &realm,
                    service: service.as_deref(),
                    access,
                };
                let fetched = self.fetch_token(&want)?;
                let header = fetched.header.clone();
                *token = Some(fetched);
                Ok(Some(header))
            }
        }
    }

    /// Takes note of a 401 from the endpoint itself. Returns whether another try with what is now
    /// known can do better.
    pub(super) fn take_challenge(
        &self,
        endpoint: &Endpoint,
        access: &Access,
        rejection: Rejection<'_>,
    ) -> bool {
        let origin = origin(rejection.url);
        let slot = Auth::slot(&self.auth.tokens, (origin.clone(), access.scopes.clone()));
        let mut token = lock(&slot);
        // Another thread may have fetched a new one in the meantime.
        if token.as_ref().map(|token| &token.header) == rejection.header {
            *token = None;
        }
        if rejection.header.is_some() {
            // What a file or helper said may be outdated; ask it again.
            let slot = Auth::slot(&self.auth.credentials, endpoint.name());
            let mut credential = lock(&slot);
            if access.action != "login" {
                *credential = None;
            }
        }
        let basic_again = rejection.challenge == Challenge::Basic && rejection.header.is_some();
        lock(&self.auth.challenges).insert(origin, rejection.challenge);
        !basic_again
    }

    /// The credential for an endpoint: from the text and files of the options in their order, and
    /// the helpers that they name.
    pub(super) fn credential(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Option<Credential>, RegistryError> {
        let slot = Auth::slot(&self.auth.credentials, endpoint.name());
        let mut known = lock(&slot);
        if let Some(credential) = known.as_ref() {
            return Ok(credential.clone());
        }
        let found = self.find_credential(&endpoint.registry, &endpoint.repository)?;
        *known = Some(found.clone());
        Ok(found)
    }

    fn find_credential(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, RegistryError> {
        let inline = self.options.inline_auth.as_ref();
        // A text that is no JSON says nothing; it must not be shown either.
        let inline = inline.and_then(|text| AuthFile::parse(&text.0).ok());
        if let Some(file) = inline
            && let Some(credential) = self.ask(&file, registry, repository)?
        {
            return Ok(Some(credential));
        }
        for path in &self.options.auth_files {
            let file = AuthFile::read(path).map_err(|source| RegistryError::AuthFile {
                path: path.clone(),
                source,
            })?;
            if let Some(file) = file
                && let Some(credential) = self.ask(&file, registry, repository)?
            {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    /// Asks what one file names for a repository.
    fn ask(
        &self,
        file: &AuthFile,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, RegistryError> {
        for finding in file.find(registry, repository) {
            let credential = match finding {
                Finding::Credential(credential) => Some(credential),
                Finding::Helper(name) => {
                    let path = self.options.helper_path.as_deref();
                    let helper = Helper { name: &name, path };
                    helper::get(helper, registry).map_err(|source| RegistryError::Helper {
                        registry: registry.to_owned(),
                        source,
                    })?
                }
            };
            if credential.is_some() {
                return Ok(credential);
            }
        }
        Ok(None)
    }

    fn fetch_token(&self, want: &Want<'_>) -> Result<Token, RegistryError> {
        let refused = |reason| RegistryError::Realm {
            registry: want.endpoint.registry.clone(),
            realm: Url::parse(want.realm).map_or_else(|_| String::new(), |url| redacted(&url)),
            reason,
        };
        let realm =
            Url::parse(want.realm).map_err(|_| refused(super::challenge::RealmError::Address))?;
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
        parse_token(&body, age).ok_or_else(|| RegistryError::Answer {
            request: Request::new(&Method::GET, &realm),
            reason: Unacceptable::Json("no token in it".to_owned()),
        })
    }

    fn ask_token_server(
        &self,
        want: &Want<'_>,
        realm: &Url,
        credential: Option<&Credential>,
    ) -> Result<Vec<u8>, RegistryError> {
        let trust = if realm.host_str() == want.registry.host_str() {
            let scheme = self
                .known_scheme(&want.endpoint.host)
                .unwrap_or(Scheme::Https);
            match realm.scheme() {
                "http" => self.stranger_trust(realm),
                _ if scheme == Scheme::Http => self.stranger_trust(realm),
                _ => self.trust(&want.endpoint.host, scheme),
            }
        } else {
            self.stranger_trust(realm)
        };
        let client = self.pool.client(&trust, &self.options)?;
        let mut attempt = 1;
        loop {
            self.check_stop(want.endpoint)?;
            let builder = token_request(&client, want, realm, credential);
            let (error, retry_after) =
                match self.token_answer(builder, want, realm, credential.is_some()) {
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

    fn token_answer(
        &self,
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
        let body = read_limited(&mut response, TOKEN_BYTES_MAX, &request)
            .map_err(|error| (error, None))?;
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
}

/// What a token is wanted for.
struct Want<'a> {
    endpoint: &'a Endpoint,
    registry: &'a Url,
    realm: &'a str,
    service: Option<&'a str>,
    access: &'a Access,
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
