//! Answers calls of a command that runs in a chroot: files of /proc, devices where there are none, and the
//! host's name; and gives what a call changes a file of its own, if it is one name of several.
//!
//! ```text
//! question   what a call is about            asker      whose ids and rights it has
//! procfs     the paths that are answered     family     the processes of the command
//! telling    what a path leads to            (looking, attributing, linking, changing: each kind of call)
//! reopen     what a process has open         mount_table, lent, detach (with naming)
//! ```
//!
//! What a path says is read from the caller's memory and may change the moment after. That is
//! harmless: the answer depends only on what was read, and a call that goes on by itself goes no
//! further than the chroot. Files of processes are opened with the caller's own user and group, and
//! only those of the command's processes are; what a process has open is opened again only if it lies
//! below the root. No directory of the kernel's is handed out, for `..` leads on from it.

mod asker;
mod attributing;
mod changing;
mod detach;
mod family;
mod lent;
mod linking;
mod looking;
mod mount_table;
mod naming;
mod procfs;
mod question;
mod reopen;
mod telling;

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::executor::sandbox::{host_name, memory};
use crate::sys::supervise::{self, Answer, Call};
use asker::{Asker, Rights};
pub(super) use detach::Detacher;
pub(super) use family::descendants;
use family::{directory_of, may_reach, reachable, thread_group};
pub(super) use lent::{Lent, make_stand_ins};
pub(super) use procfs::fill as fill_proc;
use procfs::{Wanted, Who};
use question::{Question, looks_elsewhere, open_flags, question};

/// The answers for one command.
#[derive(Debug)]
pub(super) struct Supervisor<'a> {
    pub(super) listener: OwnedFd,
    /// The command's root, to tell what links mean inside.
    pub(super) root: &'a OwnedFd,
    /// The directory that stands for /proc.
    pub(super) proc: OwnedFd,
    pub(super) host_name: &'a str,
    /// Files of several names, if there are any.
    pub(super) detacher: Option<Detacher<'a>>,
    /// Devices, if the root has none of its own.
    pub(super) lent: Option<&'a Lent>,
}

/// What is answered.
enum Reply {
    Plain(Answer),
    File(OwnedFd),
}

impl From<Errno> for Reply {
    fn from(errno: Errno) -> Self {
        Self::Plain(Answer::Errno(errno.raw_os_error()))
    }
}

/// The call runs as if nobody had asked.
const GO_ON: Reply = Reply::Plain(Answer::Continue);

