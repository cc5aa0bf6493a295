//! The words of all other verbs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::BuildArgs;
use super::values;
use crate::platform::Platform;
use crate::reference::Reference;

/// How registries are reached.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Registry options")]
pub struct RegistryArgs {
    /// Credentials file, in Docker's or podman's form [env: REGISTRY_AUTH_FILE]
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// PEM file of a certificate authority to trust
    #[arg(long, value_name = "FILE")]
    pub ca_file: Vec<PathBuf>,
    /// Registry that may be reached over plain HTTP or with an unverified certificate
    #[arg(long, value_name = "HOST")]
    pub insecure_registry: Vec<String>,
    /// Mirror that is asked before a registry (default registry: docker.io)
    #[arg(long, value_name = "[REGISTRY=]URL")]
    pub registry_mirror: Vec<String>,
}

/// `builder plan`
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Form of the plan
    #[arg(
        long,
        value_enum,
        default_value = "text",
        help_heading = "Options of builder"
    )]
    pub format: PlanFormat,
    /// What a build would take.
    #[command(flatten)]
    pub build: BuildArgs,
}

/// The form of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// For Graphviz
    Dot,
    /// For Mermaid
    Mermaid,
}

/// `builder pull`
#[derive(Clone, Debug, Args)]
pub struct PullArgs {
    /// Image to fetch
    #[arg(value_name = "NAME[:TAG|@DIGEST]", value_parser = values::reference)]
    pub image: Reference,
    /// Platform to fetch instead of the host's
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<Platform>,
    /// Print only the digest
    #[arg(short, long)]
    pub quiet: bool,
    /// How registries are reached.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `builder push`
#[derive(Clone, Debug, Args)]
pub struct PushArgs {
    /// Image of the store, by name or ID
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Name to push to, if it is another one
    #[arg(value_name = "DESTINATION", value_parser = values::reference)]
    pub destination: Option<Reference>,
    /// Print only the digest
    #[arg(short, long)]
    pub quiet: bool,
    /// How registries are reached.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `builder login`
#[derive(Clone, Debug, Args)]
pub struct LoginArgs {
    /// Registry (default: docker.io)
    #[arg(
        value_name = "REGISTRY",
        default_value = "docker.io",
        hide_default_value = true
    )]
    pub server: String,
    /// User name
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// Password; other users of the machine may see it, prefer --password-stdin
    #[arg(
        short,
        long,
        value_name = "PASSWORD",
        conflicts_with = "password_stdin"
    )]
    pub password: Option<String>,
    /// Take the password from standard input
    #[arg(long)]
    pub password_stdin: bool,
    /// How registries are reached.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `builder logout`
#[derive(Clone, Debug, Args)]
pub struct LogoutArgs {
    /// Registry (default: docker.io)
    #[arg(
        value_name = "REGISTRY",
        default_value = "docker.io",
        hide_default_value = true
    )]
    pub server: String,
    /// How registries are reached.
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// `builder images`
#[derive(Clone, Debug, Args)]
pub struct ImagesArgs {
    /// Only names that contain this text
    #[arg(value_name = "TEXT")]
    pub filter: Option<String>,
    /// Print only IDs
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not shorten IDs
    #[arg(long)]
    pub no_trunc: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

/// `builder tag`
#[derive(Clone, Debug, Args)]
pub struct TagArgs {
    /// Image, by name or ID
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Its new name
    #[arg(value_name = "NAME", value_parser = values::tag)]
    pub name: Reference,
}

/// `builder rm`
#[derive(Clone, Debug, Args)]
pub struct RmArgs {
    /// Images, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
}

/// `builder inspect`
#[derive(Clone, Debug, Args)]
pub struct InspectArgs {
    /// Images, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
}

/// `builder history`
#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    /// Image, by name or ID
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Do not shorten instructions
    #[arg(long)]
    pub no_trunc: bool,
    /// Print JSON, one object a line
    #[arg(long)]
    pub json: bool,
}

/// `builder du`
#[derive(Clone, Debug, Args)]
pub struct DuArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `builder prune`
#[derive(Clone, Debug, Args)]
pub struct PruneArgs {
    /// Also remove what a next build would take from the cache
    #[arg(short, long)]
    pub all: bool,
    /// Keep the most recently used records up to this size
    #[arg(long, visible_alias = "max-used-space", value_name = "BYTES", value_parser = values::bytes)]
    pub max_size: Option<u64>,
    /// Remove only what was not used for this time (e.g., "72h", "30d")
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    pub older_than: Option<Duration>,
    /// Accepted for compatibility: nothing is asked
    #[arg(short, long, hide = true)]
    pub force: bool,
}

/// `builder fsck`
#[derive(Clone, Debug, Args)]
pub struct FsckArgs {
    /// Remove what is damaged, so that it is fetched or built again
    #[arg(long)]
    pub repair: bool,
}

/// `builder doctor`
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `builder completion`
#[derive(Clone, Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}
