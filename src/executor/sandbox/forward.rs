//! A socket inside whose connections are passed on to one outside, where the one outside cannot be
//! mounted.

use std::ffi::OsStr;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode};

/// A socket that listens, and the one that connections to it go to.
#[derive(Debug)]
pub(super) struct Forward {
    listener: UnixListener,
    to: PathBuf,
}

impl Forward {
    /// Makes a socket that every user of a command may connect to: nobody else finds it.
    pub(super) fn new(directory: BorrowedFd<'_>, name: &OsStr, to: PathBuf) -> io::Result<Self> {
        // An address has 108 bytes; a path in the store may be longer.
        let directory_path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let listener = UnixListener::bind(Path::new(&directory_path).join(name))?;
        let everybody = Mode::from_raw_mode(0o666);
        rustix::fs::chmodat(directory, name, everybody, AtFlags::empty())?;
        Ok(Self { listener, to })
    }

    /// Passes connections on, in threads that end with this process.
    pub(super) fn start(self) {
        std::thread::spawn(move || {
            for inside in self.listener.incoming().flatten() {
                // Without the one outside, the connection ends.
                if let Ok(outside) = UnixStream::connect(&self.to) {
                    let _ = join(&inside, &outside);
                }
            }
        });
    }
}

/// Copies both ways between two connections.
fn join(one: &UnixStream, other: &UnixStream) -> io::Result<()> {
    copy(one.try_clone()?, other.try_clone()?);
    copy(other.try_clone()?, one.try_clone()?);
    Ok(())
}

fn copy(mut from: UnixStream, mut to: UnixStream) {
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn what_is_said_inside_is_heard_outside_and_answered() {
        let directory = tempfile::tempdir().unwrap();
        let agent = UnixListener::bind(directory.path().join("agent")).unwrap();
        let open = std::fs::File::open(directory.path()).unwrap();
        let to = directory.path().join("agent");
        let forward = Forward::new(open.as_fd(), OsStr::new("inside"), to).unwrap();
        forward.start();
        for number in 0..3 {
            let mut inside = UnixStream::connect(directory.path().join("inside")).unwrap();
            inside
                .write_all(format!("question {number}").as_bytes())
                .unwrap();
            inside.shutdown(Shutdown::Write).unwrap();
            let (mut outside, _) = agent.accept().unwrap();
            let mut heard = String::new();
            outside.read_to_string(&mut heard).unwrap();
            outside
                .write_all(heard.replace("question", "answer").as_bytes())
                .unwrap();
            drop(outside);
            let mut answer = String::new();
            inside.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, format!("answer {number}"));
        }
    }
}
