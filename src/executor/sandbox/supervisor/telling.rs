//! Answers of the supervisor of a chroot that are about what paths of /proc lead to, other than opening it.

use std::os::fd::AsFd as _;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::asker::{Asker, Rights};
use super::attributing::Attribute;
use super::family::{directory_of, is_ours};
use super::linking::Place;
use super::looking::Look;
use super::procfs::{self, Wanted};
use super::reopen;
use super::{GO_ON, Reply, Supervisor, is_file, open_below_proc};
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::Act;
use crate::sys::status;
use crate::sys::supervise::{self, Answer, Call};

/// To find a file without opening it.
const PLACE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Supervisor<'_> {
    /// Tells what a caller wants to know of what a path leads to.
    pub(super) fn look(&self, call: &Call, asker: Asker, path: &[u8], look: Look) -> Reply {
        let lent = self.lent.and_then(|lent| lent.find(call, asker, path));
        if let Some(device) = lent {
            let told = Rights::of(call.thread).and_then(|rights| look.tell(device, true, &rights));
            return self.reply_with(call, asker, told);
        }
        let Some(wanted) = procfs::wanted(path) else {
            return GO_ON;
        };
        let told = match wanted {
            Wanted::Link { who, path } => {
                let found = self.find_link(call, asker, (who, &path));
                found.and_then(|(found, rights)| look.tell(&found, true, &rights))
            }
            _ if matches!(look, Look::FileSystem { .. }) => {
                let proc = rustix::fs::openat(CWD, "/proc", PLACE, Mode::empty());
                proc.and_then(|proc| look.tell(&proc, false, &Rights::of(call.thread)?))
            }
            Wanted::Process(process) => return self.show_process(process),
            Wanted::Machine(path) => asker
                .as_itself(|| open_below_proc(&path, PLACE))
                .and_then(|found| look.tell(&found, false, &Rights::of(call.thread)?)),
            Wanted::File {
                who,
                path,
                writable,
            } => {
                let found = asker.as_itself(|| {
                    let directory = directory_of(call, who).ok_or(Errno::NOENT)?;
                    let path = format!("{directory}/{path}");
                    let file = rustix::fs::openat(CWD, path, PLACE, Mode::empty())?;
                    is_file(&file).map(|()| file)
                });
                found.and_then(|found| look.tell(&found, writable, &Rights::of(call.thread)?))
            }
            Wanted::Top | Wanted::Caller { .. } | Wanted::Descriptors(_) => return GO_ON,
        };
        self.reply_with(call, asker, told)
    }

    /// Answers with what was told.
    fn reply_with(
        &self,
        call: &Call,
        asker: Asker,
        told: Result<Option<(u64, Vec<u8>)>, Errno>,
    ) -> Reply {
        match told {
            Ok(Some((buffer, bytes))) => self.write(call, asker, (buffer, &bytes), 0),
            Ok(None) => Reply::Plain(Answer::Value(0)),
            Err(errno) => errno.into(),
        }
    }

    /// Lets a call see the directory of a process that is there, and of no other.
    pub(super) fn show_process(&self, process: u32) -> Reply {
        if !is_ours(process) {
            return Errno::NOENT.into();
        }
        if procfs::too_many(self.proc.as_fd()) {
            self.list_processes();
        }
        // Mostly it is there already.
        let _ = procfs::fill_process(self.proc.as_fd(), &process.to_string());
        GO_ON
    }

    /// Tells the file system of a descriptor: the directory that stands for /proc is on that of the root.
    pub(super) fn file_system(&self, call: &Call, asker: Asker, number: i32, buffer: u64) -> Reply {
        let link = format!("/proc/{}/fd/{number}", call.thread);
        let is_proc = || {
            let name = asker
                .as_itself(|| rustix::fs::readlink(link, Vec::new()))
                .ok()?;
            reopen::below(name.as_bytes(), &reopen::name_of(&self.proc).ok()?).map(drop)
        };
        if is_proc().is_none() {
            return GO_ON;
        }
        let proc = rustix::fs::openat(CWD, "/proc", PLACE, Mode::empty());
        match proc.map(status::file_system) {
            Ok(Ok(bytes)) => self.write(call, asker, (buffer, &bytes), 0),
            _ => GO_ON,
        }
    }

    /// Gives what a process has open a new name.
    pub(super) fn link(&self, call: &Call, asker: Asker, path: &[u8]) -> Reply {
        let Some(Wanted::Link { who, path }) = procfs::wanted(path) else {
            return GO_ON;
        };
        let linked = || -> Result<(), Errno> {
            let (found, rights) = self.find_link(call, asker, (who, &path))?;
            let place = asker.as_itself(|| Place::of(call))?;
            self.still_waiting(call)?;
            place.give_to(&found, &rights)
        };
        linked().map_or_else(Reply::from, |()| Reply::Plain(Answer::Value(0)))
    }

    /// Does what a call says with an attribute of what a process has open.
    pub(super) fn attribute(&self, call: &Call, asker: Asker, path: &[u8], act: Act) -> Reply {
        let Some(Wanted::Link { who, path }) = procfs::wanted(path) else {
            return GO_ON;
        };
        let applied = || -> Result<_, Errno> {
            let (found, rights) = self.find_link(call, asker, (who, &path))?;
            let attribute = asker.as_itself(|| Attribute::of(call, act))?;
            self.still_waiting(call)?;
            attribute.apply(&found, &rights)
        };
        match applied() {
            Ok((result, buffer, bytes)) => self.write(call, asker, (buffer, &bytes), result),
            Err(errno) => errno.into(),
        }
    }

    /// Writes an answer into the caller's memory.
    fn write(
        &self,
        call: &Call,
        asker: Asker,
        (buffer, bytes): (u64, &[u8]),
        result: i64,
    ) -> Reply {
        if !bytes.is_empty() {
            let written = self.still_waiting(call).and_then(|()| {
                let written = asker.as_itself(|| memory::write(call, buffer, bytes));
                written.ok_or(Errno::FAULT)
            });
            if let Err(errno) = written {
                return errno.into();
            }
        }
        Reply::Plain(Answer::Value(result))
    }

    /// Goes on only if the caller still waits: else what was read of it is not its.
    fn still_waiting(&self, call: &Call) -> Result<(), Errno> {
        if supervise::is_waiting(&self.listener, call) {
            Ok(())
        } else {
            Err(Errno::INTR)
        }
    }
}
