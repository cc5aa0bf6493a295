//! What a step does: words expanded, names resolved, nothing of the Dockerfile's notation left.

use std::hash::{Hash, Hasher};

use crate::digest::{ContentDigest, Digest};
use crate::image::ImageConfig;
use crate::platform::Platform;
use crate::reference::Reference;

use super::graph::StepId;
use super::ports::BaseLayer;
use super::variable::Variable;

/// An operation on a file system.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The empty file system.
    Scratch,
    /// The file system of an image.
    Image(Box<ImageOp>),
    /// A command.
    Run(Box<RunOp>),
    /// Files from elsewhere.
    Copy(Box<CopyOp>),
    /// A directory that must exist.
    Workdir(WorkdirOp),
}

/// A base image, resolved to a manifest of one platform.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageOp {
    /// The name as the Dockerfile has it after expansion.
    pub name: String,
    /// The normalised name, if it is one of a registry.
    pub reference: Option<Reference>,
    /// The digest of the manifest (of the index's child for this platform).
    pub manifest: Digest,
    /// Its config.
    pub config: ImageConfig,
    /// Its layers, bottom first, same order as the config's diff ids.
    pub layers: Vec<BaseLayer>,
}

/// The host name that commands see unless told otherwise; BuildKit's.
pub const HOSTNAME: &str = "buildkitsandbox";

impl Hash for Op {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Scratch => {}
            // Equal operations have equal names and manifests; a config has no hash of its own.
            Self::Image(image) => (&image.name, image.manifest).hash(state),
            Self::Run(run) => run.hash(state),
            Self::Copy(copy) => copy.hash(state),
            Self::Workdir(workdir) => workdir.hash(state),
        }
    }
}

/// RUN.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunOp {
    /// The command line: the shell with the text as its last argument, or the exec form.
    pub args: Vec<String>,
    /// The script of a `RUN <<EOF` whose body starts with `#!`; run through a hidden mount.
    /// `args` then holds only its path, `/dev/pipes/` and the heredoc's name.
    pub script: Option<String>,
    /// The environment in order: image ENV overlaid with visible ARGs; without proxies.
    pub env: Vec<Variable>,
    /// Proxy variables: given to the command, in no key and no history.
    pub proxies: Vec<(String, String)>,
    /// The directory to start in, absolute.
    pub cwd: String,
    /// USER, verbatim; empty means root.
    pub user: String,
    /// `--mount`, expanded and checked, in order.
    pub mounts: Vec<RunMount>,
    /// `--network`, or the network of the whole build.
    pub network: Network,
    /// The names of `--add-host`, sorted; their addresses are the machine's business and in no key.
    pub hosts: Vec<String>,
    /// The host name: `buildkitsandbox`, or `--build-arg BUILDKIT_SANDBOX_HOSTNAME`.
    pub hostname: String,
    /// `--security`
    pub security: Security,
    /// `--device`, in order.
    pub devices: Vec<String>,
    /// The platform that the command is for.
    pub platform: Platform,
}

impl RunOp {
    /// Where the mounts that show files take them from.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        let shown = self.mounts.iter().filter_map(RunMount::shown);
        shown.map(|(from, _)| from)
    }

    /// The names of the contexts that its mounts show.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.sources().filter_map(|source| match source {
            Source::Context(name) => Some(name.as_str()),
            Source::Step(_) => None,
        })
    }
}

/// The network of a RUN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Network {
    /// As the builder was told for the whole build.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// How tightly a RUN is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Security {
    /// Docker's default sandbox.
    #[default]
    Sandbox,
    /// All capabilities, no filter; needs `--allow security.insecure`.
    Insecure,
}

