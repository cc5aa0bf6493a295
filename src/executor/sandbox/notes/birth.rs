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

use super::place::split;
use super::{Notes, descriptor, low, owner};
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::{Birth, Way};
use crate::sys::limit::real_time_limit;
use crate::sys::supervise::{Answer, Call};

/// Links at the end of a path that are followed to what is not there.
const LINKS_MAX: usize = 40;

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
    /// Lets a call make something, and puts down whose that will be. Whatever goes wrong here goes wrong
    /// in the call itself, with the right error.
    pub(super) fn expect(&self, call: &Call, birth: Birth) -> Answer {
        if !self.people.makes_as_root(call.thread) {
            let expected = self.expected(call, birth);
            self.births.lock().extend(expected.ok().flatten());
        }
        Answer::Continue
    }

    /// What a call is about to make; `None` if it is there already.
    fn expected(&self, call: &Call, birth: Birth) -> Result<Option<Expected>, Errno> {
        let Some(follow) = follows(call, birth.way) else {
            return Ok(None);
        };
        let base = birth.directory.map(|position| call.args[position]);
        let base = base.map_or(libc::AT_FDCWD, descriptor);
        let mut path = memory::path(call, call.args[birth.path])?;
        for _ in 0..LINKS_MAX {
            let (parent, name) = split(&path)?;
            let directory = self.processes.place(call, base, parent, true)?.open()?;
            let name = CString::new(name).map_err(|_| Errno::INVAL)?;
            match rustix::fs::readlinkat(&directory, &name, Vec::new()) {
                Err(Errno::NOENT) => {
                    let maker = self.people.of(call.thread).maker();
                    return Ok(Some(Expected {
                        thread: call.thread,
                        owner: (maker.0, group_in(&directory)?.unwrap_or(maker.1)),
                        directory,
                        name,
                        is_link: birth.way == Way::Link,
                    }));
                }
                Ok(target) if follow => path = behind(parent, target.as_bytes()),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Whether a call that may make something follows a link at the end of its path; `None` if it makes
/// nothing.
fn follows(call: &Call, way: Way) -> Option<bool> {
    let flags = match way {
        Way::Open(position) => low(call.args[position]),
        Way::OpenHow(position) => {
            // The lower half of 64 bits, which comes first on the processors that this runs on.
            *memory::words(call, call.args[position], 2).ok()?.first()?
        }
        Way::Create => return Some(true),
        Way::Node(_) | Way::New | Way::Link => return Some(false),
    };
    let flags = OFlags::from_bits_retain(flags);
    flags
        .contains(OFlags::CREATE)
        .then(|| !flags.intersects(OFlags::EXCL | OFlags::NOFOLLOW))
}

/// The group that a directory gives to what is made in it; `None` if it leaves that to the maker.
fn group_in(directory: &OwnedFd) -> Result<Option<u32>, Errno> {
    let state = rustix::fs::fstat(directory)?;
    let hands_on = Mode::from_raw_mode(state.st_mode).contains(Mode::SGID);
    Ok(hands_on.then(|| owner::noted(directory).map_or(0, |(_, group)| group)))
}

/// The path of a link's target, as the link's own was written.
fn behind(parent: &[u8], target: &[u8]) -> Vec<u8> {
    if target.starts_with(b"/") {
        target.to_vec()
    } else {
        [parent, b"/", target].concat()
    }
}
