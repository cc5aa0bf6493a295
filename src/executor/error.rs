//! What can go wrong while steps run.

use std::io;
use std::path::PathBuf;

use super::copy::CopyError;
use super::sandbox::{Exit, SandboxError};
use super::snapshot::SnapshotError;
use crate::cache::StoreError;
use crate::digest::DiffId;
use crate::failure::{Explain, Kind};
use crate::layer::LayerError;
use crate::tree::{DecodeError, OwnerError, ResolveError, TreePath};

/// Why a step did not make its layer.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The command of a RUN failed. The words are BuildKit's; scripts match them.
    #[error("process \"{command}\" did not complete successfully: {}", exit_text(*.exit))]
    Run {
        /// The command line, words separated by blanks.
        command: String,
        /// How it ended.
        exit: Exit,
    },
    /// The sandbox could not be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A COPY or ADD is impossible.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A layer could not be read or written.
    #[error("failed to {action} layer {diff_id}")]
    Layer {
        /// What was done with it.
        action: &'static str,
        /// Which.
        diff_id: DiffId,
        /// Why not.
        #[source]
        source: LayerError,
    },
    /// A layer could not be read where it is.
    #[error("failed to read layer {diff_id}")]
    Fetch {
        /// Which.
        diff_id: DiffId,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A layer is not what its diff id says: its registry or its cache lies.
    #[error("layer {expected} has the content of {found}")]
    WrongLayer {
        /// The promised layer.
        expected: DiffId,
        /// What came.
        found: DiffId,
    },
    /// The changes of a RUN could not be listed.
    #[error(transparent)]
    Freeze(#[from] SnapshotError),
    /// The changes of a RUN could not be turned into a layer.
    #[error("failed to snapshot `{name}`")]
    Snapshot {
        /// The step.
        name: String,
        /// Why not.
        #[source]
        source: LayerError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer is nowhere to be had.
    #[error("layer {diff_id} is neither in the store nor in any registry of this build")]
    Missing {
        /// Which.
        diff_id: DiffId,
    },
    /// A tree index of the store is damaged.
    #[error("the tree index of layer {diff_id} is damaged")]
    Tree {
        /// Which.
        diff_id: DiffId,
        /// How.
        #[source]
        source: DecodeError,
    },
    /// WORKDIR cannot be made.
    #[error("failed to make the directory `{path}`")]
    Workdir {
        /// The directory.
        path: String,
        /// Why not.
        #[source]
        source: ResolveError,
    },
    /// USER of a WORKDIR is unknown.
    #[error("failed to find the owner of `{path}`")]
    WorkdirOwner {
        /// The directory.
        path: String,
        /// Why not.
        #[source]
        source: OwnerError,
    },
    /// A file for a mount could not be laid out.
    #[error("failed to lay out `{}` for a mount", .path.display())]
    MountFiles {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A required secret was not given. The words are BuildKit's.
    #[error("secret {id}: not found")]
    SecretMissing {
        /// Its name.
        id: String,
    },
    /// The socket of an ssh agent cannot be made.
    #[error("failed to serve the ssh agent `{id}`")]
    Agent {
        /// Its name on the command line.
        id: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A required ssh agent was not given.
    #[error("unset ssh forward key {id}")]
    SshMissing {
        /// Its name.
        id: String,
    },
    /// A RUN asks for what was not allowed. The words are BuildKit's.
    #[error("{entitlement} is not allowed")]
    NotAllowed {
        /// `network.host`, `security.insecure`.
        entitlement: String,
    },
    /// A RUN that asks for a device (CDI), which no sandbox here gives.
    #[error("`RUN --device={device}` is not supported: commands get no devices of the host")]
    Device {
        /// As the instruction names it.
        device: String,
    },
    /// A device node of the layers below cannot be made, and a command would take what is there for a file.
    #[error("`/{path}` of the layers below is a device node, which cannot be made here")]
    NoNode {
        /// Where.
        path: TreePath,
    },
    /// A RUN for another processor without emulation.
    #[error("a command for {wanted} cannot run on {host}")]
    ForeignPlatform {
        /// The platform of the command.
        wanted: String,
        /// The platform of the machine.
        host: String,
    },
    /// The user stopped the build, or another step failed.
    #[error("the build was cancelled")]
    Cancelled,
    /// A thread pool could not be started.
    #[error("failed to start the threads for steps")]
    Threads {
        /// Why not.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
}

fn exit_text(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code: {code}"),
        // What a shell reports, and what BuildKit prints.
        Exit::Signal(signal) => format!("exit code: {} (signal {signal})", 128 + signal),
        Exit::OutOfMemory => "exit code: 137 (out of memory)".to_owned(),
        Exit::TimedOut => "exit code: 124 (the step took longer than --step-timeout)".to_owned(),
    }
}

impl Explain for ExecuteError {
    fn kind(&self) -> Kind {
        match self {
            Self::Sandbox(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Layer { source, .. } | Self::Snapshot { source, .. } => source.kind(),
            Self::Freeze(error) => error.kind(),
            Self::Fetch { .. }
            | Self::WrongLayer { .. }
            | Self::Missing { .. }
            | Self::MountFiles { .. }
            | Self::Agent { .. }
            | Self::NoNode { .. }
            | Self::ForeignPlatform { .. } => Kind::Environment,
            Self::Cancelled => Kind::Cancelled,
            Self::Threads { .. } => Kind::Internal,
            _ => Kind::User,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Sandbox(error) => error.hints(),
            Self::Store(error) => error.hints(),
            Self::Copy(error) => error.hints(),
            Self::Freeze(error) => error.hints(),
            Self::Fetch { source, .. } => crate::failure::io_hints(source),
            Self::Layer { source, .. } | Self::Snapshot { source, .. } => source.hints(),
            Self::Run {
                exit: Exit::OutOfMemory,
                ..
            } => {
                vec!["give the step more memory with --memory, or the machine".to_owned()]
            }
            Self::Tree { .. } => {
                vec!["run `builder fsck --repair`; what was damaged is made again".to_owned()]
            }
            Self::SecretMissing { id } => vec![format!("pass it with --secret id={id},src=FILE")],
            Self::SshMissing { id } => vec![format!("pass an agent with --ssh {id}")],
            Self::NotAllowed { entitlement } => vec![format!("add --allow {entitlement}")],
            Self::Device { .. } => vec!["remove --device from the instruction".to_owned()],
            Self::NoNode { .. } => vec![
                "add CAP_MKNOD: in Docker or podman `--cap-add MKNOD`; in Kubernetes `securityContext: { capabilities: { add: [MKNOD] } }`".to_owned(),
                "or put the store on a volume with --root DIR, where `builder doctor` finds a way with namespaces"
                    .to_owned(),
            ],
            Self::ForeignPlatform { .. } => vec![
                "install emulators: apt-get install qemu-user-static binfmt-support".to_owned(),
                "or let the stage run on the build platform: FROM --platform=$BUILDPLATFORM"
                    .to_owned(),
            ],
            _ => Vec::new(),
        }
    }
}
