//! The words of `builder build`: the flags of `docker build`, in its order, then ours.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::RegistryArgs;
use super::values::{
    self, AddHost, AnnotationArg, Call, EpochArg, IsolationArg, KeyValue, NamedContext, Resource,
    SecretArg, SshArg, UlimitArg,
};
use crate::pipeline::request::Entitlement;
use crate::planner::op::Network;
use crate::platform::Platform;
use crate::reference::Reference;

/// `builder build [OPTIONS] PATH | URL | -`
#[derive(Clone, Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of a command line are independent"
)]
#[command(override_usage = "builder build [OPTIONS] PATH | URL | -")]
pub struct BuildArgs {
    /// Directory, address or `-` with what COPY and ADD take
    #[arg(value_name = "PATH | URL | -", help_heading = None)]
    pub context: OsString,

    /// Add a custom host-to-IP mapping (format: "host:ip")
    #[arg(long, value_name = "HOST:IP", value_parser = values::add_host)]
    pub add_host: Vec<AddHost>,
    /// Allow extra privileged entitlement (e.g., "network.host", "security.insecure", "device")
    #[arg(long, value_name = "ENTITLEMENT", value_parser = values::entitlement)]
    pub allow: Vec<Option<Entitlement>>,
    /// Add annotation to the image
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::annotations)]
    pub annotation: Vec<AnnotationArg>,
    /// Attestation parameters (format: "type=sbom,disabled=true")
    #[arg(long, value_name = "ATTRIBUTES", value_parser = values::attestation)]
    pub attest: Vec<String>,
    /// Set build-time variables
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = values::build_arg)]
    pub build_arg: Vec<KeyValue>,
    /// Additional build contexts (e.g., name=path)
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::named_context)]
    pub build_context: Vec<NamedContext>,
    /// Accepted for compatibility: there are no builder instances to choose from
    #[arg(long, value_name = "NAME")]
    pub builder: Option<String>,
    /// External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")
    #[arg(long, value_name = "SOURCE")]
    pub cache_from: Vec<String>,
    /// Cache export destinations (e.g., "user/app:cache", "type=local,dest=path/to/dir")
    #[arg(long, value_name = "DESTINATION")]
    pub cache_to: Vec<String>,
    /// Set method for evaluating build ("check", "outline", "targets")
    #[arg(long, visible_alias = "print", value_name = "METHOD", value_parser = values::call)]
    pub call: Option<Call>,
    /// Set the parent cgroup for the "RUN" instructions during build
    #[arg(long, value_name = "CGROUP")]
    pub cgroup_parent: Option<String>,
    /// Shorthand for "--call=check"
    #[arg(long, conflicts_with = "call")]
    pub check: bool,
    /// Name of the Dockerfile (default: "PATH/Dockerfile")
    #[arg(short, long, value_name = "PATH | URL | -")]
    pub file: Option<OsString>,
    /// Write the image ID to a file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// Set metadata for an image
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::label)]
    pub label: Vec<KeyValue>,
    /// Shorthand for "--output=type=docker"
    #[arg(long)]
    pub load: bool,
    /// Write build result metadata to a file
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Set the networking mode for the "RUN" instructions during build
    #[arg(long, visible_alias = "net", value_name = "MODE", value_parser = values::network)]
    pub network: Option<Network>,
    /// Do not use cache when building the image
    #[arg(long, conflicts_with = "no_cache_filter")]
    pub no_cache: bool,
    /// Do not cache specified stages
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,
    /// Output destination (format: "type=local,dest=path")
    #[arg(short, long, value_name = "DESTINATION")]
    pub output: Vec<String>,
    /// Set target platform for build
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    pub platform: Vec<Platform>,
    /// Policy for build evaluation; only "disabled=true" is supported
    #[arg(long, value_name = "ATTRIBUTES", value_parser = values::policy, hide = true)]
    pub policy: Vec<String>,
    /// Set type of progress output [env: BUILDKIT_PROGRESS]
    #[arg(long, value_enum, value_name = "MODE")]
    pub progress: Option<ProgressArg>,
    /// Shorthand for "--attest=type=provenance"; only "false" is supported
    #[arg(long, value_name = "ATTRIBUTES", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = values::provenance)]
    pub provenance: Option<String>,
    /// Always attempt to pull all referenced images
    #[arg(long)]
    pub pull: bool,
    /// Shorthand for "--output=type=registry"
    #[arg(long)]
    pub push: bool,
    /// Suppress the build output and print image ID on success
    #[arg(short, long, conflicts_with = "progress")]
    pub quiet: bool,
    /// Limits of the "RUN" instructions
    #[command(flatten)]
    pub limits: BuildLimits,
    /// Shorthand for "--attest=type=sbom"; only "false" is supported
    #[arg(long, value_name = "ATTRIBUTES", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = values::sbom)]
    pub sbom: Option<String>,
    /// Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")
    #[arg(long, value_name = "ATTRIBUTES", value_parser = values::secret)]
    pub secret: Vec<SecretArg>,
    /// Shared memory size for build containers
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    pub shm_size: Option<u64>,
    /// SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>|<key>[,<key>]]")
    #[arg(long, value_name = "AGENT", value_parser = values::ssh)]
    pub ssh: Vec<SshArg>,
    /// Image identifier (format: "[registry/]repository[:tag]")
    #[arg(short, long, value_name = "NAME", value_parser = values::tag)]
    pub tag: Vec<Reference>,
    /// Set the target build stage to build
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Ulimit options
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = values::ulimit)]
    pub ulimit: Vec<UlimitArg>,

    /// Say for each step that is not cached which input differs
    #[arg(long, help_heading = "Options of builder")]
    pub explain: bool,
    /// How "RUN" is isolated: "auto" takes the best that works
    #[arg(long, value_name = "MODE", value_parser = values::isolation,
          help_heading = "Options of builder")]
    pub isolation: Option<IsolationArg>,
    /// Run at most this many steps at the same time
    #[arg(long, value_name = "COUNT", help_heading = "Options of builder")]
    pub jobs: Option<NonZeroUsize>,
    /// Stop a "RUN" that takes longer (e.g., "90s", "1h30m")
    #[arg(long, value_name = "TIME", value_parser = values::duration,
          help_heading = "Options of builder")]
    pub step_timeout: Option<Duration>,
    /// Time stamped on what is built: seconds since 1970, "git" (of HEAD) or "now"
    /// [env: SOURCE_DATE_EPOCH]
    #[arg(long, value_name = "TIME", value_parser = values::epoch,
          help_heading = "Options of builder")]
    pub timestamp: Option<EpochArg>,
    /// How registries are reached
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// Docker's flags without effect
    #[command(flatten)]
    pub ignored: IgnoredArgs,
}

