//! The helper of a link: a process that makes the namespace and starts the user-mode stack.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use super::super::error::{Errno, SandboxError};
use super::super::{message, outer, rootfs};
use super::Word;
use crate::clock::Stopwatch;
use crate::sys;
use crate::sys::process::{Fork, exit_now, fork};

/// How long a link may take until it has a route.
const START_MAX: Duration = Duration::from_secs(5);

/// How long to wait between two looks at the routes.
const LOOK: Duration = Duration::from_millis(1);

/// What a child that could not become the tool ends with: as shells do.
const NOT_FOUND: i32 = 127;
const NOT_STARTED: i32 = 126;

/// The name server that pasta is told to forward; link-local, so nobody else's.
const PASTA_SERVER: Ipv4Addr = Ipv4Addr::new(169, 254, 53, 53);

/// The name server of slirp4netns.
const SLIRP_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// The helper's whole life.
pub(in super::super) fn network_main() -> ExitCode {
    let Ok(control) = outer::take_control() else {
        return ExitCode::FAILURE;
    };
    let _ = rustix::thread::set_name(c"builder-network");
    let holder = match keep_mounts_apart().and_then(|()| start_holder()) {
        Ok(holder) => holder,
        Err(error) => {
            let _ = message::send(&control, &Word::Down(explain(&error)));
            return ExitCode::FAILURE;
        }
    };
    let mut link = match bring_up(&holder) {
        Ok(link) => link,
        Err(why) => {
            let _ = message::send(&control, &Word::Down(why));
            return ExitCode::FAILURE;
        }
    };
    let up = Word::Up {
        holder: holder.process.as_raw_pid(),
        server: IpAddr::V4(link.server),
        tool: link.tool.name().to_owned(),
    };
    let _ = message::send(&control, &up);
    link.attend(&control);
    link.end();
    ExitCode::SUCCESS
}

/// A process in the new namespace.
#[derive(Debug)]
struct Holder {
    process: Pid,
    namespace: OwnedFd,
    /// The holder ends when this is closed.
    _life: PipeWriter,
}

/// slirp4netns, to lock itself up, takes off all mounts but a few, in a mount namespace of its own, of which it
/// makes the root alone private: for root on a machine whose mounts are shared (systemd's) it would take
/// /sys/fs/cgroup, /dev/pts and others off the machine.
fn keep_mounts_apart() -> Result<(), SandboxError> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| SandboxError::Unshare {
        source: errno.into(),
    })?;
    outer::make_private()
}

fn start_holder() -> Result<Holder, SandboxError> {
    let network = |source: Errno| SandboxError::Network { source };
    let pipe = || std::io::pipe().map_err(|error| network(error.into()));
    let (mut ready, ready_writer) = pipe()?;
    let (life, life_writer) = pipe()?;
    let forked = fork().map_err(|error| SandboxError::Fork {
        source: error.into(),
    })?;
    let process = match forked {
        Fork::Child => {
            drop((ready, life_writer));
            exit_now(i32::from(hold(ready_writer, life).is_err()))
        }
        Fork::Parent(process) => process,
    };
    drop((ready_writer, life));
    // One byte, or the end if the holder failed.
    let mut byte = [0];
    ready
        .read_exact(&mut byte)
        .map_err(|_| network(Errno(libc::EPERM)))?;
    let path = format!("/proc/{}/ns/net", process.as_raw_pid());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let namespace = rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| network(errno.into()))?;
    Ok(Holder {
        process,
        namespace,
        _life: life_writer,
    })
}

/// The holder's whole life.
fn hold(mut ready: PipeWriter, mut life: PipeReader) -> std::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    nix::sched::unshare(CloneFlags::CLONE_NEWNET)?;
    sys::network::loopback_up()?;
    // A datagram to 127.0.0.1 that is bound to the link would come out on the host's loopback.
    sys::network::refuse_loopback_elsewhere()?;
    ready.write_all(&[1])?;
    drop(ready);
    life.read_exact(&mut [0])
}

/// A user-mode stack that serves the namespace.
#[derive(Debug)]
struct Stack {
    id: Pid,
    process: OwnedFd,
    tool: Tool,
    server: Ipv4Addr,
    /// What it complains about.
    complaints: PipeReader,
    /// slirp4netns ends when this is closed.
    _life: PipeWriter,
}

impl Stack {
    /// Waits until the builder or the stack ends; the holder dies with this process.
    fn attend(&mut self, control: &UnixStream) {
        let mut complains = true;
        loop {
            // The builder never says anything: only the end of the conversation wakes us.
            let mut fds = vec![
                PollFd::new(control.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.process.as_fd(), PollFlags::POLLIN),
            ];
            if complains {
                fds.push(PollFd::new(self.complaints.as_fd(), PollFlags::POLLIN));
            }
            match nix::poll::poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => (),
                Err(_) => return,
            }
            let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
            if ready(&fds[0]) || ready(&fds[1]) {
                return;
            }
            if fds.get(2).is_some_and(ready) {
                // Nobody reads it, but the pipe must not fill.
                complains = matches!(self.complaints.read(&mut [0; 4096]), Ok(1..));
            }
        }
    }

    /// The last line of what it complained about, after its end.
    fn last_complaint(&mut self) -> String {
        let mut bytes = vec![0; 4096];
        let mut fds = [PollFd::new(self.complaints.as_fd(), PollFlags::POLLIN)];
        // Something that it left behind may hold the pipe open.
        let length = match nix::poll::poll(&mut fds, PollTimeout::ZERO) {
            Ok(1..) => self.complaints.read(&mut bytes).unwrap_or(0),
            _ => 0,
        };
        let text = String::from_utf8_lossy(&bytes[..length]);
        let line = text.lines().rfind(|line| !line.trim().is_empty());
        line.map(|line| format!(": {}", line.trim()))
            .unwrap_or_default()
    }

    fn end(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.process, Signal::KILL);
        while let Err(rustix::io::Errno::INTR) =
            rustix::process::waitpid(Some(self.id), WaitOptions::empty())
        {}
    }
}

