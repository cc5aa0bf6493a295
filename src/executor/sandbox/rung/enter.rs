//! Entering a rung: the whole builder starts again inside of a user namespace.
//!
//! ```text
//! builder (user) ──exec──▶ helper: unshare(user, mount) ─ready─▶
//!     newuidmap, newgidmap ─────────── go ──────────────▶ becomes root of the namespace, then
//!     waits, forwards signals                             executes the builder with its arguments
//! ```

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, Signal as NixSignal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Gid, Uid, User};
use rustix::process::{PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

use super::super::error::{Errno, SandboxError};
use super::super::message;
use super::super::spec::Rung;
use super::own_ids;
use super::subid::{self, Range, SubidError};
use crate::failure::{Explain, Kind};
use crate::sys;

/// The environment variable that tells a builder on which rung it was started.
pub const MARKER: &str = "BUILDER_ISOLATION_RUNG";

/// The first argument of the helper; then a descriptor, then the program and its arguments.
pub(in super::super) const ENTER: &str = "__builder-sandbox-enter";

/// Why a rung cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum RungError {
    /// The user has no usable ranges.
    #[error("subordinate ids cannot be used")]
    Subid(#[from] SubidError),
    /// newuidmap or newgidmap is missing.
    #[error("`{program}` cannot be started")]
    MapperMissing {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// newuidmap or newgidmap refused.
    #[error("`{program}` failed: {message}")]
    Mapper {
        /// Which.
        program: String,
        /// What it said.
        message: String,
    },
    /// Root has too few ids of its own to hand on.
    #[error("root has too few ids here: {count}, 65536 are needed")]
    TooFewIds {
        /// How many, from 0 on.
        count: u32,
    },
    /// A map could not be written.
    #[error("failed to write `{}`", .path.display())]
    WriteMap {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The helper failed, in most cases because the user namespace was refused.
    #[error("failed to make a user namespace")]
    Namespace(#[source] SandboxError),
    /// The builder could not be started or watched.
    #[error("failed to start the builder again")]
    Start(#[source] std::io::Error),
}

impl Explain for RungError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        super::remedy::for_error(self)
    }
}

/// The rung that the value of [`MARKER`] names.
pub fn current(marker: &str) -> Option<Rung> {
    match marker {
        "user-range" => Some(Rung::UserRange),
        "user-single" => Some(Rung::UserSingle),
        _ => None,
    }
}

/// What to execute inside of a rung.
#[derive(Clone, Debug)]
pub struct Again {
    /// A program whose `main` begins with [`super::super::run_if_child`]; makes the namespace.
    pub helper: PathBuf,
    /// The program to execute inside of it.
    pub program: PathBuf,
    /// Its arguments, its own name first.
    pub args: Vec<OsString>,
}

impl Again {
    /// The running program, again with `args` (its own name first).
    pub fn this(args: Vec<OsString>) -> Self {
        let this = PathBuf::from("/proc/self/exe");
        Self {
            helper: this.clone(),
            program: this,
            args,
        }
    }
}

/// Executes `again` on `rung`, in a process that is root of its own user namespace and has
/// [`MARKER`] in its environment. Gives its exit code (128 + n after signal n); `None` for rungs
/// that need no namespace: then nothing happened.
///
/// Call it from the main thread, before others exist. While it waits, SIGTERM, SIGHUP, SIGINT and
/// SIGQUIT sent to this process are passed on; those that the terminal sends reach both anyway.
pub fn enter(rung: Rung, again: &Again) -> Result<Option<u8>, RungError> {
    if !matches!(rung, Rung::UserRange | Rung::UserSingle) {
        return Ok(None);
    }
    let signals = block_signals().map_err(RungError::Start)?;
    let mut child = start(rung, again, Stdio::inherit())?;
    let status = wait_forwarding(&mut child, &signals).map_err(RungError::Start)?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(Some(
        code.and_then(|code| u8::try_from(code).ok())
            .unwrap_or(u8::MAX),
    ))
}

/// What the helper says.
#[derive(Debug, Serialize, Deserialize)]
enum Word {
    /// The namespace is there and waits for its maps.
    Ready,
    /// It is not.
    Failed(SandboxError),
    /// The maps are written.
    Go,
}

/// Starts the helper and takes it through to the execution of the program.
pub(super) fn start(rung: Rung, again: &Again, stdout: Stdio) -> Result<Child, RungError> {
    let plan = Plan::new(rung)?;
    let (ours, theirs) = UnixStream::pair().map_err(RungError::Start)?;
    sys::process::keep_across_exec(&theirs).map_err(RungError::Start)?;
    let marker = match rung {
        Rung::UserSingle => "user-single",
        _ => "user-range",
    };
    let mut child = Command::new(&again.helper)
        .arg(ENTER)
        .arg(theirs.as_raw_fd().to_string())
        .arg(&again.program)
        .args(&again.args)
        .env(MARKER, marker)
        .stdout(stdout)
        .spawn()
        .map_err(RungError::Start)?;
    drop(theirs);
    match introduce(&plan, &child, &ours) {
        Ok(()) => Ok(child),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn introduce(plan: &Plan, child: &Child, control: &UnixStream) -> Result<(), RungError> {
    match message::receive(control).map_err(RungError::Namespace)? {
        Some(Word::Ready) => (),
        Some(Word::Failed(error)) => return Err(RungError::Namespace(error)),
        Some(Word::Go) | None => {
            return Err(RungError::Namespace(SandboxError::Died {
                status: "before it was ready".to_owned(),
            }));
        }
    }
    plan.write(child.id())?;
    message::send(control, &Word::Go).map_err(RungError::Namespace)?;
    match message::receive(control).map_err(RungError::Namespace)? {
        Some(Word::Failed(error)) => Err(RungError::Namespace(error)),
        // Closed by the execution of the builder.
        _ => Ok(()),
    }
}

/// Which ids the namespace gets.
#[derive(Debug)]
enum Plan {
    Ranges {
        users: Vec<Range>,
        groups: Vec<Range>,
    },
    /// Root's: all that there are, as they are.
    Own {
        users: String,
        groups: String,
    },
    Single,
}

impl Plan {
    fn new(rung: Rung) -> Result<Self, RungError> {
        if rung == Rung::UserSingle {
            return Ok(Self::Single);
        }
        let uid = rustix::process::getuid().as_raw();
        if uid == 0 {
            return Self::own();
        }
        let name = User::from_uid(Uid::from_raw(uid))
            .ok()
            .flatten()
            .map(|user| user.name);
        let ranges = |path: &str| {
            let path = PathBuf::from(path);
            match std::fs::read_to_string(&path) {
                Ok(text) => subid::ranges(path, &text, name.as_deref(), uid),
                Err(_) => Err(SubidError::Unreadable { path }),
            }
        };
        Ok(Self::Ranges {
            users: ranges("/etc/subuid")?,
            groups: ranges("/etc/subgid")?,
        })
    }

    /// What root hands on.
    fn own() -> Result<Self, RungError> {
        let own = |path: &str| {
            let text = std::fs::read_to_string(path).map_err(RungError::Start)?;
            own_ids::identity(&text).map_err(|count| RungError::TooFewIds { count })
        };
        Ok(Self::Own {
            users: own("/proc/self/uid_map")?,
            groups: own("/proc/self/gid_map")?,
        })
    }

    fn write(&self, process: u32) -> Result<(), RungError> {
        let (uid, gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        match self {
            Self::Ranges { users, groups } => {
                map_with("newuidmap", process, &subid::map_arguments(uid, users))?;
                map_with("newgidmap", process, &subid::map_arguments(gid, groups))
            }
            Self::Own { users, groups } => {
                write_map(process, "uid_map", users)?;
                write_map(process, "gid_map", groups)
            }
            Self::Single => {
                write_map(process, "setgroups", "deny")?;
                write_map(process, "uid_map", &format!("0 {uid} 1\n"))?;
                write_map(process, "gid_map", &format!("0 {gid} 1\n"))
            }
        }
    }
}

/// Writes a file of a process of ours; a map must come in one piece.
fn write_map(process: u32, name: &str, text: &str) -> Result<(), RungError> {
    let path = PathBuf::from(format!("/proc/{process}/{name}"));
    std::fs::write(&path, text).map_err(|source| RungError::WriteMap {
        path: PathBuf::from(format!("/proc/PID/{name}")),
        source,
    })
}

fn map_with(program: &str, process: u32, arguments: &[String]) -> Result<(), RungError> {
    let output = Command::new(program)
        .arg(process.to_string())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| RungError::MapperMissing {
            program: program.to_owned(),
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(RungError::Mapper {
        program: program.to_owned(),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// The helper's whole life; on success it ends as another program.
pub(in super::super) fn enter_main() -> ExitCode {
    // Whoever waits for this process reads these signals from a descriptor, and a blocked signal stays
    // so through fork and execution: here, and in the builder inside, they must arrive.
    if watched_signals().thread_unblock().is_err() {
        return ExitCode::FAILURE;
    }
    let mut arguments = std::env::args_os().skip(2);
    let number = arguments
        .next()
        .and_then(|text| text.to_str()?.parse().ok());
    let Some(Ok(control)) = number.map(sys::process::adopt) else {
        return ExitCode::FAILURE;
    };
    let control = UnixStream::from(control);
    let Some(program) = arguments.next() else {
        return ExitCode::FAILURE;
    };
    let argv: Vec<OsString> = arguments.collect();
    if let Err(error) = become_builder(&control, &program, &argv) {
        let _ = message::send(&control, &Word::Failed(error));
    }
    ExitCode::FAILURE
}

fn become_builder(
    control: &UnixStream,
    program: &OsStr,
    argv: &[OsString],
) -> Result<(), SandboxError> {
    let guard = |errno: rustix::io::Errno| SandboxError::Guard {
        source: errno.into(),
    };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(guard)?;
    nix::sched::unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(|errno| {
        SandboxError::Unshare {
            source: errno.into(),
        }
    })?;
    message::send(control, &Word::Ready)?;
    if !matches!(message::receive(control)?, Some(Word::Go)) {
        return Ok(()); // the builder gave up, and knows why
    }
    let become_root = || -> Result<(), nix::errno::Errno> {
        let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
        nix::unistd::setresgid(gid, gid, gid)?;
        nix::unistd::setresuid(uid, uid, uid)?;
        // Groups of the host's user have no business inside; with a single id the kernel refuses.
        match nix::unistd::setgroups(&[]) {
            Ok(()) | Err(nix::errno::Errno::EPERM) => Ok(()),
            Err(error) => Err(error),
        }
    };
    become_root().map_err(|errno| SandboxError::BecomeUser {
        uid: 0,
        gid: 0,
        source: errno.into(),
    })?;
    // The change of user took the first one back.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(guard)?;
    let strings: Result<Vec<CString>, _> = std::iter::once(program)
        .chain(argv.iter().map(OsString::as_os_str))
        .map(|argument| CString::new(argument.as_bytes()))
        .collect();
    let strings = strings.map_err(|_| SandboxError::Nul {
        what: "an argument".to_owned(),
    })?;
    let Err(errno) = nix::unistd::execv(&strings[0], &strings[1..]);
    Err(SandboxError::Exec {
        path: program.to_string_lossy().into_owned(),
        source: Errno::from(errno),
    })
}

/// The signals that are passed on.
fn watched_signals() -> SigSet {
    let signals = [
        NixSignal::SIGINT,
        NixSignal::SIGTERM,
        NixSignal::SIGHUP,
        NixSignal::SIGQUIT,
    ];
    signals.into_iter().collect()
}

fn block_signals() -> std::io::Result<SignalFd> {
    let set = watched_signals();
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?)
}

fn wait_forwarding(
    child: &mut Child,
    signals: &SignalFd,
) -> std::io::Result<std::process::ExitStatus> {
    use std::os::fd::AsFd as _;
    let process = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
        .ok_or_else(|| std::io::Error::from_raw_os_error(libc::ESRCH))?;
    let pidfd = rustix::process::pidfd_open(process, PidfdFlags::empty())?;
    loop {
        let mut fds = [
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match nix::poll::poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => (),
            Err(errno) => return Err(errno.into()),
        }
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        if ready(&fds[0]) {
            return child.wait();
        }
        if ready(&fds[1])
            && let Some(info) = signals.read_signal()?
            // The terminal's go to the whole group; only those sent to this process are passed on.
            && info.ssi_code != libc::SI_KERNEL
            && let Some(signal) = i32::try_from(info.ssi_signo)
                .ok()
                .and_then(Signal::from_named_raw)
        {
            let _ = rustix::process::pidfd_send_signal(&pidfd, signal);
        }
    }
}
