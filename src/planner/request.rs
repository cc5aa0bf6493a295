//! What a plan is made from.

use std::collections::BTreeMap;

use crate::clock::Epoch;
use crate::parser::ast::Dockerfile;
use crate::platform::Platform;

use super::op::Network;

/// A Dockerfile and all arguments that its meaning depends on.
#[derive(Clone, Debug)]
pub struct PlanRequest<'a> {
    /// The file, parsed without an error.
    pub dockerfile: &'a Dockerfile,
    /// `--target`: a stage name in any case; `None` is the last stage.
    pub target: Option<&'a str>,
    /// `--build-arg`, control arguments (`BUILDKIT_…`, `SOURCE_DATE_EPOCH`) and proxies included.
    pub build_args: &'a BTreeMap<String, String>,
    /// `--label`
    pub labels: &'a BTreeMap<String, String>,
    /// `--platform`; empty means that nobody asked: the build platform is built for, and the image
    /// says what its base says.
    pub platforms: &'a [Platform],
    /// `BUILDPLATFORM`
    pub build_platform: Platform,
    /// Whose cached results are not to be used.
    pub no_cache: NoCache,
    /// Where times come from (DESIGN §3). `--build-arg SOURCE_DATE_EPOCH` goes before it, a global
    /// `ARG SOURCE_DATE_EPOCH=N` after it.
    pub epoch: EpochPolicy,
    /// What all RUN steps have in common.
    pub run: RunDefaults,
}

/// Whose cached results are not to be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NoCache {
    /// Nobody's.
    #[default]
    Never,
    /// `--no-cache`
    All,
    /// `--no-cache-filter`: those of these stages, named in any case.
    Stages(Vec<String>),
}

/// Where the times of an image come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EpochPolicy {
    /// From the base image of each stage; 0 for `scratch`.
    #[default]
    Base,
    /// One time for all.
    Fixed(Epoch),
}

/// What all RUN steps have in common.
///
/// Resource limits (ulimits, memory, the size of `/dev/shm`) are not here: they decide whether a
/// command succeeds, not what it makes, so they are in no key and the executor takes them from its
/// own options.
#[derive(Clone, Debug, Default)]
pub struct RunDefaults {
    /// `--network`
    pub network: Network,
    /// Proxy variables of the environment: given to commands, in no key and no history. Those among
    /// the build arguments are added.
    pub proxies: Vec<(String, String)>,
    /// The names of `--add-host`.
    pub hosts: Vec<String>,
}
