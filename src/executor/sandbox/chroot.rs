//! The sandbox where nothing can be mounted and no namespace made: root in a default container.
//!
//! ```text
//! builder ──exec──▶ outer ──fork──▶ the command
//! (threads)         root, places,   chroot, no_new_privs, Landlock, filters, user
//!                   supervises, reaps, kills, cleans up
//! ```
//!
//! The root is a directory of the store that the command changes in place. It is closed by chroot, of
//! which the command has no more (no CAP_SYS_CHROOT), and fenced by Landlock, which covers what is
//! opened but not what is done to files by name. Processes have no namespace: the first process is the reaper of all that stem from it and
//! kills them when the command ends, when the builder hangs up, or when the builder dies.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::CapabilitySet;

use super::error::{Errno, SandboxError};
use super::files::{self, Access};
use super::message::{self, Job, Report};
use super::places::{self, Places};
use super::seccomp::Changing;
use super::spec::{Exit, Notice, SandboxMount, SandboxNetwork, SandboxSpec};
use super::supervisor::{Detacher, Lent, Supervisor};
use super::user::Identity;
use super::{command, keeper, limits, listener, rootfs, seccomp, supervisor, user};
use crate::sys::process::{Fork, exit_now};
use crate::sys::{self, supervise};

/// Everything between the job and the end of the command.
pub(super) fn script(control: &UnixStream, job: &Job) -> Result<(), SandboxError> {
    let spec = &job.spec;

    // All that stems from the command comes back to this process, and nothing can look into it.
    guard()?;
    super::outer::join_cgroups(&job.cgroups)?;

    // What the command sees besides its image.
    let root = rootfs::open_directory(&spec.upper)?;
    let identity = user::resolve(&root, &spec.user)?;
    let work = rootfs::open_directory(&spec.work)?;
    let mut places = Places::new(root.as_fd(), rootfs::open_directory(&spec.work)?);
    let (proc, dev) = furnish(job, &mut places)?;
    let lent = Lent::new(&dev)?;
    let shared = [spec.shared.as_slice(), &places.take_shared()].concat();
    for secret in places.secrets() {
        keeper::hold(secret)?;
    }
    let detacher = Detacher::new(&root, work.as_fd(), &shared);
    for notice in shortcomings(spec, lent.is_some()) {
        message::send(control, &Report::Notice(notice))?;
    }

    // The command, and who answers its calls.
    let (ours, theirs) = UnixStream::pair().map_err(|error| SandboxError::Control {
        source: error.into(),
    })?;
    let forked = sys::process::fork().map_err(|error| SandboxError::Fork {
        source: error.into(),
    })?;
    let process = match forked {
        Fork::Child => {
            drop(ours);
            let asked = detacher
                .as_ref()
                .map_or_else(Vec::new, |_| Changing::numbers());
            become_command(
                (job, &identity),
                &root,
                lent.as_ref(),
                control,
                (&theirs, &asked),
            )
        }
        Fork::Parent(process) => process,
    };
    drop(theirs);
    // Nothing is forked any more: threads may begin.
    for forward in places.take_forwards() {
        forward.start();
    }
    let supervisor = listener::receive(&ours).map(|listener| Supervisor {
        listener,
        root: &root,
        proc,
        host_name: &spec.hostname,
        detacher,
        lent: lent.as_ref(),
    });
    let ended = attend(process, control, supervisor.as_ref());

    // Nothing may work in the root any more when the image's own things come back.
    kill_descendants();
    if let Some(lent) = &lent {
        lent.put_back();
    }
    places.clean_up()?;
    message::send(control, &Report::Exited(ended?))
}

fn guard() -> Result<(), SandboxError> {
    let guard = || -> Result<(), Errno> {
        // Not killed with the builder: it has to kill the others first.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
        // Root of a machine has more than the command: with that, what the command cannot do
        // itself could be done for it.
        let present = rustix::thread::capabilities(None)?;
        let kept = command::CAPABILITIES & present.permitted;
        rustix::thread::set_capabilities(
            None,
            rustix::thread::CapabilitySets {
                effective: kept,
                permitted: kept,
                inheritable: CapabilitySet::empty(),
            },
        )?;
        Ok(())
    };
    let _ = rustix::thread::set_name(c"builder");
    limits::raise_open_files();
    rustix::process::umask(rustix::fs::Mode::empty());
    guard().map_err(|source| SandboxError::Guard { source })
}

