//! PID 1 of the sandbox: mounts its own /proc, starts the command, reaps everybody, reports.

use std::io::PipeReader;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::error::SandboxError;
use super::host_name::HostName;
use super::message::{self, Report};
use super::notes::{Births, Notes, Noting};
use super::protect::{self, Cover, ProcView};
use super::spec::{Exit, Notice, SandboxNetwork, SandboxSpec};
use super::user::Identity;
use super::{command, listener, rootfs, seccomp};
use crate::sys;
use crate::sys::process::{Fork, exit_now, fork, only_standard_descriptors};
use crate::tree::LayerNotes;

/// What PID 1 gets from the process that made the namespaces.
#[derive(Debug)]
pub(super) struct Init<'a> {
    pub(super) spec: &'a SandboxSpec,
    pub(super) trial: bool,
    pub(super) identity: &'a Identity,
    pub(super) host_name: HostName,
    pub(super) control: &'a UnixStream,
    /// Closed by the kernel when the process outside dies.
    pub(super) parent_alive: PipeReader,
    /// What becomes the root directory.
    pub(super) root: &'a OwnedFd,
    /// Where /proc goes.
    pub(super) proc_point: OwnedFd,
    pub(super) cover: Cover,
    /// The notes that files of the layers below have.
    pub(super) notes_below: LayerNotes,
}

/// Runs until the command ends. When this process ends, the kernel kills all that is left in the
/// process namespace: daemons of the command never outlive it.
pub(super) fn run(mut init: Init<'_>) -> ! {
    let control = init.control;
    let begun = match begin(&mut init) {
        Ok(begun) => begun,
        Err(error) => {
            let _ = message::send(control, &Report::Failed(error));
            exit_now(1)
        }
    };
    let Begun {
        command,
        listener,
        view,
    } = begun;
    let births = Births::default();
    let identity = init.identity.clone();
    let notes_below = init.notes_below;
    let host_name = init.spec.hostname.clone();
    let mounts = init.spec.mounts.clone();
    // Descriptors of the host's directories end here: the command can count ours, if not use them.
    only_standard_descriptors(control, listener.as_ref(), |control, listener| {
        if let Some(listener) = listener {
            let notes = Notes::new(listener, &identity, view, notes_below, births.clone());
            let notes = notes.with(&mounts).named(host_name);
            // Nothing is forked any more; the thread ends with this process.
            std::thread::spawn(move || notes.answer_all());
        }
        let exit = reap(command);
        births.settle_all();
        i32::from(message::send(&UnixStream::from(control), &Report::Exited(exit)).is_err())
    })
}

/// A command that was started.
struct Begun {
    command: Pid,
    /// Where its calls come from that are answered here.
    listener: Option<OwnedFd>,
    view: ProcView,
}

fn begin(init: &mut Init<'_>) -> Result<Begun, SandboxError> {
    let noting = Noting::here(init.notes_below);
    let (ours, theirs) = UnixStream::pair().map_err(|error| SandboxError::Control {
        source: error.into(),
    })?;

    // If the process outside dies, so does this one, and with it the namespace.
    guard(init)?;

    // Only a process of the new namespace can mount its proc.
    let insecure = init.spec.insecure;
    let view = protect::mount_proc(&init.proc_point, &mut init.cover, insecure)?;
    if view == ProcView::Host {
        message::send(init.control, &Report::Notice(Notice::SharedProc))?;
    }

    // The host's file systems disappear.
    rootfs::enter(init.root)?;

    match fork().map_err(|error| SandboxError::Fork {
        source: error.into(),
    })? {
        Fork::Child => {
            let (spec, host_name) = (init.spec, init.host_name);
            let mut confine = || confine(spec, (noting, host_name), &theirs);
            let prepared = command::prepare(spec, init.identity, init.control, &mut confine);
            if init.trial && prepared.is_ok() {
                exit_now(0)
            }
            let Err(error) = prepared.and_then(|()| command::execute(init.spec, init.identity));
            let _ = message::send(init.control, &Report::Failed(error));
            exit_now(127)
        }
        Fork::Parent(command) => {
            drop(theirs);
            let asks = noting != Noting::Nothing;
            let listener = asks.then(|| listener::receive(&ours)).flatten();
            if init.host_name == HostName::Told && listener.is_none() {
                message::send(init.control, &Report::Notice(Notice::HostName))?;
            }
            Ok(Begun {
                command,
                listener,
                view,
            })
        }
    }
}

/// Installs the filters; where something is noted, PID 1 gets the listener.
fn confine(
    spec: &SandboxSpec,
    (noting, host_name): (Noting, HostName),
    listener_to: &UnixStream,
) -> Result<(), SandboxError> {
    if spec.network == SandboxNetwork::Private && !spec.insecure {
        let installed = sys::seccomp::install(&seccomp::routed_filter());
        installed.map_err(|error| SandboxError::Filter {
            source: error.into(),
        })?;
    }
    let asking = match noting {
        Noting::Nothing => return command::filter(spec),
        Noting::Devices if spec.insecure => seccomp::devices_filter(host_name),
        Noting::Devices => seccomp::default_filter_with_devices(host_name),
        Noting::ToldDevices => {
            command::filter(spec)?;
            seccomp::told_devices_filter(host_name)
        }
        Noting::Owners => {
            command::filter(spec)?;
            seccomp::single_id_filter(host_name)
        }
    };
    match sys::supervise::install_with_listener(&asking) {
        Ok(listener) => listener::send(listener_to, &listener),
        // Where the builder itself is supervised, nobody can answer: devices are refused, and so are
        // changes of attributes, lest a command notes devices itself.
        Err(_) if noting == Noting::Devices => {
            unsupervised()?;
            command::filter(spec)
        }
        Err(_) if noting == Noting::ToldDevices => unsupervised(),
        Err(error) => Err(SandboxError::Filter {
            source: error.into(),
        }),
    }
}

/// Installs the filter for where nobody can answer.
fn unsupervised() -> Result<(), SandboxError> {
    let installed = sys::seccomp::install(&seccomp::unsupervised_filter());
    installed.map_err(|error| SandboxError::Filter {
        source: error.into(),
    })
}

fn guard(init: &Init<'_>) -> Result<(), SandboxError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| {
        SandboxError::Guard {
            source: errno.into(),
        }
    })?;
    // It may have died before the signal was asked for: then its end of the pipe is closed.
    let mut alive = [PollFd::new(init.parent_alive.as_fd(), PollFlags::POLLIN)];
    match nix::poll::poll(&mut alive, PollTimeout::ZERO) {
        Ok(0) => Ok(()),
        _ => exit_now(1),
    }
}

/// Waits for every child, adopted ones too, until the command itself ends.
fn reap(command: Pid) -> Exit {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => {
                let code = status.exit_status().map(|code| u8::try_from(code & 0xff));
                return match (code, status.terminating_signal()) {
                    (Some(code), _) => Exit::Code(code.unwrap_or(u8::MAX)),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => continue, // stopped or continued
                };
            }
            Ok(_) | Err(Errno::INTR) => (),
            // No child at all: the command is gone, and how it ended is not known.
            Err(_) => return Exit::Signal(libc::SIGKILL),
        }
    }
}
