//! What was asked for, typed: `cli` makes it from words, nothing below `cli` sees a flag.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::policy::Policy;
use crate::cache::remote::RemoteSpec;
use crate::clock::Epoch;
use crate::executor::agent::Agent;
use crate::executor::sandbox::Rung;
use crate::export::OutputSpec;
pub use crate::export::{AnnotationLevel, OutputAnnotation as Annotation};
use crate::planner::op::Network;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::RegistryOptions;

/// One `builder build`.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The store.
    pub root: PathBuf,
    /// The positional argument.
    pub context: ContextSpec,
    /// `-f`
    pub dockerfile: DockerfileSpec,
    /// `-t`, in order.
    pub tags: Vec<Reference>,
    /// `--target`
    pub target: Option<String>,
    /// `--build-arg`, values from the environment filled in.
    pub build_args: BTreeMap<String, String>,
    /// `--label`
    pub labels: BTreeMap<String, String>,
    /// `--annotation`
    pub annotations: Vec<Annotation>,
    /// `--platform`; empty means the host's.
    pub platforms: Vec<Platform>,
    /// `--build-context`: name → value as given.
    pub named_contexts: BTreeMap<String, String>,
    /// What may be taken from caches.
    pub cache_use: CacheUse,
    /// `--pull`
    pub pull: bool,
    /// `-o`, `--push`, `--load`; empty means the store alone.
    pub outputs: Vec<OutputSpec>,
    /// `--cache-from`
    pub cache_from: Vec<RemoteSpec>,
    /// `--cache-to`
    pub cache_to: Vec<RemoteSpec>,
    /// `--secret`: id → where its bytes are.
    pub secrets: BTreeMap<String, SecretSource>,
    /// `--ssh`: id → agent socket or keys.
    pub ssh: BTreeMap<String, Agent>,
    /// How RUN steps run.
    pub run: RunOptions,
    /// `--allow`
    pub allow: BTreeSet<Entitlement>,
    /// `SOURCE_DATE_EPOCH`, `--timestamp`
    pub epoch: EpochSpec,
    /// Proxy variables of the environment and of Docker's config: given to RUN, in no key.
    pub proxies: Vec<(String, String)>,
    /// The environment that `git` may see of: PATH, proxies, certificates, and the agent's socket if the
    /// context is behind ssh.
    pub environment: Vec<(String, String)>,
    /// How to reach registries.
    pub registry: RegistryOptions,
    /// Which sources may be used.
    pub policy: Policy,
    /// `--explain`
    pub explain: bool,
}

/// The build context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextSpec {
    /// A directory, absolute.
    Directory(PathBuf),
    /// `-`: a tar or a Dockerfile on standard input.
    Stdin,
    /// A git or http(s) address.
    Url(String),
}

/// The Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerfileSpec {
    /// `Dockerfile` in the context, or `dockerfile`.
    Default,
    /// A path: absolute for a directory context, inside the tree for a fetched one.
    Path(PathBuf),
    /// `-f -`
    Stdin,
    /// `-f https://…`
    Url(String),
}

/// What may be taken from caches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CacheUse {
    /// Everything.
    #[default]
    All,
    /// Nothing: `--no-cache`.
    None,
    /// Everything but these stages: `--no-cache-filter`.
    Except(Vec<String>),
}

/// Where the bytes of a secret are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file, absolute.
    File(PathBuf),
    /// The value of a variable, read when the request was made.
    Value(SecretBytes),
}

/// Bytes that are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(pub Vec<u8>);

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SecretBytes(…)")
    }
}

/// How RUN steps run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// `--isolation`
    pub isolation: Option<Rung>,
    /// `--network`
    pub network: Network,
    /// `--add-host`: name and address; `None` is `host-gateway`.
    pub add_hosts: Vec<(String, Option<IpAddr>)>,
    /// `--shm-size` in bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`: name, soft, hard (`u64::MAX` is unlimited).
    pub ulimits: Vec<(String, u64, u64)>,
    /// `--memory` in bytes.
    pub memory_bytes: Option<u64>,
    /// `--cpus` in thousandths of a processor.
    pub cpus_milli: Option<u64>,
    /// Pids limit.
    pub pids_max: Option<u64>,
    /// `--cgroup-parent`
    pub cgroup_parent: Option<String>,
    /// `--step-timeout`
    pub step_timeout: Option<Duration>,
    /// `--jobs`; `None` means as many as there are ready steps.
    pub jobs: Option<usize>,
}

/// `--allow`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `network.host`
    NetworkHost,
    /// `security.insecure`
    SecurityInsecure,
    /// `device` or `device=NAME`
    Device(Option<String>),
    /// `buildx.local.delete`: `-o type=local,mode=delete` may remove files.
    LocalDelete,
}

/// Where the epoch comes from (DESIGN §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EpochSpec {
    /// From the base image of each stage.
    #[default]
    Base,
    /// A number: `SOURCE_DATE_EPOCH` or `--timestamp=N`.
    Fixed(Epoch),
    /// The commit time of the context's HEAD: `--timestamp=git`.
    Git,
    /// The wall clock: `--timestamp=now`, not reproducible.
    Now,
}