/// What is asked for and cannot be had here.
fn shortcomings(spec: &SandboxSpec, is_lent: bool) -> Vec<Notice> {
    let is_network_off = spec.network == SandboxNetwork::None;
    let is_read_only = |mount: &SandboxMount| match mount {
        SandboxMount::Bind(bind) => bind.readonly,
        SandboxMount::Overlay { writable, .. } => !writable,
        SandboxMount::Tmpfs { .. } | SandboxMount::Secret { .. } => false,
    };
    let is_limited =
        |mount: &SandboxMount| matches!(mount, SandboxMount::Tmpfs { size: Some(_), .. });
    let table = [
        (is_network_off, Notice::NoLoopback),
        (is_lent, Notice::NoNodes),
        (spec.mounts.iter().any(is_read_only), Notice::WritableCopies),
        (spec.mounts.iter().any(is_limited), Notice::NoSizeLimit),
    ];
    let present = table.into_iter().filter(|(is_present, _)| *is_present);
    present.map(|(_, notice)| notice).collect()
}

/// /dev, /sys, /proc, the generated files and the step's own mounts; the directories for /proc and /dev.
fn furnish(job: &Job, places: &mut Places<'_>) -> Result<(OwnedFd, OwnedFd), SandboxError> {
    let dev = places.keep_directory("/dev", places::fill_dev)?;
    places.keep_directory("/sys", |_| Ok(()))?;
    let proc = places.keep_directory("/proc", |proc| {
        supervisor::fill_proc(proc).map_err(|errno| SandboxError::Protect {
            path: "/proc".to_owned(),
            source: errno.into(),
        })
    })?;
    let readable = Access {
        mode: 0o644,
        uid: 0,
        gid: 0,
    };
    let hosts = files::hosts(&job.spec.hostname, &job.spec.hosts);
    places.file("/etc/hosts", hosts.as_bytes(), readable)?;
    places.file("/etc/resolv.conf", job.resolv_conf.as_bytes(), readable)?;
    places.mounts(&job.spec.mounts)?;
    Ok((proc, dev))
}

/// The command's own process, up to its execution.
fn become_command(
    (job, identity): (&Job, &Identity),
    root: &OwnedFd,
    lent: Option<&Lent>,
    control: &UnixStream,
    listener_to: (&UnixStream, &[u32]),
) -> ! {
    let spec = &job.spec;
    let null = lent.map(Lent::null).transpose();
    let prepared = null.and_then(|null| {
        enter(root)?;
        let mut confine = || {
            if let Some(null) = &null {
                let error = |error: std::io::Error| SandboxError::Prepare {
                    source: error.into(),
                };
                sys::process::redirect(null, 0).map_err(error)?;
            }
            confine((spec, lent.is_some()), root, control, listener_to)
        };
        command::prepare(spec, identity, control, &mut confine)
    });
    if job.trial && prepared.is_ok() {
        exit_now(0)
    }
    let Err(error) = prepared.and_then(|()| command::execute(spec, identity));
    let _ = message::send(control, &Report::Failed(error));
    exit_now(127)
}

fn enter(root: &OwnedFd) -> Result<(), SandboxError> {
    let enter = || -> Result<(), Errno> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        rustix::process::fchdir(root)?;
        rustix::process::chroot(".")?;
        Ok(rustix::process::chdir("/")?)
    };
    enter().map_err(|source| SandboxError::Chroot { source })
}

