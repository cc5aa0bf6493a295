//! The builder's side: starts a sandbox, passes its output on, stops it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};

use super::cancel::Cancel;
use super::cgroup::Cgroup;
use super::child;
use super::error::SandboxError;
use super::files::{self, Reach};
use super::janitor::Janitor;
use super::message::{self, Job};
use super::mounting::{self, Tree};
use super::network::{Link, Network};
use super::orphans;
use super::running::{Running, Started};
use super::spec::{Exit, Notice, Outcome, RootDriver, SandboxNetwork, SandboxSpec, Stream};
use crate::sys;

/// Runs commands; one value serves a whole build, from any number of threads.
#[derive(Debug)]
pub struct Sandbox {
    executable: PathBuf,
    /// Our program on a read-only mount: what the command could reach through /proc/PID/exe is
    /// not writable, not even for root (CVE-2019-5736). `None` where mounts are refused.
    protected: OnceLock<Option<OwnedFd>>,
    /// The network of all steps that ask for a private one.
    network: Network,
    /// Removes control groups if this process is killed.
    janitor: Janitor,
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
            network: Network::default(),
            janitor: Janitor::default(),
        }
    }

    /// Says that a command with such a network will be run soon: what that needs is started beside
    /// the caller's work.
    pub fn expect(&self, network: SandboxNetwork) {
        if network == SandboxNetwork::Private {
            self.network.begin(&self.executable);
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
        let (cgroup, mut notices) = Cgroup::new(&spec.limits, &|group| {
            self.janitor.tell(&self.executable, group);
        });
        let (mut job, link) = self.prepare(spec, &mut notices);
        job.cgroups.clone_from(&cgroup.directories);
        let ran = self.run_job(&job, spec.timeout, output, cancel);
        let ran = match (ran, &link) {
            // The link ended after it was chosen: nothing has run yet, and there may be another.
            (Err(SandboxError::Network { .. }), Some(ended)) => {
                self.network.give_up(ended);
                let (mut job, _link) = self.prepare(spec, &mut notices);
                job.cgroups.clone_from(&cgroup.directories);
                self.run_job(&job, spec.timeout, output, cancel)
            }
            (ran, _) => ran,
        };
        let mut outcome = match ran {
            // In version 2 all of a group dies at once, the sandbox's own processes too.
            Err(SandboxError::Died { .. }) if cgroup.has_killed() => Outcome {
                exit: Exit::OutOfMemory,
                notices: Vec::new(),
            },
            ran => ran?,
        };
        outcome.exit = cgroup.judge(outcome.exit);
        notices.append(&mut outcome.notices);
        outcome.notices = notices;
        Ok(outcome)
    }

    /// Does everything that [`Self::run`] does except starting the command.
    pub(super) fn try_out(&self, spec: &SandboxSpec) -> Result<Outcome, SandboxError> {
        let (mut job, _link) = self.prepare(spec, &mut Vec::new());
        job.trial = true;
        let cancel = Cancel::new().map_err(talk)?;
        self.run_job(&job, spec.timeout, &mut |_, _| (), &cancel)
    }

    /// Brings the network up that a step has by default: the tool that links it, or why it cannot
    /// be had.
    pub(super) fn try_network(&self) -> Result<String, String> {
        let link = self.network.link(&self.executable)?;
        Ok(link.tool().to_owned())
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
        let exit = running.finish()?;
        Ok(Outcome { exit, notices })
    }

    /// Decides all that the spec leaves open. The link lives as long as the job uses it.
    fn prepare(&self, spec: &SandboxSpec, notices: &mut Vec<Notice>) -> (Job, Option<Arc<Link>>) {
        let mut spec = spec.clone();
        if spec.driver == RootDriver::Directory && spec.network == SandboxNetwork::Private {
            // No namespaces on that rung; its line says so.
            spec.network = SandboxNetwork::Host;
        }
        let mut link = None;
        if spec.network == SandboxNetwork::Private {
            match self.network.link(&self.executable) {
                Ok(up) => link = Some(up),
                Err(why) => {
                    spec.network = SandboxNetwork::Host;
                    notices.push(Notice::HostNetwork { why });
                }
            }
        }
        let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let reach = match (&link, spec.network) {
            (Some(link), _) => Reach::Link(link.server()),
            (None, SandboxNetwork::None) => Reach::Nothing,
            (None, SandboxNetwork::Host | SandboxNetwork::Private) => Reach::Host,
        };
        let job = Job {
            cgroups: Vec::new(),
            network: link.as_ref().map(|link| link.namespace()),
            trial: false,
            resolv_conf: files::resolv_conf(&host, reach),
            spec,
        };
        (job, link)
    }

    fn start(&self, job: &Job) -> Result<Started, SandboxError> {
        let is_loose = job.spec.driver == RootDriver::Directory;
        if is_loose {
            orphans::adopt();
        }
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
            is_loose,
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

fn talk(error: std::io::Error) -> SandboxError {
    SandboxError::Control {
        source: error.into(),
    }
}
