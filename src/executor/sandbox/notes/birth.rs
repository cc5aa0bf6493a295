//! What is made by somebody other than root gets a note of its owner.
//!
//! The call itself makes it, with all that the kernel knows about making. Before it goes on, where
//! it will be is put down; the note is written when anybody asks anything next, at the latest when the
//! command has ended. Calls by which a new file could get away from its place are asked about, too.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use super::caller::{LINKS_MAX, behind};
use super::permission::WRITE;
use super::place::split;
use super::{Notes, descriptor, low, owner};
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::{Path, Way};
use crate::sys::limit::real_time_limit;
use crate::sys::supervise::{Answer, Call};

/// Something that is about to be made.
#[derive(Debug)]
struct Expected {
    /// The thread that makes it.
    thread: u32,
    directory: OwnedFd,
    name: CString,
    /// Whose it will be.
    owner: (u32, u32),
    /// Whether it may be one more name of what somebody else made.
    is_link: bool,
}

/// What is about to be made; the same list for all clones.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Births(Arc<Mutex<Vec<Expected>>>);

impl Births {
    fn lock(&self) -> MutexGuard<'_, Vec<Expected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the owners of what is there. `thread` does something else now: what it was about to make
    /// it has made, or never will. Tells whether anything was noted.
    pub(super) fn settle(&self, thread: u32) -> bool {
        let mut any = false;
        self.lock().retain(|expected| match expected.settle() {
            Err(Errno::NOENT) => expected.thread != thread && is_alive(expected.thread),
            settled => {
                any |= settled.is_ok();
                false
            }
        });
        any
    }

    /// The same when the command has ended.
    pub(in super::super) fn settle_all(&self) {
        for expected in self.lock().drain(..) {
            let _ = expected.settle();
        }
    }
}

impl Expected {
    /// Notes the owner. ENOENT if nothing is there yet.
    fn settle(&self) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty())?;
        let is_old = self.is_link && rustix::fs::fstat(&file)?.st_nlink > 1;
        if is_old || owner::noted(&file).is_some() {
            return Ok(());
        }
        owner::write(&file, self.owner)
    }
}

fn is_alive(thread: u32) -> bool {
    let process = i32::try_from(thread).ok().and_then(Pid::from_raw);
    process.is_some_and(|process| real_time_limit(process).is_ok())
}

impl Notes {
    /// Lets a call make or change something, and puts down whose what it makes will be; EACCES if the
    /// caller may not. Whatever else goes wrong here goes wrong in the call itself, with the right error.
    pub(super) fn make(&self, call: &Call, path: Path, way: Way) -> Result<Answer, Errno> {
        if self.people.makes_as_root(call.thread) {
            return Ok(Answer::Continue);
        }
        match (Opening::of(call, way), named(call, path, way)) {
            (Some(opening), Some(name)) => self.open(call, (path, name), (way, opening)),
            _ => Ok(Answer::Continue),
        }
    }

    fn open(
        &self,
        call: &Call,
        (path, mut name): (Path, Vec<u8>),
        (way, opening): (Way, Opening),
    ) -> Result<Answer, Errno> {
        let credentials = self.people.of(call.thread);
        let who = credentials.for_files();
        for _ in 0..LINKS_MAX {
            let (directory, last) = match self.parent(call, path, &name) {
                Ok(found) => found,
                // If it went on, another thread might make the directory first, and nobody know of what
                // is then made in it (`npm install` does so).
                Err(Errno::NOENT) if opening.makes && way != Way::Link => return Err(Errno::NOENT),
                Err(_) => break,
            };
            match rustix::fs::readlinkat(&directory, &last, Vec::new()) {
                Err(Errno::NOENT) if opening.makes => {
                    if way == Way::Link {
                        self.may_link(call, path, who)?;
                    }
                    self.may_make_in(who, &directory)?;
                    let maker = credentials.maker();
                    self.births.lock().push(Expected {
                        thread: call.thread,
                        owner: (maker.0, group_in(&directory)?.unwrap_or(maker.1)),
                        directory,
                        name: last,
                        is_link: way == Way::Link,
                    });
                    break;
                }
                Ok(target) if opening.follows => name = behind(&name, target.as_bytes()),
                // It is there; if the call went on, it might not be any more, and be made anew.
                Ok(_) | Err(Errno::INVAL) if matches!(way, Way::New | Way::Node(_)) => {
                    return Err(Errno::EXIST);
                }
                // It is there, and no link.
                Err(Errno::INVAL) if opening.changes => {
                    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let file = rustix::fs::openat(directory, last, flags, Mode::empty())?;
                    self.may(who, &file, WRITE)?;
                    break;
                }
                _ => break,
            }
        }
        Ok(Answer::Continue)
    }

