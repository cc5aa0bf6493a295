//! A network of the build's own: one namespace for all its steps, linked to the outside by a
//! user-mode stack (`slirp4netns` or `pasta`), so that steps reach mirrors but neither the host's
//! loopback nor its abstract sockets.
//!
//! ```text
//! builder ──exec──▶ helper ──fork──▶ holder: makes the namespace, holds it open
//!                     ╰────exec──▶ slirp4netns or pasta, in the host's namespace
//! ```
//!
//! The helper ends both when the builder hangs up or dies. It cannot hold the namespace itself:
//! in a user namespace there is no way back to the host's.

mod helper;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::message;

pub(super) use helper::network_main;

/// The first argument of the helper.
pub(super) const NETWORK: &str = "__builder-sandbox-network";

/// What every user-mode stack gets its packets from.
pub(super) const DEVICE: &str = "/dev/net/tun";

/// The link of a build: started when somebody says that it will be needed, waited for by the first
/// that needs it.
#[derive(Debug, Default)]
pub(super) struct Network(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Starting(Helper),
    Up(Arc<Link>),
    /// Tried, and why not, in one line.
    Down(String),
}

impl Network {
    /// Starts the link unless that was done; returns at once.
    pub(super) fn begin(&self, executable: &Path) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Idle) {
            *state = State::start(executable);
        }
    }

    /// The link when it is up; else one line for the user. One that ended is started again.
    pub(super) fn link(&self, executable: &Path) -> Result<Arc<Link>, String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = match std::mem::take(&mut *state) {
            State::Idle => State::start(executable),
            State::Up(link) if !link.is_up() => State::start(executable),
            other => other,
        };
        let link = match begun {
            State::Starting(helper) => helper.wait().map(Arc::new),
            State::Up(link) => Ok(link),
            State::Down(why) => Err(why),
            State::Idle => Err("it was not started".to_owned()),
        };
        *state = match &link {
            Ok(link) => State::Up(Arc::clone(link)),
            Err(why) => State::Down(why.clone()),
        };
        link
    }

    /// Gives a link up that turned out to have ended; the next one who asks gets another.
    pub(super) fn give_up(&self, ended: &Arc<Link>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*state, State::Up(link) if Arc::ptr_eq(link, ended)) {
            *state = State::Idle;
        }
    }
}

impl State {
    fn start(executable: &Path) -> Self {
        // Both tools need it; where it is missing or forbidden, nothing has to be started.
        if let Err(error) = std::fs::File::options().read(true).write(true).open(DEVICE) {
            return Self::Down(format!("`{DEVICE}` cannot be opened: {error}"));
        }
        match Helper::start(executable) {
            Ok(helper) => Self::Starting(helper),
            Err(error) => Self::Down(error.to_string()),
        }
    }
}

/// A helper at work; it ends when dropped.
#[derive(Debug)]
struct Helper {
    /// Taken when dropped.
    process: Option<Child>,
    /// Kept open: the helper ends when it is closed.
    control: Option<UnixStream>,
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
        /// What links it.
        tool: String,
    },
    /// It is not, in one line.
    Down(String),
}

impl Helper {
    fn start(executable: &Path) -> std::io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        let process = Command::new(executable)
            .arg(NETWORK)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            process: Some(process),
            control: Some(control),
        })
    }

    fn wait(self) -> Result<Link, String> {
        let ended = || "its helper ended".to_owned();
        let control = self.control.as_ref().ok_or_else(ended)?;
        match message::receive(control) {
            Ok(Some(Word::Up {
                holder,
                server,
                tool,
            })) => Ok(Link {
                helper: Mutex::new(self),
                holder,
                server,
                tool,
            }),
            Ok(Some(Word::Down(why))) => Err(why),
            Ok(None) => Err(ended()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.control.take());
        if let Some(mut process) = self.process.take() {
            // The build does not wait for the end of its link, but nobody else would reap it.
            std::thread::spawn(move || drop(process.wait()));
        }
    }
}

/// A link that is up; ends when dropped.
#[derive(Debug)]
pub(super) struct Link {
    helper: Mutex<Helper>,
    /// The process that holds the namespace.
    holder: i32,
    server: IpAddr,
    tool: String,
}

impl Link {
    /// The namespace, to be joined.
    pub(super) fn namespace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder))
    }

    /// The name server that reaches the host's.
    pub(super) fn server(&self) -> IpAddr {
        self.server
    }

    /// What links it.
    pub(super) fn tool(&self) -> &str {
        &self.tool
    }

    /// Whether it still works; the helper ends with the tool.
    fn is_up(&self) -> bool {
        let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
        let process = helper.process.as_mut();
        process.is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }
}