/// Shuts the command in: Landlock, or what is left without it; then the filters. None of this is
/// possible without no_new_privs, so setuid programs and file capabilities give nothing here.
fn confine(
    (spec, is_lent): (&SandboxSpec, bool),
    root: &OwnedFd,
    control: &UnixStream,
    (listener_to, changes): (&UnixStream, &[u32]),
) -> Result<(), SandboxError> {
    let filter_error = |error: std::io::Error| SandboxError::Filter {
        source: error.into(),
    };
    supervise::no_new_privileges().map_err(filter_error)?;
    // Who may change its root walks out of this one, and Landlock covers neither that nor what can
    // be done to files without opening them.
    rustix::thread::remove_capability_from_bounding_set(CapabilitySet::SYS_CHROOT)
        .and_then(|()| drop_chroot())
        .map_err(|errno| SandboxError::Capabilities {
            source: errno.into(),
        })?;
    let signals_are_confined = match sys::landlock::confine_below(root) {
        Ok(signals_are_confined) => signals_are_confined,
        Err(error) => {
            let why = Errno::from(error).to_string();
            message::send(control, &Report::Notice(Notice::NoFence { why }))?;
            sys::seccomp::install(&seccomp::unintrusive_filter()).map_err(filter_error)?;
            false
        }
    };
    if spec.network == SandboxNetwork::None {
        sys::seccomp::install(&seccomp::offline_filter()).map_err(filter_error)?;
    }
    command::filter(spec)?;
    let asking = seccomp::asking_filter(changes, !signals_are_confined);
    match supervise::install_with_listener(&asking) {
        Ok(listener) => listener::send(listener_to, &listener),
        // Nobody could lend devices.
        Err(error) if is_lent => Err(filter_error(error)),
        Err(error) => {
            let why = Errno::from(error).to_string();
            message::send(control, &Report::Notice(Notice::NoProc { why }))?;
            let alone = seccomp::solitary_filter(!signals_are_confined);
            sys::seccomp::install(&alone).map_err(filter_error)
        }
    }
}

fn drop_chroot() -> rustix::io::Result<()> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.permitted.remove(CapabilitySet::SYS_CHROOT);
    sets.effective.remove(CapabilitySet::SYS_CHROOT);
    rustix::thread::set_capabilities(None, sets)
}

/// Answers, reaps and waits until the command ends; kills it as soon as the builder hangs up.
fn attend(
    process: Pid,
    control: &UnixStream,
    mut supervisor: Option<&Supervisor<'_>>,
) -> Result<Exit, SandboxError> {
    let lost = |errno: Errno| SandboxError::Fork { source: errno };
    let pidfd =
        rustix::process::pidfd_open(process, PidfdFlags::empty()).map_err(|e| lost(e.into()))?;
    let listener = supervisor.map_or(pidfd.as_fd(), |supervisor| supervisor.listener.as_fd());
    let mut fds = [
        PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
        PollFd::new(control.as_fd(), PollFlags::POLLIN),
        PollFd::new(listener, PollFlags::POLLIN),
    ];
    loop {
        match nix::poll::poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => (),
            Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(lost(errno.into())),
        }
        let events = |fd: &PollFd<'_>| fd.revents().unwrap_or(PollFlags::empty());
        if let Some(supervisor) = supervisor
            && events(&fds[2]).contains(PollFlags::POLLIN)
        {
            supervisor.serve();
            // Calls come in crowds: the command's end can wait for them, the builder's cannot.
            if events(&fds[1]).is_empty() && events(&fds[0]).is_empty() {
                continue;
            }
        }
        if !events(&fds[1]).is_empty() {
            // The builder says nothing after the job: this is the end of the conversation.
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
        } else if events(&fds[0]).is_empty() {
            // Nobody is left under the filter, and the command has not ended: it is about to.
            supervisor = None;
            fds[2] = PollFd::new(pidfd.as_fd(), PollFlags::POLLIN);
            continue;
        }
        if let Some(exit) = wait_for(process)? {
            return Ok(exit);
        }
    }
}

/// How a process ended; `None` if it was only stopped.
fn wait_for(process: Pid) -> Result<Option<Exit>, SandboxError> {
    loop {
        match rustix::process::waitpid(Some(process), WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => (),
            Err(errno) => {
                return Err(SandboxError::Fork {
                    source: errno.into(),
                });
            }
            Ok(None) => return Ok(None),
            Ok(Some((_, status))) => {
                let code = status.exit_status().map(|code| u8::try_from(code & 0xff));
                return Ok(match (code, status.terminating_signal()) {
                    (Some(code), _) => Some(Exit::Code(code.unwrap_or(u8::MAX))),
                    (None, Some(signal)) => Some(Exit::Signal(signal)),
                    (None, None) => None,
                });
            }
        }
    }
}

/// Kills and reaps all that stems from this process, until nothing is left: who is born while its
/// parent dies is found in the next round.
fn kill_descendants() {
    loop {
        // In most cases nobody is left, and nobody has to be looked for.
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => continue,
            Ok(None) => (),
            Err(_) => return,
        }
        for process in supervisor::descendants() {
            if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
                let _ = rustix::process::kill_process(process, Signal::KILL);
            }
        }
        let _ = rustix::process::wait(WaitOptions::empty());
    }
}