    /// The directory of what a caller calls by a path, and the name in it.
    pub(super) fn parent(
        &self,
        call: &Call,
        path: Path,
        name: &[u8],
    ) -> Result<(OwnedFd, CString), Errno> {
        let base = path.directory.map(|position| call.args[position]);
        let base = base.map_or(libc::AT_FDCWD, descriptor);
        let (parent, last) = split(without_slashes(name))?;
        let directory = self.processes.place(call, base, parent, true)?.open()?;
        Ok((directory, CString::new(last).map_err(|_| Errno::INVAL)?))
    }
}

/// What a call does with what its path names.
#[derive(Clone, Copy, Debug)]
struct Opening {
    /// Whether it follows a link at the end of the path.
    follows: bool,
    /// Whether it makes what is not there.
    makes: bool,
    /// Whether it changes what is there.
    changes: bool,
}

impl Opening {
    fn of(call: &Call, way: Way) -> Option<Self> {
        let (follows, makes, changes) = match way {
            Way::Open(position) => Self::of_flags(low(call.args[position])),
            Way::OpenHow(position) => {
                // The lower half of 64 bits, which comes first on the processors that this runs on.
                Self::of_flags(*memory::words(call, call.args[position], 2).ok()?.first()?)
            }
            Way::Create => (true, true, true),
            Way::Truncate => (true, false, true),
            Way::Node(_) | Way::New | Way::Link | Way::Socket => (false, true, false),
        };
        Some(Self {
            follows,
            makes,
            changes,
        })
    }

    fn of_flags(flags: u32) -> (bool, bool, bool) {
        let flags = OFlags::from_bits_retain(flags);
        let makes = flags.contains(OFlags::CREATE);
        let is_new = makes && flags.contains(OFlags::EXCL);
        let changes = flags.intersects(OFlags::RWMODE | OFlags::TRUNC);
        let follows = !is_new && !flags.contains(OFlags::NOFOLLOW);
        (follows, makes, changes)
    }
}

/// The path that a call names something by.
fn named(call: &Call, path: Path, way: Way) -> Option<Vec<u8>> {
    if way != Way::Socket {
        return memory::path(call, call.args[path.name]).ok();
    }
    // `struct sockaddr_un`: a family of 16 bits, a path with or without its end; others begin with 0.
    let length = usize::try_from(call.args[path.name + 1]).ok()?;
    let length = length.min(size_of::<libc::sockaddr_un>());
    let address = memory::read_all(call, call.args[path.name], length).ok()?;
    let family = u16::try_from(libc::AF_UNIX).ok()?.to_le_bytes();
    let path = address.strip_prefix(&family)?;
    let end = path.iter().position(|byte| *byte == 0);
    let path = path.get(..end.unwrap_or(path.len()))?;
    (!path.is_empty()).then(|| path.to_vec())
}

fn without_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/');
    end.map_or(path, |end| &path[..=end])
}

/// The group that a directory gives to what is made in it; `None` if it leaves that to the maker.
fn group_in(directory: &OwnedFd) -> Result<Option<u32>, Errno> {
    let state = rustix::fs::fstat(directory)?;
    let hands_on = Mode::from_raw_mode(state.st_mode).contains(Mode::SGID);
    Ok(hands_on.then(|| owner::noted(directory).map_or(0, |(_, group)| group)))
}