impl Supervisor<'_> {
    /// Answers the next call. A caller that was killed meanwhile needs no answer.
    pub(super) fn serve(&self) {
        let Ok(call) = supervise::receive(&self.listener) else {
            return;
        };
        if looks_elsewhere(&call) {
            let _ = supervise::answer(&self.listener, &call, Answer::Continue);
            return;
        }
        let lent = self.lent;
        if lent.is_some_and(|lent| lent.serve(&self.listener, &call)) {
            return;
        }
        let asker = Asker::of(&call);
        let question = asker.as_itself(|| question(&call));
        if let Some(Question::Open { path, .. }) = &question
            && procfs::wanted(path) == Some(Wanted::Top)
        {
            self.list_processes();
        }
        let is_waiting = || supervise::is_waiting(&self.listener, &call);
        let reply = match question {
            Some(question) if is_waiting() => self.reply(&call, asker, &question),
            _ => GO_ON,
        };
        let reply = match reply {
            Reply::Plain(Answer::Continue) => {
                let detached = self.detach(&call, asker);
                detached.map_or_else(Reply::from, |()| GO_ON)
            }
            other => other,
        };
        let _ = match reply {
            Reply::Plain(answer) => supervise::answer(&self.listener, &call, answer),
            Reply::File(file) => {
                let flags = open_flags(&call).unwrap_or(OFlags::CLOEXEC);
                let close_on_exec = flags.contains(OFlags::CLOEXEC);
                supervise::answer_with_file(&self.listener, &call, file, close_on_exec)
            }
        };
    }

    /// Gives what a call changes a file of its own, if it is one name of several.
    fn detach(&self, call: &Call, asker: Asker) -> Result<(), Errno> {
        let Some(detacher) = &self.detacher else {
            return Ok(());
        };
        let names = asker.as_itself(|| detacher.changed_by(call, open_flags(call)));
        if names.is_empty() || !supervise::is_waiting(&self.listener, call) {
            return Ok(());
        }
        names.iter().try_for_each(|name| detacher.detach(name))
    }

    fn reply(&self, call: &Call, asker: Asker, question: &Question) -> Reply {
        match question {
            Question::HostName { buffer } => {
                let names = host_name::names(self.host_name);
                let written = asker.as_itself(|| memory::write(call, *buffer, &names));
                written.map_or(GO_ON, |()| Reply::Plain(Answer::Value(0)))
            }
            Question::Reach(target) => asker
                .as_itself(|| may_reach(call, *target))
                .map_or_else(Reply::from, |()| GO_ON),
            Question::Change { path, change } => match procfs::wanted(path) {
                Some(Wanted::Link { who, path }) => {
                    let found = self.find_link(call, asker, (who, &path));
                    let changed = found.and_then(|(found, rights)| change.make(&found, &rights));
                    changed.map_or_else(Reply::from, |()| Reply::Plain(Answer::Value(0)))
                }
                _ => GO_ON,
            },
            Question::Look { path, look } => self.look(call, asker, path, *look),
            Question::FileSystem { number, buffer } => {
                self.file_system(call, asker, *number, *buffer)
            }
            Question::Link { path } => self.link(call, asker, path),
            Question::Attribute { path, act } => self.attribute(call, asker, path, *act),
            Question::Open { path, flags } => match procfs::wanted(path) {
                Some(wanted) => self.open(call, asker, &wanted, *flags),
                None => GO_ON,
            },
            Question::ReadLink { path, buffer, size } => {
                // What is below /dev are ordinary links to what is below /proc.
                let Some(wanted) = procfs::wanted(path).filter(|_| !path.starts_with(b"/dev/std"))
                else {
                    return GO_ON;
                };
                let answer = || -> Option<Reply> {
                    let target = self.read_link(call, &wanted)?;
                    let length = target
                        .len()
                        .min(usize::try_from(*size).unwrap_or(usize::MAX));
                    let value = i64::try_from(length).unwrap_or(0);
                    Some(match memory::write(call, *buffer, &target[..length]) {
                        Some(()) => Reply::Plain(Answer::Value(value)),
                        None => Errno::FAULT.into(),
                    })
                };
                asker.as_itself(answer).unwrap_or(GO_ON)
            }
        }
    }

    fn open(&self, call: &Call, asker: Asker, wanted: &Wanted, flags: OFlags) -> Reply {
        if flags.contains(OFlags::PATH) {
            return GO_ON;
        }
        let is_read = (flags & OFlags::RWMODE) == OFlags::RDONLY;
        let opened = match wanted {
            Wanted::File {
                writable: false, ..
            }
            | Wanted::Machine(_)
                if !is_read =>
            {
                Err(Errno::ACCESS)
            }
            Wanted::Machine(path) => asker.as_itself(|| open_machine(path)),
            Wanted::File { who, path, .. } => asker.as_itself(|| {
                let directory = directory_of(call, *who).ok_or(Errno::NOENT)?;
                if let Some(form) = mount_table::Form::of(path) {
                    return mount_table::open(self.root, form);
                }
                open_plain(&format!("{directory}/{path}"), flags)
            }),
            // It is a link.
            Wanted::Link { .. } if flags.contains(OFlags::NOFOLLOW) => Err(Errno::LOOP),
            Wanted::Link { who, path } => self.open_link(call, asker, (*who, path), flags),
            Wanted::Descriptors(who) if is_read => self.open_descriptors(call, asker, *who),
            Wanted::Process(process) => return self.show_process(*process),
            Wanted::Top | Wanted::Caller { .. } | Wanted::Descriptors(_) => return GO_ON,
        };
        reply(opened)
    }

    /// Opens what a process has open, again, as far as the caller might.
    fn open_link(
        &self,
        call: &Call,
        asker: Asker,
        (who, path): (Who, &str),
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        let (found, rights) = self.find_link(call, asker, (who, path))?;
        reopen::open(&found, flags, &rights)
    }

    /// What a process has open, and what the caller may do with it.
    fn find_link(
        &self,
        call: &Call,
        asker: Asker,
        (who, path): (Who, &str),
    ) -> Result<(OwnedFd, Rights), Errno> {
        let rights = Rights::of(call.thread)?;
        let found = asker.as_itself(|| {
            let directory = reachable(call, who, &rights)?;
            reopen::find(self.root, &format!("{directory}/{path}"))
        })?;
        Ok((found, rights))
    }

    /// Opens a directory below the root that lists the descriptors of a process, as links. The kernel's
    /// own would be a way out: its parents are those of the machine's /proc.
    fn open_descriptors(&self, call: &Call, asker: Asker, who: Who) -> Result<OwnedFd, Errno> {
        let rights = Rights::of(call.thread)?;
        let process = match who {
            Who::Caller => thread_group(call.thread).ok_or(Errno::NOENT)?,
            Who::Process(process) => process,
        };
        let listed = asker.as_itself(|| {
            let directory = format!("{}/fd", reachable(call, who, &rights)?);
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let open = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
            let entries = crate::rooted::read_directory(open.as_fd())
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            let links = entries.into_iter().filter_map(|entry| {
                let target = rustix::fs::readlinkat(&open, &entry.name, Vec::new()).ok()?;
                Some((entry.name, self.inside(target.into_bytes())?))
            });
            Ok::<Vec<_>, Errno>(links.collect())
        })?;
        if procfs::too_many(self.proc.as_fd()) {
            self.list_processes();
        }
        procfs::list_descriptors(self.proc.as_fd(), &process.to_string(), &listed)
    }

    /// What the name of something is for who has the command's root.
    fn inside(&self, name: Vec<u8>) -> Option<Vec<u8>> {
        let root = reopen::name_of(self.root).ok()?;
        Some(match reopen::below(&name, &root) {
            Some([]) => b"/".to_vec(),
            Some(inside) => inside.to_vec(),
            None => name,
        })
    }

    /// What a link of /proc says inside of the root.
    fn read_link(&self, call: &Call, wanted: &Wanted) -> Option<Vec<u8>> {
        match wanted {
            Wanted::Caller { thread } => {
                let process = thread_group(call.thread)?;
                Some(if *thread {
                    format!("{process}/task/{}", call.thread).into_bytes()
                } else {
                    process.to_string().into_bytes()
                })
            }
            Wanted::Link { who, path } => {
                let link = format!("{}/{path}", directory_of(call, *who)?);
                let target = rustix::fs::readlink(link, Vec::new()).ok()?;
                self.inside(target.into_bytes())
            }
            _ => None,
        }
    }

    /// Brings the directories that stand for processes up to date.
    fn list_processes(&self) {
        let Ok(old) = crate::rooted::read_directory(self.proc.as_fd()) else {
            return;
        };
        let now = descendants();
        for entry in old {
            let number = entry.name.to_str().ok().and_then(|name| name.parse().ok());
            if number.is_some_and(|number: u32| !now.contains(&number)) {
                let _ = crate::rooted::remove_all_at(self.proc.as_fd(), &entry.name);
            }
        }
        for process in now {
            // Most are there already.
            let _ = procfs::fill_process(self.proc.as_fd(), &process.to_string());
        }
    }
}

fn reply(opened: Result<OwnedFd, Errno>) -> Reply {
    opened.map_or_else(Reply::from, Reply::File)
}

/// Opens a file of the machine: one that everybody may read, and no link to anywhere.
fn open_machine(path: &str) -> Result<OwnedFd, Errno> {
    open_below_proc(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC)
}

/// The same with these flags.
fn open_below_proc(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let proc = rustix::fs::openat(CWD, "/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = rustix::fs::openat2(proc, path, flags, Mode::empty(), resolve)?;
    is_file(&file)?;
    Ok(file)
}

/// A directory of the kernel's must not get into a command that could walk on from it.
fn is_file(file: &OwnedFd) -> Result<(), Errno> {
    let status = rustix::fs::fstat(file)?;
    match rustix::fs::FileType::from_raw_mode(status.st_mode) {
        rustix::fs::FileType::RegularFile => Ok(()),
        _ => Err(Errno::NOENT),
    }
}

/// Opens a file of a process, following no link.
fn open_plain(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let kept = OFlags::RWMODE | OFlags::DIRECTORY | OFlags::APPEND;
    let flags = (flags & kept) | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
    is_file(&file)?;
    Ok(file)
}
