//! What a sandbox is told to do: plain data, sent to the child as bytes.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::Statx;
use serde::{Deserialize, Serialize};

/// A rung of the isolation ladder (DESIGN §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Root: all namespaces, overlay.
    Root,
    /// A user with a range of subordinate ids: the same in a user namespace.
    UserRange,
    /// A user with one id: owners are noted, not enforced.
    UserSingle,
    /// Root in a default container: private root directory and chroot.
    Chroot,
    /// No privileges: no RUN.
    None,
}

/// How a root file system comes to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootDriver {
    /// Layers stacked by overlayfs: changes are in a directory of their own.
    #[default]
    Overlay,
    /// One directory that holds everything and is changed in place.
    Directory,
}

impl Rung {
    /// What roots are on this rung.
    pub fn root_driver(self) -> RootDriver {
        match self {
            Self::Chroot => RootDriver::Directory,
            Self::Root | Self::UserRange | Self::UserSingle | Self::None => RootDriver::Overlay,
        }
    }
}

/// One command in one root file system.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// How the root is made. With [`RootDriver::Directory`], `upper` is the root itself, there are
    /// no `lowers`, and an [`SandboxMount::Overlay`] has at most one.
    pub driver: RootDriver,
    /// With [`RootDriver::Directory`]: the files of the layers below that have several names. As on an
    /// overlay, a command changes one under one name only.
    pub shared: Vec<Inode>,
    /// The layers below, top first. May be empty (a RUN on scratch).
    pub lowers: Vec<PathBuf>,
    /// The directory that receives changes; exists, empty, on the same file system as `work`.
    pub upper: PathBuf,
    /// overlay's work directory; exists, empty.
    pub work: PathBuf,
    /// A directory on the same file system; exists, empty. Holds what is written to writable
    /// [`SandboxMount::Overlay`]s; the caller deletes it with `work`.
    pub scratch: PathBuf,
    /// The command line; looked up in PATH of `env` inside the root if it has no slash.
    pub args: Vec<String>,
    /// The complete environment. HOME and PATH are added inside if absent.
    pub env: Vec<(String, String)>,
    /// The directory to start in, absolute inside the root; created by nobody here.
    pub cwd: String,
    /// USER, verbatim; empty is root. Looked up in the root's own passwd and group.
    pub user: String,
    /// The host name.
    pub hostname: String,
    /// What the generated /etc/hosts says besides localhost.
    pub hosts: Vec<HostsEntry>,
    /// Mounts in order of application (shallow targets first).
    pub mounts: Vec<SandboxMount>,
    /// Network.
    pub network: SandboxNetwork,
    /// Whether all protection is off (`--security=insecure`).
    pub insecure: bool,
    /// Size of /dev/shm in bytes.
    pub shm_size: u64,
    /// Resource limits.
    pub limits: Limits,
    /// Kill after this time.
    pub timeout: Option<Duration>,
}

/// An inode of a file system: its number, and when it was made (0 where that is not known), since
/// numbers are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Inode(pub u64, pub (i64, u32));

impl From<&Statx> for Inode {
    fn from(state: &Statx) -> Self {
        let made = state.stx_btime;
        Self(state.stx_ino, (made.tv_sec, made.tv_nsec))
    }
}

/// A line of /etc/hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostsEntry {
    /// Address.
    pub address: IpAddr,
    /// Name.
    pub name: String,
}

/// The network a command sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxNetwork {
    /// The host's.
    Host,
    /// Its own with loopback only.
    None,
    /// Its own with a user-mode link; falls back to the host's with a notice.
    Private,
}

