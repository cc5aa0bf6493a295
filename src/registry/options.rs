//! What the user's environment says about registries, as data. Nothing is read before a
//! [`Client`](super::Client) needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::credential::Secret;
use super::mirror::MirrorRule;

/// How to reach registries. `cli` fills it from flags and the environment; missing files are no
/// error anywhere.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// The text of `DOCKER_AUTH_CONFIG`: a `config.json` that is asked first.
    pub inline_auth: Option<Secret>,
    /// Files in the form of Docker's `config.json` or podman's `auth.json`, asked in this order:
    /// `REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json`, `$XDG_RUNTIME_DIR/containers/auth.json`,
    /// `~/.config/containers/auth.json`.
    pub auth_files: Vec<PathBuf>,
    /// Where `login` writes and `logout` deletes; usually `$DOCKER_CONFIG/config.json`.
    pub login_file: Option<PathBuf>,
    /// Where credential helpers are looked for, in the form of `PATH`; `None` means the program's own.
    pub helper_path: Option<OsString>,
    /// Registries that may be spoken to without verified TLS or in plain HTTP: `host`,
    /// `host:port`, or a CIDR such as `10.0.0.0/8` for addresses. Loopback needs no entry.
    pub insecure: Vec<String>,
    /// PEM files of certificate authorities that are trusted besides the system's, for every host.
    pub ca_files: Vec<PathBuf>,
    /// Directories of Docker's, podman's or containerd's form `certs.d/HOST[:PORT]/` with `*.crt`
    /// (authorities), `*.cert` and `*.key` (client certificate) and `hosts.toml` (mirrors).
    pub certs_dirs: Vec<PathBuf>,
    /// Mirrors from flags; they come before those of the files below.
    pub mirrors: Vec<MirrorRule>,
    /// Docker's `daemon.json`, for `registry-mirrors` and `insecure-registries`.
    pub daemon_files: Vec<PathBuf>,
    /// podman's `registries.conf`; the first that exists counts.
    pub registries_conf: Vec<PathBuf>,
    /// Token servers on unrelated hosts that may get a registry's credentials: registry host →
    /// hosts. A server on the registry's host, or near it in DNS, needs no entry.
    pub token_hosts: BTreeMap<String, BTreeSet<String>>,
    /// Proxies.
    pub proxy: ProxyOptions,
    /// How stubborn to be.
    pub retry: RetryPolicy,
}

/// Proxies, in the form of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`.
#[derive(Clone, Debug, Default)]
pub struct ProxyOptions {
    /// The proxy for `http:`; an address with an optional user and password.
    pub http: Option<Secret>,
    /// The proxy for `https:`.
    pub https: Option<Secret>,
    /// Hosts, domains and networks that are reached directly, separated by commas. Loopback always
    /// is.
    pub no_proxy: Option<String>,
}

/// How often and how soon a failed request is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries of one request in all, the first included; at least 1.
    pub attempts: u32,
    /// The pause before the second try; it doubles with each further one.
    pub base: Duration,
    /// The longest pause, whatever `Retry-After` asks for.
    pub pause_max: Duration,
    /// How long a connection may be silent, and how long one may take to open.
    pub silence_max: Duration,
    /// The slowest transfer that still counts as alive, in bytes a second over `silence_max`.
    pub bytes_per_second_min: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 6,
            base: Duration::from_millis(400),
            pause_max: Duration::from_secs(30),
            silence_max: Duration::from_secs(30),
            bytes_per_second_min: 512,
        }
    }
}
