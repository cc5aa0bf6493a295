//! The builder's side: starts a sandbox, passes its output on, stops it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};

use super::cancel::Cancel;
use super::cgroup::Cgroup;
use super::error::SandboxError;
use super::message::{self, Job};
use super::mounting::{self, Tree};
use super::network::Link;
use super::running::{Running, Started};
use super::spec::{Notice, Outcome, SandboxNetwork, SandboxSpec, Stream};
use super::{child, files};
use crate::sys;

/// Runs commands; one value serves a whole build, from any number of threads.
#[derive(Debug)]
pub struct Sandbox {
    executable: PathBuf,
    /// Our program on a read-only mount: what the command could reach through /proc/PID/exe is
    /// not writable, not even for root (CVE-2019-5736). `None` where mounts are refused.
    protected: OnceLock<Option<OwnedFd>>,
    /// The network of all steps that ask for a private one, or why there is none.
    link: OnceLock<Result<Link, String>>,
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new(PathBuf::from("/proc/self/exe"))
    }
}

impl Sandbox {
    /// Makes a runner that starts `executable`, a program whose `main` begins with
    /// [`super::run_if_child`]; by default the running one.
    pub fn new(executable: PathBuf) -> Self {
        Self {
            executable,
            protected: OnceLock::new(),
            link: OnceLock::new(),
        }
    }

    /// Runs one command to its end, passing its output on in pieces as it comes.
    ///
    /// Blocks the calling thread, which must live that long (the kernel kills the sandbox when the
    /// thread that started it ends). When `cancel` is set, everything in the sandbox is killed
    /// within a second and [`SandboxError::Cancelled`] returned; after `spec.timeout` likewise,
    /// with [`Exit::TimedOut`].
    pub fn run(
        &self,
        spec: &SandboxSpec,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<Outcome, SandboxError> {
        let (cgroup, mut notices) = Cgroup::new(&spec.limits);
        let mut job = self.prepare(spec, &mut notices);
        job.cgroups.clone_from(&cgroup.directories);
        let mut outcome = self.run_job(&job, spec.timeout, output, cancel)?;
        outcome.exit = cgroup.judge(outcome.exit);
        notices.append(&mut outcome.notices);
        outcome.notices = notices;
        Ok(outcome)
    }

    /// Does everything that [`Self::run`] does except starting the command.
    pub(super) fn try_out(&self, spec: &SandboxSpec) -> Result<Outcome, SandboxError> {
        let mut job = self.prepare(spec, &mut Vec::new());
        job.trial = true;
        let cancel = Cancel::new().map_err(talk)?;
        self.run_job(&job, spec.timeout, &mut |_, _| (), &cancel)
    }

    fn run_job(
        &self,
        job: &Job,
        timeout: Option<Duration>,
        output: &mut dyn FnMut(Stream, &[u8]),
        cancel: &Cancel,
    ) -> Result<Outcome, SandboxError> {
        let mut running = Running::new(self.start(job)?, timeout);
        running.attend(output, cancel)?;
        let notices = std::mem::take(&mut running.notices);
        let maker = running.maker;
        let exit = running.finish()?;
        Ok(Outcome {
            exit,
            notices,
            maker,
        })
    }

    /// Decides all that the spec leaves open.
    fn prepare(&self, spec: &SandboxSpec, notices: &mut Vec<Notice>) -> Job {
        let mut own_network = spec.network != SandboxNetwork::Host;
        let (mut network, mut server) = (None, None);
        if spec.network == SandboxNetwork::Private {
            match self.link.get_or_init(|| Link::start(&self.executable)) {
                Ok(link) => {
                    network = Some(link.namespace());
                    server = Some(link.server());
                }
                Err(why) => {
                    own_network = false;
                    notices.push(Notice::HostNetwork { why: why.clone() });
                }
            }
        }
        Job {
            spec: spec.clone(),
            cgroups: Vec::new(),
            network,
            trial: false,
            resolv_conf: files::resolv_conf(&host_resolv_conf(own_network), own_network, server),
        }
    }

    fn start(&self, job: &Job) -> Result<Started, SandboxError> {
        let (control, theirs) = UnixStream::pair().map_err(talk)?;
        let (stdout, stdout_writer) = std::io::pipe().map_err(talk)?;
        let (stderr, stderr_writer) = std::io::pipe().map_err(talk)?;
        let child = Command::new(self.program())
            .arg0("builder")
            .arg(child::RUN)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::from(stdout_writer))
            .stderr(Stdio::from(stderr_writer))
            .spawn()
            .map_err(|error| SandboxError::Spawn {
                executable: self.executable.clone(),
                source: error.into(),
            })?;
        let started = Started {
            child,
            control,
            stdout,
            stderr,
        };
        // A sandbox that cannot even read its job says why, or dies; both are seen when waiting.
        match message::send(&started.control, job) {
            Ok(()) | Err(SandboxError::Control { .. }) => Ok(started),
            Err(error) => Err(error),
        }
    }

    /// The path to execute: through the read-only mount if there is one.
    fn program(&self) -> PathBuf {
        match self.protected.get_or_init(|| protect(&self.executable)) {
            Some(fd) => PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())),
            None => self.executable.clone(),
        }
    }
}

fn protect(executable: &Path) -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, executable, flags, Mode::empty()).ok()?;
    let mount = mounting::clone_mount(&file, Tree::Alone).ok()?;
    let attributes = sys::mount::READ_ONLY;
    sys::mount::set_attributes(&mount, attributes, sys::mount::Depth::One).ok()?;
    Some(mount)
}

/// The host's resolv.conf. systemd-resolved puts its own loopback address there and the real
/// servers elsewhere.
fn host_resolv_conf(own_network: bool) -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let text = read("/etc/resolv.conf");
    if own_network
        && text
            .lines()
            .any(|line| line.trim() == "nameserver 127.0.0.53")
    {
        let servers = read("/run/systemd/resolve/resolv.conf");
        if !servers.is_empty() {
            return servers;
        }
    }
    text
}

fn talk(error: std::io::Error) -> SandboxError {
    SandboxError::Control {
        source: error.into(),
    }
}