/// Limits of RUN.
#[derive(Clone, Debug, Default, Args)]
pub struct BuildLimits {
    /// Set resource limits of the "RUN" instructions (e.g., "memory=1g", "cpu-quota=50000")
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::resource)]
    pub resource: Vec<Resource>,
    /// Processors that a "RUN" may use (e.g., "1.5")
    #[arg(long, value_name = "COUNT", value_parser = values::cpus,
          help_heading = "Options of builder")]
    pub cpus: Option<u64>,
    /// Memory that a "RUN" may use
    #[arg(short, long, value_name = "BYTES", value_parser = values::bytes,
          help_heading = "Options of builder")]
    pub memory: Option<u64>,
    /// Processes that a "RUN" may have
    #[arg(long, value_name = "COUNT", help_heading = "Options of builder")]
    pub pids_limit: Option<u64>,
    /// Part of a period that a RUN may run, in microseconds
    #[arg(long, value_name = "MICROSECONDS", hide = true)]
    pub cpu_quota: Option<u64>,
    /// The period, in microseconds
    #[arg(long, value_name = "MICROSECONDS", hide = true)]
    pub cpu_period: Option<u64>,
}

/// Flags that `docker build` takes and ignores, or that limit what cannot be limited here. They
/// are named in a notice.
#[derive(Clone, Debug, Default, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "switches of a command line are independent"
)]
#[command(next_help_heading = "Accepted without effect")]
pub struct IgnoredArgs {
    #[arg(long, hide = true)]
    compress: bool,
    #[arg(long, hide = true)]
    force_rm: bool,
    #[arg(long, hide = true)]
    rm: bool,
    #[arg(long, hide = true)]
    security_opt: Vec<String>,
    #[arg(long, hide = true)]
    squash: bool,
    #[arg(long, hide = true)]
    memory_swap: Option<String>,
    #[arg(short = 'c', long, hide = true)]
    cpu_shares: Option<String>,
    #[arg(long, hide = true)]
    cpuset_cpus: Option<String>,
    #[arg(long, hide = true)]
    cpuset_mems: Option<String>,
}

impl IgnoredArgs {
    /// The flags that were given and whose absence changes the outcome, for a notice.
    pub fn without_effect(&self) -> Vec<&'static str> {
        [
            (!self.security_opt.is_empty(), "--security-opt"),
            (self.squash, "--squash"),
            (self.memory_swap.is_some(), "--memory-swap"),
            (self.cpu_shares.is_some(), "--cpu-shares"),
            (self.cpuset_cpus.is_some(), "--cpuset-cpus"),
            (self.cpuset_mems.is_some(), "--cpuset-mems"),
        ]
        .into_iter()
        .filter_map(|(given, name)| given.then_some(name))
        .collect()
    }
}

/// `--progress`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressArg {
    /// `tty` on a terminal, else `plain`
    Auto,
    /// Nothing but errors
    None,
    /// Lines for a log
    Plain,
    /// Only the image ID
    Quiet,
    /// BuildKit's solve status as JSON lines
    Rawjson,
    /// A live view
    Tty,
}