/// Tries the tools. slirp4netns comes first: it is up in a fraction of pasta's time, and its
/// addresses are the same on every machine. It knows IPv4 only.
fn bring_up(holder: &Holder) -> Result<Stack, String> {
    let mut tools = [Tool::Slirp, Tool::Pasta];
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    if !has_default_route(&routes) {
        tools.reverse();
    }
    let mut reasons = Vec::new();
    for tool in tools {
        match tool.start(holder) {
            Ok(stack) => return Ok(stack),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join(", "))
}

#[derive(Clone, Copy, Debug)]
enum Tool {
    Slirp,
    Pasta,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Slirp => "slirp4netns",
            Self::Pasta => "pasta",
        }
    }

    /// Starts the tool and waits until it works; else says why it does not.
    fn start(self, holder: &Holder) -> Result<Stack, String> {
        let name = self.name();
        let failed = |error: &dyn std::fmt::Display| format!("{name} cannot be started: {error}");
        let (life, life_writer) = std::io::pipe().map_err(|error| failed(&error))?;
        let (complaints, complaints_writer) = std::io::pipe().map_err(|error| failed(&error))?;
        let (mut command, server) = match self {
            Self::Slirp => (slirp(holder, &life), SLIRP_SERVER),
            Self::Pasta => (pasta(holder), PASTA_SERVER),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(complaints_writer);
        let id = match fork().map_err(|error| failed(&error))? {
            Fork::Child => become_tool(&mut command),
            Fork::Parent(id) => id,
        };
        drop((life, command));
        let process =
            rustix::process::pidfd_open(id, PidfdFlags::empty()).map_err(|errno| failed(&errno))?;
        let mut stack = Stack {
            id,
            process,
            tool: self,
            server,
            complaints,
            _life: life_writer,
        };
        match wait_for_route(&stack, holder.process) {
            Wait::Up => Ok(stack),
            Wait::TooLong => {
                stack.end();
                Err(format!("{name} took too long"))
            }
            Wait::Ended(NOT_FOUND) => Err(format!("{name} is not installed")),
            Wait::Ended(_) => Err(format!("{name} failed{}", stack.last_complaint())),
        }
    }
}

/// Becomes the tool, which dies with the helper; never returns.
fn become_tool(command: &mut Command) -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let error = command.exec();
    exit_now(match error.kind() {
        std::io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_STARTED,
    })
}

/// No ports in either direction, and no way to the host's loopback by the gateway's address.
///
/// The namespace is named by an inherited descriptor: pasta lets go of its privileges before it
/// opens the path, and would not be allowed to look into /proc of the helper.
fn pasta(holder: &Holder) -> Command {
    let mut command = Command::new("pasta");
    command
        .args(["--foreground", "--quiet", "--config-net", "--no-map-gw"])
        .args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"])
        .args(["--dns-forward", &PASTA_SERVER.to_string()]);
    if !rootfs::in_user_namespace() {
        // It would become nobody, who may not enter the namespace.
        command.args(["--runas", "0:0"]);
    }
    let _ = sys::process::keep_across_exec(&holder.namespace);
    let path = format!("/proc/self/fd/{}", holder.namespace.as_raw_fd());
    command.args(["--netns", &path]);
    command
}

/// No way to the host's loopback; a root directory, capabilities and system calls of its own, for
/// it parses what the commands send.
fn slirp(holder: &Holder, life: &PipeReader) -> Command {
    let mut command = Command::new("slirp4netns");
    let _ = sys::process::keep_across_exec(life);
    command
        .args(["--configure", "--mtu=65520", "--disable-host-loopback"])
        .args(["--enable-sandbox", "--enable-seccomp"])
        .arg(format!("--exit-fd={}", life.as_raw_fd()))
        .arg("--netns-type=path")
        .arg(format!("/proc/{}/ns/net", holder.process.as_raw_pid()))
        .arg("tap0");
    command
}

/// How waiting for a link ended.
enum Wait {
    Up,
    TooLong,
    /// The tool exited with this code, or by a signal.
    Ended(i32),
}

/// Waits until the namespace has a default route.
fn wait_for_route(stack: &Stack, holder: Pid) -> Wait {
    let routes = format!("/proc/{}/net/route", holder.as_raw_pid());
    let watch = Stopwatch::start();
    while watch.elapsed() < START_MAX {
        if has_default_route(&std::fs::read_to_string(&routes).unwrap_or_default()) {
            return Wait::Up;
        }
        match rustix::process::waitpid(Some(stack.id), WaitOptions::NOHANG) {
            Ok(None) | Err(rustix::io::Errno::INTR) => (),
            Ok(Some((_, status))) => return Wait::Ended(status.exit_status().unwrap_or(-1)),
            Err(_) => return Wait::Ended(-1),
        }
        std::thread::sleep(LOOK);
    }
    Wait::TooLong
}

/// Tells whether /proc/net/route has a route to everywhere that is up.
fn has_default_route(routes: &str) -> bool {
    routes.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!(fields.as_slice(), [_, "00000000", _, "0003", ..])
    })
}

fn explain(error: &SandboxError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_recognised() {
        let header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n";
        assert!(!has_default_route(header));
        assert!(!has_default_route(&format!(
            "{header}tap0\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n"
        )));
        assert!(has_default_route(&format!(
            "{header}tap0\t00000000\t0202000A\t0003\t0\t0\t0\t00000000\t0\n"
        )));
    }
}
