//! A network of the build's own: one namespace for all its steps, linked to the outside by a
//! user-mode stack (`pasta`, else `slirp4netns`), so that steps reach mirrors but neither the
//! host's loopback nor its abstract sockets.
//!
//! ```text
//! builder ──exec──▶ helper ──fork──▶ holder: makes the namespace, holds it open
//!                     ╰────exec──▶ pasta or slirp4netns, in the host's namespace
//! ```
//!
//! The helper ends both when the builder hangs up or dies. It cannot hold the namespace itself:
//! in a user namespace there is no way back to the host's.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use super::error::{Errno, SandboxError};
use super::{message, outer, rootfs};
use crate::clock::Stopwatch;
use crate::sys;
use crate::sys::process::{Fork, exit_now, fork};

/// The first argument of the helper.
pub(super) const NETWORK: &str = "__builder-sandbox-network";

/// How long a link may take until it has a route.
const START_MAX: Duration = Duration::from_secs(5);

/// How long to wait between two looks at the routes.
const LOOK: Duration = Duration::from_millis(2);

/// The name server that pasta is told to forward; link-local, so nobody else's.
const PASTA_SERVER: Ipv4Addr = Ipv4Addr::new(169, 254, 53, 53);

/// The name server of slirp4netns.
const SLIRP_SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);

/// A link that is up; ends when dropped.
#[derive(Debug)]
pub(super) struct Link {
    helper: Child,
    /// Kept open: the helper ends when it is closed.
    control: Option<UnixStream>,
    /// The process that holds the namespace.
    holder: i32,
    server: IpAddr,
}

/// What the helper says.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The link is up.
    Up {
        /// The process in the namespace.
        holder: i32,
        /// The name server.
        server: IpAddr,
    },
    /// It is not, in one line.
    Down(String),
}

impl Link {
    /// Starts a link; takes some 100 ms. The error is one line for the user.
    pub(super) fn start(executable: &Path) -> Result<Self, String> {
        let say = |error: &dyn std::fmt::Display| format!("no private network: {error}");
        let (control, theirs) = UnixStream::pair().map_err(|error| say(&error))?;
        let helper = Command::new(executable)
            .arg(NETWORK)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| say(&error))?;
        let mut link = Self {
            helper,
            control: None,
            holder: 0,
            server: IpAddr::V4(PASTA_SERVER),
        };
        match message::receive(&control) {
            Ok(Some(Word::Up { holder, server })) => {
                link.control = Some(control);
                link.holder = holder;
                link.server = server;
                Ok(link)
            }
            Ok(Some(Word::Down(why))) => Err(say(&why)),
            Ok(None) => Err(say(&"the helper ended")),
            Err(error) => Err(say(&error)),
        }
    }

    /// The namespace, to be joined.
    pub(super) fn namespace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder))
    }

    /// The name server that reaches the host's.
    pub(super) fn server(&self) -> IpAddr {
        self.server
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.control.take());
        let _ = self.helper.wait();
    }
}

/// The helper's whole life.
pub(super) fn network_main() -> ExitCode {
    let Ok(control) = outer::take_control() else {
        return ExitCode::FAILURE;
    };
    let holder = match start_holder() {
        Ok(holder) => holder,
        Err(error) => {
            let _ = message::send(&control, &Word::Down(explain(&error)));
            return ExitCode::FAILURE;
        }
    };
    let mut link = match bring_up(&holder) {
        Ok((link, server)) => {
            let holder = holder.process.as_raw_pid();
            let _ = message::send(&control, &Word::Up { holder, server });
            link
        }
        Err(why) => {
            let _ = message::send(&control, &Word::Down(why));
            return ExitCode::FAILURE;
        }
    };
    // The builder never says anything: only the end of the conversation wakes us. The holder dies
    // with this process.
    let mut ended = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
    while let Err(nix::errno::Errno::EINTR) = nix::poll::poll(&mut ended, PollTimeout::NONE) {}
    let _ = link.kill();
    let _ = link.wait();
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
    ready.write_all(&[1])?;
    drop(ready);
    life.read_exact(&mut [0])
}

fn bring_up(holder: &Holder) -> Result<(Child, IpAddr), String> {
    let attempts = [
        ("pasta", PASTA_SERVER, pasta(holder)),
        ("slirp4netns", SLIRP_SERVER, slirp(holder)),
    ];
    let mut reasons = Vec::new();
    for (name, server, mut command) in attempts {
        let started = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                reasons.push(format!("{name} is not installed"));
            }
            Err(error) => reasons.push(format!("{name} cannot be started: {error}")),
            Ok(mut child) => {
                if wait_for_route(&mut child, holder.process) {
                    return Ok((child, IpAddr::V4(server)));
                }
                let _ = child.kill();
                let _ = child.wait();
                reasons.push(format!("{name} failed"));
            }
        }
    }
    Err(reasons.join(", "))
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

fn slirp(holder: &Holder) -> Command {
    let mut command = Command::new("slirp4netns");
    command
        .args(["--configure", "--mtu=65520", "--disable-host-loopback"])
        .arg("--netns-type=path")
        .arg(format!("/proc/{}/ns/net", holder.process.as_raw_pid()))
        .arg("tap0");
    command
}

/// Waits until the namespace has a default route; `false` if the link died or took too long.
fn wait_for_route(link: &mut Child, holder: Pid) -> bool {
    let routes = format!("/proc/{}/net/route", holder.as_raw_pid());
    let watch = Stopwatch::start();
    while watch.elapsed() < START_MAX {
        if has_default_route(&std::fs::read_to_string(&routes).unwrap_or_default()) {
            return true;
        }
        if !matches!(link.try_wait(), Ok(None)) {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    false
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
