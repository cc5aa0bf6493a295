//! The socket of one mount: who connects is answered until the command has ended.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Agent;
use super::wire::{FAILURE, REQUEST_IDENTITIES, SIGN_REQUEST, read_message, write_message};

/// Connections that one mount serves at a time.
const CONNECTIONS_MAX: usize = 64;

/// An agent that listens. Dropping it ends its connections and its threads.
#[derive(Debug)]
pub struct Service {
    socket: PathBuf,
    /// Closing it wakes the listener, which then ends.
    wake: Option<UnixStream>,
    listener: Option<JoinHandle<()>>,
}

/// Streams to shut down at the end, by connection.
#[derive(Debug, Default)]
struct Connections(Mutex<(bool, BTreeMap<u64, Vec<UnixStream>>)>);

impl Service {
    /// Listens in a directory of the caller's, below which nobody else of this machine looks.
    pub fn start(agent: &Agent, directory: &Path) -> io::Result<Self> {
        let directory = directory.join("agent");
        DirBuilder::new().mode(0o700).create(&directory)?;
        // The name of a socket is short; the path of the store may not be.
        let opened = File::open(&directory)?;
        let short = format!("/proc/self/fd/{}/socket", opened.as_raw_fd());
        let listener = UnixListener::bind(short)?;
        listener.set_nonblocking(true)?;
        let (wake, woken) = UnixStream::pair()?;
        let agent = agent.clone();
        let thread = std::thread::Builder::new().name("ssh-agent".to_owned());
        let listener = thread.spawn(move || listen(&agent, &listener, &woken))?;
        Ok(Self {
            socket: directory.join("socket"),
            wake: Some(wake),
            listener: Some(listener),
        })
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
    }
}

/// Accepts until it is woken, then ends every connection and waits for the threads.
fn listen(agent: &Agent, listener: &UnixListener, woken: &UnixStream) {
    let connections = Arc::new(Connections::default());
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for id in 0.. {
        let mut polled =
            [listener.as_fd(), woken.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut polled, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => break,
            Ok(_) if polled[1].any() == Some(true) => break,
            Ok(_) => {}
        }
        threads.retain(|thread| !thread.is_finished());
        let Ok((stream, _)) = listener.accept() else {
            // Out of descriptors, perhaps: later there may be some.
            let mut woken = [PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
            if poll(&mut woken, PollTimeout::from(100_u8)).is_ok_and(|woken| woken > 0) {
                break;
            }
            continue;
        };
        // What is too much is closed at once.
        if threads.len() >= CONNECTIONS_MAX || stream.set_nonblocking(false).is_err() {
            continue;
        }
        let (agent, connections) = (agent.clone(), Arc::clone(&connections));
        let thread = std::thread::Builder::new().name("ssh-agent-client".to_owned());
        let served = thread.spawn(move || {
            // A connection that breaks concerns the command alone.
            drop(serve(&agent, stream, (id, &connections)));
            connections.forget(id);
        });
        threads.extend(served);
    }
    connections.end();
    for thread in threads {
        drop(thread.join());
    }
}

/// Answers one connection until it ends.
fn serve(
    agent: &Agent,
    mut stream: UnixStream,
    (id, connections): (u64, &Connections),
) -> io::Result<()> {
    connections.note(id, &stream)?;
    let mut upstream = match agent {
        Agent::Keys(_) => None,
        Agent::Socket(path) => {
            let upstream = UnixStream::connect(path)?;
            connections.note(id, &upstream)?;
            Some(upstream)
        }
    };
    while let Some(message) = read_message(&mut stream)? {
        let answer = match (agent, &mut upstream) {
            (Agent::Keys(keyring), _) => keyring.answer(&message),
            // Commands neither add nor remove keys, nor lock the user's agent.
            (Agent::Socket(_), Some(upstream))
                if matches!(message[0], REQUEST_IDENTITIES | SIGN_REQUEST) =>
            {
                write_message(upstream, &message)?;
                read_message(upstream)?.ok_or(io::ErrorKind::UnexpectedEof)?
            }
            (Agent::Socket(_), _) => vec![FAILURE],
        };
        write_message(&mut stream, &answer)?;
    }
    Ok(())
}

impl Connections {
    fn note(&self, id: u64, stream: &UnixStream) -> io::Result<()> {
        let stream = stream.try_clone()?;
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.0 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        inner.1.entry(id).or_default().push(stream);
        Ok(())
    }

    fn forget(&self, id: u64) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.1.remove(&id);
    }

    fn end(&self) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 = true;
        for stream in std::mem::take(&mut inner.1).into_values().flatten() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}
