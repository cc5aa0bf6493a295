//! The sandbox's first process: makes namespaces and the root, starts PID 1, cleans up after it.
//!
//! It is our own program, executed again (a process with threads must never fork), with one thread.
//! [`script`] is the whole story in kernel order.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions};

use super::error::{Errno, SandboxError};
use super::files::{self, Access, Files};
use super::host_name::HostName;
use super::init::{self, Init};
use super::inside::{MountPoints, PointKind};
use super::message::{self, Job, Report};
use super::protect::{self, Cover};
use super::rootfs::{self, Stack};
use super::spec::{RootDriver, SandboxNetwork};
use super::{chroot, devices, limits, mounting, mounts, notes, user};
use crate::sys::{self, process::Fork};

/// The out-of-memory score of a sandbox: when memory is short, a step dies before the builder.
const OUT_OF_MEMORY_SCORE: &str = "500";

/// Serves one job that comes over standard input.
pub(super) fn main() -> ExitCode {
    let Ok(control) = take_control() else {
        return ExitCode::FAILURE;
    };
    let failed = match message::receive::<Job>(&control) {
        Ok(Some(job)) => match job.spec.driver {
            RootDriver::Overlay => script(&control, &job).err(),
            RootDriver::Directory => chroot::script(&control, &job).err(),
        },
        Ok(None) => None, // the builder is gone
        Err(error) => Some(error),
    };
    match failed {
        None => ExitCode::SUCCESS,
        Some(error) => {
            let _ = message::send(&control, &Report::Failed(error));
            ExitCode::FAILURE
        }
    }
}

/// Moves the control socket away from standard input, which becomes /dev/null for good.
pub(super) fn take_control() -> Result<UnixStream, Errno> {
    let control = rustix::io::fcntl_dupfd_cloexec(sys::process::standard_input(), 3)?;
    let null = rustix::fs::openat(
        CWD,
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    sys::process::redirect(&null, 0)?;
    Ok(UnixStream::from(control))
}

/// Everything between the job and the end of the command.
fn script(control: &UnixStream, job: &Job) -> Result<(), SandboxError> {
    let spec = &job.spec;

    // Nothing of ours may outlive the builder, or be opened through /proc by the command.
    guard()?;
    join_cgroups(&job.cgroups)?;

    // The process namespace begins with the next fork; all others hold for this process, too.
    unshare(job)?;

    // Before any mount: what happens here must not reach the host.
    make_private()?;

    // While the host's files can still be seen by name, but through the mounts of our namespace:
    // those of another cannot be stacked or cloned.
    let lowers = rootfs::open_lowers(&spec.lowers)?;

    // The root: layers, attached over the upper directory in this namespace only.
    let upper = rootfs::open_directory(&spec.upper)?;
    let work = rootfs::open_directory(&spec.work)?;
    let notes_below = notes::below(spec);
    let root = rootfs::mount(&Stack {
        lowers,
        writable: Some((&upper, &work)),
        devices: spec.insecure,
    })?;
    attach(&root, &upper, "/")?;
    let identity = user::resolve(&root, &spec.user)?;

    // Its devices, kernel file systems, generated files and the step's own mounts, by descriptor.
    let files = Files::new(&spec.work)?;
    let mut points = MountPoints::new(root.as_fd());
    let dev = devices::mount(&point(&mut points, "/dev")?, &files, spec.shm_size)?;
    let mut cover = Cover::new(&dev)?;
    protect::mount_sys(&point(&mut points, "/sys")?, &mut cover, spec.insecure)?;
    let proc_point = point(&mut points, "/proc")?;
    generate(job, &files, &mut points)?;
    mounts::apply(&spec.mounts, &mut points, &files, &spec.scratch)?;
    let host_name = HostName::set(&spec.hostname)?;

    // PID 1 mounts /proc and then makes the host's file systems disappear, for us too.
    let (parent_alive, we_live) = std::io::pipe().map_err(|error| control_error(&error))?;
    match fork()? {
        Fork::Child => {
            drop(we_live);
            init::run(Init {
                spec,
                trial: job.trial,
                identity: &identity,
                host_name,
                control,
                parent_alive,
                root: &root,
                proc_point,
                cover,
                notes_below,
            })
        }
        Fork::Parent(process) => {
            drop((parent_alive, cover, dev, files));
            watch(process, control)?;
        }
    }

    // All processes of the sandbox are gone; its mounts go, then the empty mount points.
    leave(&proc_point)?;
    points.clean_up().map_err(|errno| SandboxError::CleanUp {
        source: errno.into(),
    })
}

/// Takes all mounts of the sandbox off, its root too. In a user namespace the first root of a
/// mount namespace is locked, and the lock goes over to whatever replaces it: there, an empty
/// directory takes the root's place, attached for a
/// moment where /proc is.
fn leave(place: &OwnedFd) -> Result<(), SandboxError> {
    if rustix::mount::unmount("/", UnmountFlags::DETACH).is_ok() {
        return Ok(());
    }
    let empty = mounting::new_file_system("tmpfs", &[], MountAttrFlags::empty())?;
    attach(&empty, place, "/proc")?;
    rootfs::enter(&empty)
}

fn guard() -> Result<(), SandboxError> {
    let guard = || -> Result<(), Errno> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // May be refused where /proc is read-only; the command is then only less likely to die.
        let _ = std::fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        Ok(())
    };
    // The name in ps(1); it would be the number of the descriptor that was executed.
    let _ = rustix::thread::set_name(c"builder");
    limits::raise_open_files();
    rustix::process::umask(Mode::empty());
    guard().map_err(|source| SandboxError::Guard { source })
}