/// One `--mount` of a RUN. Targets are absolute and cleaned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RunMount {
    /// Files of the context, a stage or an image.
    Bind {
        /// Where.
        target: String,
        /// From where.
        from: Source,
        /// What below it; `/` is all.
        source: String,
        /// Whether the command may write (its writes are thrown away).
        writable: bool,
    },
    /// A directory that outlives builds.
    Cache {
        /// Where.
        target: String,
        /// Its name, namespace included.
        id: String,
        /// Who else may use it at the same time.
        sharing: Sharing,
        /// What it starts with, if anything.
        seed: Option<(Source, String)>,
        /// Whether the command may not write.
        readonly: bool,
        /// Mode of a new one.
        mode: u32,
        /// Owner of a new one.
        uid: u32,
        /// Group of a new one.
        gid: u32,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Where.
        target: String,
        /// Its limit in bytes.
        size: Option<u64>,
    },
    /// A secret, as a file, a variable or both.
    Secret {
        /// Its name on the command line.
        id: String,
        /// The file, if one is wanted.
        target: Option<String>,
        /// The variable, if one is wanted.
        env: Option<String>,
        /// Whether its absence is an error.
        required: bool,
        /// Mode of the file.
        mode: u32,
        /// Owner of the file.
        uid: u32,
        /// Group of the file.
        gid: u32,
    },
    /// An ssh agent socket.
    Ssh {
        /// Its name on the command line.
        id: String,
        /// The socket's path; by default `/run/buildkit/ssh_agent.N`.
        target: Option<String>,
        /// Whether its absence is an error.
        required: bool,
        /// Mode of the socket.
        mode: u32,
        /// Owner of the socket.
        uid: u32,
        /// Group of the socket.
        gid: u32,
    },
}

impl RunMount {
    /// The files that the mount shows or starts with: from where, and what below it.
    pub fn shown(&self) -> Option<(&Source, &str)> {
        match self {
            Self::Bind { from, source, .. }
            | Self::Cache {
                seed: Some((from, source)),
                ..
            } => Some((from, source)),
            Self::Cache { seed: None, .. }
            | Self::Tmpfs { .. }
            | Self::Secret { .. }
            | Self::Ssh { .. } => None,
        }
    }
}

/// Who may use a cache mount at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// All at once.
    #[default]
    Shared,
    /// Each gets its own while it is in use.
    Private,
    /// One after the other.
    Locked,
}

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The main context (empty name) or a named one that is a directory of files.
    Context(String),
    /// The file system after a step: a stage, or an image as an [`Op::Image`] step.
    Step(StepId),
}

/// COPY and ADD.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CopyOp {
    /// Where paths come from.
    pub from: Source,
    /// What, in order.
    pub inputs: Vec<CopyInput>,
    /// The destination: absolute, cleaned.
    pub destination: String,
    /// Whether the destination was written as a directory (trailing slash, `.`, or empty).
    pub destination_is_directory: bool,
    /// `--chown`, expanded.
    pub chown: Option<String>,
    /// `--chmod`, checked.
    pub chmod: Option<Chmod>,
    /// `--link`
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// `--exclude`, raw patterns.
    pub excludes: Vec<String>,
    /// Whether archives are extracted.
    pub unpack: Unpack,
}

/// One source of a COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CopyInput {
    /// A path or pattern below `from`, cleaned, relative, without leading slash; `/./` pivot of
    /// `--parents` kept.
    Path(String),
    /// A file written in the Dockerfile, expanded.
    Inline {
        /// Its name.
        name: String,
        /// Its content.
        data: Vec<u8>,
    },
    /// A file to fetch.
    Url {
        /// http or https.
        url: String,
        /// `--checksum`
        checksum: Option<Digest>,
    },
    /// A git tree to fetch.
    Git {
        /// The address with fragment or query, as written.
        url: String,
        /// `--keep-git-dir`
        keep_git_dir: bool,
        /// `--checksum`: a commit.
        checksum: Option<String>,
    },
}

/// Archive extraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unpack {
    /// COPY, and `ADD --unpack=false`.
    Never,
    /// ADD: local archives, recognised by content.
    Local,
    /// `ADD --unpack`: fetched archives too.
    Always,
}

/// `--chmod`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Chmod {
    /// Octal.
    Octal(u32),
    /// A symbolic list such as `u=rwX,go=rX`, already checked.
    Symbolic(String),
}

/// WORKDIR's effect on the file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WorkdirOp {
    /// Absolute, cleaned.
    pub path: String,
    /// USER in force, verbatim: the owner of what is created.
    pub user: String,
}

/// The digest of what a COPY or a bind mount takes from its source: names, kinds, modes, link
/// targets, contents; no times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectionDigest(pub ContentDigest);
