//! What can go wrong between a command and its exit status.

use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::failure::{Explain, Kind};

/// An error number of the kernel; crosses from the sandbox's processes as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errno(pub i32);

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            libc::ENOENT => "no such file or directory",
            libc::EACCES => "permission denied",
            libc::EPERM => "operation not permitted",
            libc::ENOTDIR => "not a directory",
            libc::ENOEXEC => "exec format error",
            libc::EROFS => "read-only file system",
            number => return write!(f, "{}", nix::errno::Errno::from_raw(number).desc()),
        })
    }
}

impl std::error::Error for Errno {}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Self {
        Self(errno as i32)
    }
}

impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Self {
        // An error that names a path has lost its number.
        Self(error.raw_os_error().unwrap_or(match error.kind() {
            ErrorKind::ReadOnlyFilesystem => libc::EROFS,
            ErrorKind::PermissionDenied => libc::EACCES,
            ErrorKind::StorageFull => libc::ENOSPC,
            ErrorKind::NotFound => libc::ENOENT,
            _ => libc::EIO,
        }))
    }
}

/// Why a command did not run to an exit status. Made by any of the sandbox's processes; those of
/// the inner ones cross to the builder as bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SandboxError {
    // What the user wrote.
    /// The command has no slash and is in no directory of PATH.
    #[error("exec: {name:?}: executable file not found in $PATH")]
    CommandNotFound {
        /// The command.
        name: String,
    },
    /// The command cannot be started.
    #[error("exec {path:?}")]
    Exec {
        /// The command.
        path: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// There is no command.
    #[error("the command is empty")]
    NoCommand,
    /// The working directory cannot be entered.
    #[error("chdir to {path:?}")]
    WorkingDirectory {
        /// The directory.
        path: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// USER names nobody of the image's passwd.
    #[error("unable to find user {name}: no matching entries in passwd file")]
    UnknownUser {
        /// The name.
        name: String,
    },
    /// USER names no group of the image's group file.
    #[error("unable to find group {name}: no matching entries in group file")]
    UnknownGroup {
        /// The name.
        name: String,
    },
    /// A user or group number is too large.
    #[error("uids and gids must be in range 0-2147483647: `{text}`")]
    IdRange {
        /// What was written.
        text: String,
    },
    /// passwd or group is not what it should be.
    #[error("failed to read `{path}` of the image")]
    UserFile {
        /// `/etc/passwd` or `/etc/group`.
        path: String,
        /// Why; EFBIG if larger than 10 MiB, EINVAL if not a regular file.
        #[source]
        source: Errno,
    },
    /// A mount on a place that would undo the sandbox.
    #[error("mounting on `{target}` is not allowed")]
    ReservedTarget {
        /// Where.
        target: String,
    },
    /// A mount point could not be made.
    #[error("failed to make the mount point `{target}`")]
    MountPoint {
        /// Where.
        target: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// What a mount shows does not exist.
    #[error("failed to find the source `{path}` of the mount on `{target}`")]
    MountSource {
        /// Where.
        target: String,
        /// What, inside its root.
        path: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A name with a NUL byte.
    #[error("{what} contains a NUL byte")]
    Nul {
        /// `the command`, `the environment`, …
        what: String,
    },
    /// The build was stopped.
    #[error("cancelled")]
    Cancelled,

    // What the machine refused.
    /// Our own program could not be started again.
    #[error("failed to start `{}` as a sandbox", .executable.display())]
    Spawn {
        /// Our program.
        executable: PathBuf,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A process of ours could not be made or watched.
    #[error("failed to make a process")]
    Fork {
        /// Why.
        #[source]
        source: Errno,
    },
    /// A pipe or socket could not be made or used.
    #[error("failed to talk to the sandbox")]
    Control {
        /// Why.
        #[source]
        source: Errno,
    },
    /// What came over the socket is not a message.
    #[error("failed to understand the sandbox: {text}")]
    Message {
        /// What the decoder said.
        text: String,
    },
    /// The sandbox ended without a word.
    #[error("the sandbox ended unexpectedly ({status})")]
    Died {
        /// How.
        status: String,
    },
    /// The processes were not made safe from outliving us or being looked into.
    #[error("failed to guard the sandbox's own process")]
    Guard {
        /// Why.
        #[source]
        source: Errno,
    },
    /// The namespaces were refused.
    #[error("failed to make new namespaces")]
    Unshare {
        /// Why.
        #[source]
        source: Errno,
    },
    /// The network namespace could not be joined or prepared.
    #[error("failed to set up the network of the sandbox")]
    Network {
        /// Why.
        #[source]
        source: Errno,
    },
    /// Mounts could not be made private.
    #[error("failed to make mounts private")]
    MakePrivate {
        /// Why.
        #[source]
        source: Errno,
    },
    /// A layer directory could not be opened.
    #[error("failed to open `{}`", .path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: Errno,
    },
    /// The root file system could not be stacked.
    #[error("failed to mount an overlay of {lowers} layers{why}")]
    Overlay {
        /// How many directories are below.
        lowers: usize,
        /// What the kernel said, in parentheses; may be empty.
        why: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A file system could not be made.
    #[error("failed to make a `{kind}` file system")]
    NewFileSystem {
        /// `tmpfs`, `proc`, …
        kind: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A mount could not be put in its place.
    #[error("failed to mount on `{target}`")]
    Attach {
        /// Where.
        target: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A file of the sandbox could not be written.
    #[error("failed to write `{name}` for the sandbox")]
    WriteFile {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A device is missing or is another one.
    #[error("failed to provide `/dev/{name}`")]
    Device {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A path of /proc or /sys could not be hidden or made read-only.
    #[error("failed to protect `{path}`")]
    Protect {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// What the command is to see at a path could not be put there or taken away again.
    #[error("failed to exchange `{target}` for the command")]
    Exchange {
        /// Where.
        target: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// What a mount shows could not be copied.
    #[error("failed to copy what is to be seen at `{target}`")]
    CopyIn {
        /// Where.
        target: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// A directory could not be made the root of the command.
    #[error("failed to change the root by chroot")]
    Chroot {
        /// Why.
        #[source]
        source: Errno,
    },
    /// The root could not be changed.
    #[error("failed to change the root")]
    PivotRoot {
        /// Why.
        #[source]
        source: Errno,
    },
    /// The host name could not be set.
    #[error("failed to set the host name to `{name}`")]
    HostName {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// The surroundings of the command could not be prepared.
    #[error("failed to prepare the command's process")]
    Prepare {
        /// Why.
        #[source]
        source: Errno,
    },
    /// Capabilities could not be dropped.
    #[error("failed to drop capabilities")]
    Capabilities {
        /// Why.
        #[source]
        source: Errno,
    },
    /// The system call filter could not be installed.
    #[error("failed to install the system call filter")]
    Filter {
        /// Why.
        #[source]
        source: Errno,
    },
    /// The user could not be switched to.
    #[error("failed to become user {uid} and group {gid}")]
    BecomeUser {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// Why.
        #[source]
        source: Errno,
    },
    /// Mount points made for the command could not be removed.
    #[error("failed to remove mount points")]
    CleanUp {
        /// Why.
        #[source]
        source: Errno,
    },
}

impl Explain for SandboxError {
    fn kind(&self) -> Kind {
        match self {
            Self::CommandNotFound { .. }
            | Self::Exec { .. }
            | Self::NoCommand
            | Self::WorkingDirectory { .. }
            | Self::UnknownUser { .. }
            | Self::UnknownGroup { .. }
            | Self::IdRange { .. }
            | Self::UserFile { .. }
            | Self::ReservedTarget { .. }
            | Self::MountPoint { .. }
            | Self::MountSource { .. }
            | Self::Nul { .. } => Kind::User,
            Self::Cancelled => Kind::Cancelled,
            Self::Message { .. } => Kind::Internal,
            _ => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::CommandNotFound { name } => format!(
                "install `{name}` in an earlier step, or write its absolute path"
            ),
            Self::Exec { source: Errno(libc::ENOENT), .. } => {
                "the file, or the interpreter it names, is not in the image; a stage `FROM scratch` has no shell".to_owned()
            }
            Self::Exec { source: Errno(libc::ENOEXEC), .. } => {
                "the file is for another processor, or a script without a `#!` line".to_owned()
            }
            Self::Exec { source: Errno(libc::EACCES), .. } => {
                "make the file executable with `RUN chmod +x` or `COPY --chmod=755`".to_owned()
            }
            Self::UnknownUser { .. } | Self::UnknownGroup { .. } => {
                "create it in an earlier step, or write numbers: `USER 1000:1000`".to_owned()
            }
            Self::ReservedTarget { .. } => "mount on another path".to_owned(),
            Self::Unshare { .. } | Self::Overlay { .. } | Self::MakePrivate { .. } => {
                "`builder doctor` says what this machine allows and how to allow more".to_owned()
            }
            Self::BecomeUser { source: Errno(libc::EINVAL), uid, .. } => format!(
                "id {uid} is outside of the range in /etc/subuid or /etc/subgid; give this user a larger range"
            ),
            _ => return Vec::new(),
        };
        vec![hint]
    }
}