/// A mount inside the root. Mount points are created if missing and removed afterwards if the
/// command left them empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxMount {
    /// A directory or file of the host.
    Bind(Bind),
    /// Directories stacked read-only, or writable with writes thrown away.
    Overlay {
        /// Where, absolute.
        target: String,
        /// Top first.
        lowers: Vec<PathBuf>,
        /// What below them, absolute, resolved inside them.
        source: String,
        /// Whether writes are allowed (and thrown away).
        writable: bool,
    },
    /// Memory.
    Tmpfs {
        /// Where, absolute.
        target: String,
        /// Bytes.
        size: Option<u64>,
    },
    /// A file in memory that only this command sees.
    Secret {
        /// Where, absolute.
        target: String,
        /// Its content.
        data: Vec<u8>,
        /// Mode.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

impl SandboxMount {
    /// Where it is mounted: an absolute path inside the root.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind(bind) => &bind.target,
            Self::Overlay { target, .. }
            | Self::Tmpfs { target, .. }
            | Self::Secret { target, .. } => target,
        }
    }
}

/// A bind mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Where, absolute.
    pub target: String,
    /// A trusted host path (in the store, or an agent socket).
    pub host: PathBuf,
    /// What below it, absolute, resolved inside it without leaving it; `/` is all.
    pub source: String,
    /// Whether the command may not write.
    pub readonly: bool,
}

/// Resource limits; absent means none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// rlimits.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a processor.
    pub cpus_milli: Option<u64>,
    /// Processes.
    pub pids_max: Option<u64>,
    /// The cgroup to create ours in.
    pub cgroup_parent: Option<String>,
}

/// One rlimit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Docker's name: `nofile`, `nproc`, …
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Which of its two streams the command wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a run left behind besides files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How the command ended.
    pub exit: Exit,
    /// What was not as asked; worth a line each, once a build.
    pub notices: Vec<Notice>,
}

/// Something that is not as asked but does not fail a build.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
pub enum Notice {
    /// No cgroup could be made, so a limit is not enforced.
    #[error("{what} is not limited: {why}")]
    NotLimited {
        /// `memory`, `processors`, `processes`.
        what: String,
        /// Why.
        why: String,
    },
    /// No cgroup could be made below the one that was named.
    #[error("RUN is not in the group of --cgroup-parent: {why}")]
    NotInGroup {
        /// Why.
        why: String,
    },
    /// The command shares the host's network.
    #[error("RUN uses the host's network: {why}")]
    HostNetwork {
        /// Why.
        why: String,
    },
    /// A limit was kept lower than asked.
    #[error("ulimit {name} stays at {limit}: raising it is not permitted")]
    LowerLimit {
        /// The rlimit.
        name: String,
        /// What it is.
        limit: u64,
    },
    /// A name of `--ulimit` that the kernel does not know.
    #[error("ulimit {name} is not known here")]
    UnknownLimit {
        /// The rlimit.
        name: String,
    },
    /// The command is not fenced in by Landlock.
    #[error(
        "RUN is kept out of the builder's files by chroot alone, and has no CAP_SYS_CHROOT: Landlock cannot be used ({why})"
    )]
    NoFence {
        /// Why.
        why: String,
    },
    /// /proc has a few fixed files.
    #[error("/proc of RUN has no live files: its calls cannot be supervised ({why})")]
    NoProc {
        /// Why.
        why: String,
    },
    /// A command without network has no loopback either.
    #[error(
        "RUN --network=none can make no socket but local ones here: without namespaces there is no loopback of its own"
    )]
    NoLoopback,
    /// A read-only mount is a copy.
    #[error(
        "read-only mounts of RUN are copies here, and can be written: what is written is thrown away"
    )]
    WritableCopies,
    /// There are no device nodes.
    #[error(
        "RUN can make no device nodes here, and its /dev has those of this container (no CAP_MKNOD, or a store on a `nodev` volume)"
    )]
    NoNodes,
    /// A limit of a mount that is an ordinary directory.
    #[error("the size of tmpfs mounts is not limited here: they are directories of the store")]
    NoSizeLimit,
    /// The host's name is not the one that was asked for.
    #[error("RUN sees the host name of this machine or container: another one was refused")]
    HostName,
    /// /proc shows the processes of the host.
    #[error(
        "/proc shows processes outside of the sandbox, and is read-only: a private one was refused"
    )]
    SharedProc,
}

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this code.
    Code(u8),
    /// A signal killed it.
    Signal(i32),
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// It took longer than the time limit.
    TimedOut,
}
