//! Values of flags: text to meaning, with BuildKit's and buildx's words where a value is wrong.

mod csv;
mod number;
mod pair;
mod source;

pub use number::{bytes, cpus, duration, epoch, resource, ulimit};
pub use pair::{
    annotations, attestation, build_arg, label, named_context, policy, provenance, sbom,
};
pub use source::{add_host, call, entitlement, isolation, network, reference, secret, ssh, tag};

use std::net::IpAddr;

use crate::clock::Epoch;
use crate::executor::sandbox::Rung;
use crate::pipeline::request::Annotation;

/// `NAME=VALUE`, or `NAME` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The name.
    pub key: String,
    /// The value; absent means that the environment has it.
    pub value: Option<String>,
}

/// `--add-host`: a name and its address; `None` is `host-gateway`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddHost(pub String, pub Option<IpAddr>);

/// What one `--annotation` asks for: one annotation for each document that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationArg(pub Vec<Annotation>);

/// `--build-context`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedContext {
    /// Normalised: `docker.io/library/alpine:latest` is `alpine`.
    pub name: String,
    /// As given.
    pub value: String,
}

/// `--secret`, before the environment was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretArg {
    /// Its name.
    pub id: String,
    /// `type=env`
    pub is_env: bool,
    /// `src=`
    pub file: Option<String>,
    /// `env=`
    pub env: Option<String>,
}

/// `--ssh`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshArg {
    /// Its name.
    pub id: String,
    /// Sockets or keys; empty means the agent of the environment.
    pub paths: Vec<String>,
}

/// `--ulimit`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UlimitArg {
    /// `nofile`, …
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// `--resource`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes.
    Memory(u64),
    /// Microseconds.
    CpuQuota(u64),
    /// Microseconds.
    CpuPeriod(u64),
    /// One that cannot be set here.
    WithoutEffect(String),
}

/// `--call`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What to do instead of a build.
    pub method: CallMethod,
    /// `format=json`
    pub json: bool,
    /// `ignorestatus=true`
    pub ignore_status: bool,
}

/// What to do with the Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallMethod {
    /// Build it.
    Build,
    /// Check it.
    Check,
    /// List arguments, secrets and mounts of the target.
    Outline,
    /// List stages.
    Targets,
}

/// `--timestamp`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochArg {
    /// The time of the base image.
    Base,
    /// This time.
    Fixed(Epoch),
    /// The commit time of HEAD.
    Git,
    /// The wall clock.
    Now,
}

/// `--isolation`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationArg {
    /// The best that works.
    Auto,
    /// This one.
    Rung(Rung),
}

/// Why a value is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a size.
    #[error("invalid size: '{0}'")]
    Size(String),
    /// Not a time span.
    #[error("invalid duration '{0}': write 90s, 15m or 1h30m")]
    Duration(String),
    /// Not a number of processors.
    #[error("failed to parse `{0}` as a number of processors")]
    Cpus(String),
    /// Not a time.
    #[error("invalid SOURCE_DATE_EPOCH: {0}: write seconds since 1970, `git`, `now` or `base`")]
    Epoch(String),
    /// No limit in it.
    #[error("invalid ulimit argument: {0}")]
    Ulimit(String),
    /// A limit that does not exist.
    #[error("invalid ulimit type: {0}")]
    UlimitName(String),
    /// Soft above hard.
    #[error("ulimit soft limit must be less than or equal to hard limit: {0} > {1}")]
    UlimitOrder(u64, u64),
    /// Not `key=value`.
    #[error("invalid field '{0}' must be a key=value pair")]
    Pair(String),
    /// A key that does not exist.
    #[error("unexpected key '{key}' in '{field}'")]
    Key {
        /// The key.
        key: String,
        /// The field it was in.
        field: String,
    },
    /// An empty name.
    #[error("invalid key-value pair \"{0}\": empty key")]
    EmptyKey(String),
    /// Bad quotes.
    #[error("failed to parse csv value `{0}`")]
    Csv(String),
    /// Not `key=value`.
    #[error("invalid annotation \"{0}\", expected key=value format")]
    Annotation(String),
    /// Not a type with an optional platform.
    #[error(
        "invalid annotation type \"{0}\", expected type and optional platform in square brackets"
    )]
    AnnotationType(String),
    /// A type that does not exist.
    #[error("unknown annotation type \"{0}\"")]
    UnknownAnnotationType(String),
    /// Not `name=value`.
    #[error("invalid context value: {0}, expected key=value")]
    Context(String),
    /// A name that cannot be overridden or is none.
    #[error("invalid context name {0}")]
    ContextName(String),
    /// Not file or env.
    #[error("unsupported secret type \"{0}\"")]
    SecretType(String),
    /// No id.
    #[error("secret missing ID")]
    SecretId,
    /// Not a host and an address.
    #[error("invalid host {0}")]
    Host(String),
    /// An entitlement that does not exist.
    #[error("unknown entitlement {0}")]
    Entitlement(String),
    /// A network that does not exist for RUN.
    #[error("network mode \"{0}\" not supported by builder, use default, none or host")]
    Network(String),
    /// An isolation that does not exist.
    #[error("unknown isolation `{0}`, use auto, root, user-range, user-single, chroot or none")]
    Isolation(String),
    /// A method that does not exist.
    #[error("unsupported method \"{0}\", use build, check, outline or targets")]
    Call(String),
    /// Not an image name.
    #[error("invalid tag \"{text}\": {source}")]
    Tag {
        /// The text.
        text: String,
        /// Why.
        source: crate::reference::ParseReferenceError,
    },
    /// A tag cannot choose a digest.
    #[error("refusing to create a tag with a digest reference")]
    TagDigest,
    /// What is not there.
    #[error("{0} is not supported: only disabling it is")]
    Unsupported(&'static str),
}
