//! The handle that all operations hang on, and the choice of places to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::auth::Auth;
use super::challenge::authority;
use super::endpoint::{Endpoint, Scheme, is_listed, is_loopback};
use super::error::RegistryError;
use super::http::{Pool, Trust, certificates_of};
use super::mirror::{MirrorPulls, MirrorRule, Routes};
use super::options::RegistryOptions;
use super::retry::Stop;
use crate::digest::Digest;
use crate::reference::Reference;

/// A client for all registries. Cheap to make and to clone; its clones share connections, tokens
/// and what they learnt. Its methods block and may be called from many threads, but not from
/// inside an asynchronous runtime.
#[derive(Clone)]
pub struct Client {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) options: Arc<RegistryOptions>,
    pub(super) pool: Pool,
    pub(super) auth: Auth,
    pub(super) stop: Stop,
    routes: OnceLock<Routes>,
    hosts_rules: Mutex<BTreeMap<String, Option<MirrorRule>>>,
    /// What works, by host and by whether it may be insecure.
    schemes: Mutex<BTreeMap<(String, bool), Scheme>>,
    /// Places that gave wrong bytes for a digest; they are not asked for it again.
    liars: Mutex<BTreeSet<(String, Digest)>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client. Nothing is read and nothing is connected before it is used.
    pub fn new(options: Arc<RegistryOptions>) -> Self {
        Self {
            inner: Arc::new(Inner {
                options,
                pool: Pool::default(),
                auth: Auth::default(),
                stop: Stop::default(),
                routes: OnceLock::new(),
                hosts_rules: Mutex::default(),
                schemes: Mutex::default(),
                liars: Mutex::default(),
            }),
        }
    }

    /// Makes all operations of this client and its clones, running and future, fail soon with
    /// [`RegistryError::Stopped`]: for Ctrl-C.
    pub fn stop(&self) {
        self.inner.stop.stop();
    }
}

impl Inner {
    pub(super) fn check_stop(&self, endpoint: &Endpoint) -> Result<(), RegistryError> {
        if self.stop.is_stopped() {
            return Err(RegistryError::Stopped {
                registry: endpoint.registry.clone(),
            });
        }
        Ok(())
    }

    fn routes(&self) -> &Routes {
        self.routes.get_or_init(|| Routes::load(&self.options))
    }

    pub(super) fn is_insecure(&self, host: &str) -> bool {
        is_listed(host, &self.routes().insecure)
    }

    /// Whether a host may be spoken to in plain HTTP at all.
    pub(super) fn may_be_plain(&self, host: &str) -> bool {
        is_loopback(host) || self.is_insecure(host)
    }

    /// The place that pushes go to, and pulls if no mirror has it.
    pub(super) fn home(&self, registry: &str, repository: &str) -> Endpoint {
        Endpoint::of(registry, repository, self.is_insecure(registry))
    }

    /// The places to pull from, mirrors first.
    pub(super) fn places(&self, reference: &Reference) -> Result<Vec<Endpoint>, RegistryError> {
        let name = reference.name();
        let mut places = Vec::new();
        let mut home = self.home(&reference.registry, &reference.repository);
        let hosts_rule = self.hosts_rule(&reference.registry);
        if let Some(rule) = self.routes().rule(&name).or(hosts_rule.as_ref()) {
            if rule.blocked {
                return Err(RegistryError::Blocked { repository: name });
            }
            let matched = rule.matches(&name).unwrap_or(name.len());
            let rest = name[matched..].trim_start_matches('/');
            for mirror in &rule.mirrors {
                let by_digest = reference.digest.is_some();
                let asked = match mirror.pulls {
                    MirrorPulls::All => true,
                    MirrorPulls::DigestOnly => by_digest,
                    MirrorPulls::TagOnly => !by_digest,
                };
                if asked {
                    places.push(self.moved(&mirror.location, rest, mirror.insecure));
                }
            }
            if let Some(location) = &rule.location {
                home = self.moved(location, rest, home.insecure);
            }
        }
        places.push(home);
        Ok(places)
    }

