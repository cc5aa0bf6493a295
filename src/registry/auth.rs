//! Tokens and credentials in memory: who gets which, and when they are fetched anew.
//!
//! The first request to a registry carries nothing; its challenge is remembered, so that all
//! others, for other repositories too, come with the right header at once. Threads that need the
//! same token wait for one fetch.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Url;

use super::auth_file::{AuthFile, Finding};
use super::challenge::Challenge;
use super::client::Inner;
use super::credential::{Credential, Secret};
use super::endpoint::{Endpoint, origin};
use super::error::RegistryError;
use super::helper::{self, Helper};
use super::token::{Token, Want};

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

    /// Takes note of a 401 from the endpoint itself, and forgets what was rejected.
    pub(super) fn take_challenge(
        &self,
        endpoint: &Endpoint,
        access: &Access,
        rejection: Rejection<'_>,
    ) {
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
        lock(&self.auth.challenges).insert(origin, rejection.challenge);
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
}
