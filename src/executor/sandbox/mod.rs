//! Command, root file system and mounts in; exit status and output out.

mod spec;

pub use spec::{
    Bind, Exit, HostsEntry, Limits, Rung, SandboxMount, SandboxNetwork, SandboxSpec, Ulimit,
};