    /// The place `rest` below `host[:port][/path]`.
    fn moved(&self, location: &str, rest: &str, insecure: bool) -> Endpoint {
        let (host, path) = location.split_once('/').unwrap_or((location, ""));
        let repository = [path, rest].join("/").trim_matches('/').to_owned();
        let registry = match host {
            "registry-1.docker.io" | "index.docker.io" => "docker.io",
            other => other,
        };
        Endpoint::of(registry, &repository, insecure || self.is_insecure(host))
    }

    fn hosts_rule(&self, registry: &str) -> Option<MirrorRule> {
        if self.options.certs_dirs.is_empty() {
            return None;
        }
        let mut rules = self
            .hosts_rules
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        rules
            .entry(registry.to_owned())
            .or_insert_with(|| Routes::hosts_toml(&self.options, registry))
            .clone()
    }

    /// The scheme that is known to work for an endpoint.
    pub(super) fn known_scheme(&self, endpoint: &Endpoint) -> Option<Scheme> {
        let schemes = self.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        schemes
            .get(&(endpoint.host.clone(), endpoint.insecure))
            .copied()
    }

    pub(super) fn remember_scheme(&self, endpoint: &Endpoint, scheme: Scheme) {
        let mut schemes = self.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (endpoint.host.clone(), endpoint.insecure);
        schemes.entry(key).or_insert(scheme);
    }

    /// Whom to believe at an endpoint.
    pub(super) fn trust(&self, host: &str, scheme: Scheme) -> Trust {
        match scheme {
            Scheme::Http => Trust::Plain,
            Scheme::HttpsUnverified => Trust::Anybody,
            Scheme::Https => {
                certificates_of(host, &self.options).map_or(Trust::System, Trust::Directory)
            }
        }
    }

    /// Whom to believe at an address that is not an endpoint: a redirect's target or a token
    /// server. Nothing is unverified there, whatever the registry itself may do.
    pub(super) fn stranger_trust(&self, url: &reqwest::Url) -> Trust {
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            _ => Scheme::Https,
        };
        self.trust(&authority(url), scheme)
    }

    pub(super) fn is_liar(&self, host: &str, digest: &Digest) -> bool {
        let liars = self.liars.lock().unwrap_or_else(PoisonError::into_inner);
        liars.contains(&(host.to_owned(), *digest))
    }

    pub(super) fn remember_liar(&self, host: &str, digest: &Digest) {
        let mut liars = self.liars.lock().unwrap_or_else(PoisonError::into_inner);
        liars.insert((host.to_owned(), *digest));
    }
}

#[cfg(test)]
mod tests {
    use super::super::mirror::Mirror;
    use super::*;

    fn hosts(options: RegistryOptions, name: &str) -> Vec<String> {
        let client = Client::new(Arc::new(options));
        let places = client.inner.places(&name.parse().unwrap()).unwrap();
        places
            .into_iter()
            .map(|place| format!("{}/{}", place.host, place.repository))
            .collect()
    }

    #[test]
    fn mirrors_come_first_and_stand_for_the_prefix() {
        let rule = |prefix: &str, location: &str| MirrorRule {
            prefix: prefix.to_owned(),
            mirrors: vec![Mirror::parse(location)],
            location: None,
            blocked: false,
        };
        let options = RegistryOptions {
            mirrors: vec![
                rule("docker.io", "m.example"),
                rule("quay.io/team", "m.example/q"),
            ],
            ..RegistryOptions::default()
        };
        let debian = hosts(options.clone(), "debian");
        assert_eq!(
            debian,
            [
                "m.example/library/debian",
                "registry-1.docker.io/library/debian"
            ]
        );
        let team = hosts(options.clone(), "quay.io/team/x");
        assert_eq!(team, ["m.example/q/x", "quay.io/team/x"]);
        assert_eq!(hosts(options, "quay.io/other/x"), ["quay.io/other/x"]);
    }
}