pub(super) fn join_cgroups(cgroups: &[PathBuf]) -> Result<(), SandboxError> {
    for cgroup in cgroups {
        let members = cgroup.join("cgroup.procs");
        std::fs::write(&members, "0").map_err(|error| SandboxError::WriteFile {
            name: members.display().to_string(),
            source: error.into(),
        })?;
    }
    Ok(())
}

fn fork() -> Result<Fork, SandboxError> {
    sys::process::fork().map_err(|error| SandboxError::Fork {
        source: error.into(),
    })
}

fn unshare(job: &Job) -> Result<(), SandboxError> {
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        // The place in the host's hierarchy, which differs from machine to machine, becomes `/`.
        | CloneFlags::CLONE_NEWCGROUP;
    if job.spec.network == SandboxNetwork::None {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    let network = |source| SandboxError::Network { source };
    if let Some(path) = &job.network {
        let namespace =
            rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                .map_err(|errno| network(errno.into()))?;
        nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| network(errno.into()))?;
    }
    nix::sched::unshare(flags).map_err(|errno| SandboxError::Unshare {
        source: errno.into(),
    })?;
    if job.spec.network == SandboxNetwork::None {
        sys::network::loopback_up().map_err(|error| network(error.into()))?;
    }
    Ok(())
}

pub(super) fn make_private() -> Result<(), SandboxError> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).map_err(|errno| SandboxError::MakePrivate {
        source: errno.into(),
    })
}

fn point(points: &mut MountPoints<'_>, path: &str) -> Result<OwnedFd, SandboxError> {
    points
        .find_or_keep(path)
        .map_err(|errno| SandboxError::MountPoint {
            target: path.to_owned(),
            source: errno.into(),
        })
}

fn attach(mount: &OwnedFd, point: &OwnedFd, target: &str) -> Result<(), SandboxError> {
    mounting::attach(mount, point).map_err(|errno| SandboxError::Attach {
        target: target.to_owned(),
        source: errno.into(),
    })
}

/// /etc/hosts and /etc/resolv.conf, read-only as BuildKit's.
fn generate(job: &Job, files: &Files, points: &mut MountPoints<'_>) -> Result<(), SandboxError> {
    let readable = Access {
        mode: 0o644,
        uid: 0,
        gid: 0,
    };
    let hosts = files::hosts(&job.spec.hostname, &job.spec.hosts);
    let generated = [
        ("/etc/hosts", "hosts", hosts.as_str()),
        ("/etc/resolv.conf", "resolv.conf", job.resolv_conf.as_str()),
    ];
    for (target, name, text) in generated {
        let mount = files.mount_file(name, text.as_bytes(), readable)?;
        mounts::place(points, target, &mount, PointKind::File)?;
    }
    Ok(())
}

/// Waits for PID 1; kills it as soon as the builder hangs up.
fn watch(process: Pid, control: &UnixStream) -> Result<(), SandboxError> {
    let lost = |errno: Errno| SandboxError::Fork { source: errno };
    let pidfd =
        rustix::process::pidfd_open(process, PidfdFlags::empty()).map_err(|e| lost(e.into()))?;
    let mut fds = [
        PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
        PollFd::new(control.as_fd(), PollFlags::POLLIN),
    ];
    loop {
        match nix::poll::poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => (),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(lost(errno.into())),
        }
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        if ready(&fds[0]) {
            break;
        }
        if ready(&fds[1]) {
            // The builder says nothing after the job: this is the end of the conversation.
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            break;
        }
    }
    loop {
        match rustix::process::waitpid(Some(process), WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => (),
            Err(errno) => return Err(lost(errno.into())),
            Ok(_) => return Ok(()),
        }
    }
}

fn control_error(error: &std::io::Error) -> SandboxError {
    SandboxError::Control {
        source: Errno(error.raw_os_error().unwrap_or(libc::EIO)),
    }
}
