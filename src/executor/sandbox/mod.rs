//! Command, root file system and mounts in; exit status and output out.
//!
//! ```text
//! builder ──exec──▶ outer ──fork──▶ PID 1 ──fork──▶ the command
//! (parent)          namespaces,     /proc, reaps,   user, capabilities,
//!                   root, mounts,   reports         system call filter
//!                   cleans up
//! ```
//!
//! The builder has threads, so it never forks: it executes itself again ([`run_if_child`]) and
//! sends a [`SandboxSpec`] over a socket. Everything that touches the command's root works on
//! descriptors. The chain of processes is held together by parent-death signals and the socket:
//! whoever dies, all below is killed by the kernel, and mounts go with their namespace.
//!
//! See `docs/design/sandbox.md` for what a command may and may not do, and why.

mod cancel;
mod cgroup;
mod child;
mod chroot;
mod command;
mod copying;
mod devices;
mod error;
mod files;
mod forward;
mod host_name;
mod init;
mod inside;
mod janitor;
mod keeper;
mod kept;
mod limits;
mod listener;
mod memory;
mod message;
mod mounting;
mod mounts;
mod network;
mod notes;
mod orphans;
mod outer;
mod parent;
mod places;
mod protect;
mod rootfs;
pub mod rung;
mod running;
mod seccomp;
mod spec;
mod supervisor;
mod user;

pub use cancel::Cancel;
pub use child::run_if_child;
pub use error::{Errno, SandboxError};
pub use parent::Sandbox;
pub use rootfs::{has_single_id, in_user_namespace};
pub use spec::{
    Bind, Exit, HostsEntry, Inode, Limits, Notice, Outcome, RootDriver, Rung, SandboxMount,
    SandboxNetwork, SandboxSpec, Stream, Ulimit,
};
