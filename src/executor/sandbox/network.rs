//! A network of the build's own: one namespace for all its steps, linked to the outside by a
//! user-mode stack (`pasta`, else `slirp4netns`), so that steps reach mirrors but neither the
//! host's loopback nor its abstract sockets.
//!
//! ```text
//! builder ──exec──▶ helper: makes the namespace, starts the link in the host's, waits
//!                     ╰─▶ pasta or slirp4netns
//! ```
//!
//! The helper holds the namespace open and kills the link when the builder hangs up or dies.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::error::{Errno, SandboxError};
use super::{message, outer, rootfs};
use crate::clock::Stopwatch;
use crate::sys;

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
    server: IpAddr,
}

/// What the helper says.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The link is up, with this name server.
    Up(IpAddr),
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
            server: IpAddr::V4(PASTA_SERVER),
        };
        match message::receive(&control) {
            Ok(Some(Word::Up(server))) => {
                link.control = Some(control);
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
        PathBuf::from(format!("/proc/{}/ns/net", self.helper.id()))
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
    let mut link = match bring_up() {
        Ok((link, server)) => {
            let _ = message::send(&control, &Word::Up(server));
            link
        }
        Err(why) => {
            let _ = message::send(&control, &Word::Down(why));
            return ExitCode::FAILURE;
        }
    };
    // The builder never says anything: only the end of the conversation wakes us.
    let mut ended = [PollFd::new(control.as_fd(), PollFlags::POLLIN)];
    while let Err(nix::errno::Errno::EINTR) = nix::poll::poll(&mut ended, PollTimeout::NONE) {}
    let _ = link.kill();
    let _ = link.wait();
    ExitCode::SUCCESS
}

fn bring_up() -> Result<(Child, IpAddr), String> {
    let (outside, inside) = make_namespace().map_err(|error| explain(&error))?;
    let pasta = start_pasta(&inside);
    let attempts = [
        ("pasta", PASTA_SERVER, pasta),
        ("slirp4netns", SLIRP_SERVER, start_slirp()),
    ];
    let mut reasons = Vec::new();
    for (name, server, mut command) in attempts {
        enter(&outside).map_err(|error| explain(&error))?;
        let started = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        enter(&inside).map_err(|error| explain(&error))?;
        match started {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                reasons.push(format!("{name} is not installed"));
            }
            Err(error) => reasons.push(format!("{name} cannot be started: {error}")),
            Ok(mut child) => {
                if wait_for_route(&mut child) {
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

/// Makes a network namespace with loopback up and stays in it; gives the old one and the new one.
fn make_namespace() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    let network = |source: Errno| SandboxError::Network { source };
    let current = || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, "/proc/self/ns/net", flags, Mode::empty())
            .map_err(|errno| network(errno.into()))
    };
    let outside = current()?;
    nix::sched::unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| network(errno.into()))?;
    sys::network::loopback_up().map_err(|error| network(error.into()))?;
    Ok((outside, current()?))
}

fn enter(namespace: &OwnedFd) -> Result<(), SandboxError> {
    nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| SandboxError::Network {
        source: errno.into(),
    })
}

/// No ports in either direction, and no way to the host's loopback by the gateway's address.
///
/// The namespace is named by an inherited descriptor: pasta lets go of its privileges before it
/// opens the path, and would not be allowed to look into /proc of the helper.
fn start_pasta(inside: &OwnedFd) -> Command {
    let mut command = Command::new("pasta");
    command
        .args(["--foreground", "--quiet", "--config-net", "--no-map-gw"])
        .args(["-t", "none", "-u", "none", "-T", "none", "-U", "none"])
        .args(["--dns-forward", &PASTA_SERVER.to_string()]);
    if !rootfs::in_user_namespace() {
        // It would become nobody, who may not enter the namespace.
        command.args(["--runas", "0:0"]);
    }
    let _ = sys::process::keep_across_exec(inside);
    let path = format!("/proc/self/fd/{}", inside.as_raw_fd());
    command.args(["--netns", &path]);
    command
}

fn start_slirp() -> Command {
    let mut command = Command::new("slirp4netns");
    command
        .args(["--configure", "--mtu=65520", "--disable-host-loopback"])
        .arg(std::process::id().to_string())
        .arg("tap0");
    command
}

/// Waits until the namespace has a default route; `false` if the link died or took too long.
fn wait_for_route(link: &mut Child) -> bool {
    let watch = Stopwatch::start();
    while watch.elapsed() < START_MAX {
        let routes = std::fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default();
        if has_default_route(&routes) {
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
