//! Processes that ask who they are, and become somebody else.

use std::os::fd::OwnedFd;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::credentials::{Change, Credentials};
use super::owner::path_of;
use super::permission::EXECUTE;
use super::{Notes, descriptor, low, owner};
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::{Deed, Path, Side, Way, Which};
use crate::sys::supervise::{Answer, Call};

/// The kernel's limit of supplementary groups.
const GROUPS_MAX: usize = 65536;

impl Notes {
    /// Answers a call about who a process is or what it makes.
    pub(super) fn do_deed(&self, call: &Call, deed: Deed) -> Result<Answer, Errno> {
        match deed {
            Deed::Become(side, which) => self.change_ids(call, side, which),
            Deed::BecomeMember => self.change_groups(call),
            Deed::KeepCapabilities => {
                let mut credentials = self.people.of(call.thread);
                credentials.keeps_capabilities = call.args[1] == 1;
                self.people.turn(call.thread, credentials)?;
                Ok(Answer::Continue)
            }
            Deed::Ask(side, which) => self.tell_ids(call, side, which),
            Deed::AskGroups => self.tell_groups(call),
            Deed::AskPeer => Ok(self.tell_peer(call).unwrap_or(Answer::Continue)),
            Deed::AskAccess(path, wanted) => self.answer_access(call, path, wanted),
            Deed::ChangeMode(path) => self.change_mode(call, path),
            Deed::ChangeTimes(path, times) => self.change_times(call, path, times),
            Deed::Execute(path) => {
                // Whatever goes wrong here goes wrong in the call itself, with the right error.
                let _ = self.execute(call, path);
                Ok(Answer::Continue)
            }
            Deed::Make(_, Way::Node(mode)) if is_device(call.args[mode]) => self.make_device(call),
            Deed::Make(path, way) => self.make(call, path, way),
            Deed::Remove(paths) => self.remove(call, paths),
            Deed::Limit(old) => hide_mark(call, old),
        }
    }

    fn change_ids(&self, call: &Call, side: Side, which: Which) -> Result<Answer, Errno> {
        let [first, second, third, ..] = call.args.map(low);
        let change = match which {
            Which::One => Change::One(first),
            Which::Effective => Change::Two(first, second),
            Which::All => Change::Three(first, second, third),
            Which::Files => Change::Files(first),
        };
        let mut credentials = self.people.of(call.thread);
        let before = match side {
            Side::User => credentials.change_user(change)?,
            Side::Group => credentials.change_group(change)?,
        };
        self.still_waiting(call)?;
        self.people.turn(call.thread, credentials)?;
        Ok(Answer::Value(match which {
            Which::Files => before.into(),
            _ => 0,
        }))
    }

    fn change_groups(&self, call: &Call) -> Result<Answer, Errno> {
        let [count, address, ..] = call.args;
        let mut credentials = self.people.of(call.thread);
        if !credentials.is_privileged() {
            return Err(Errno::PERM);
        }
        let count = usize::try_from(low(count)).map_err(|_| Errno::INVAL)?;
        if count > GROUPS_MAX {
            return Err(Errno::INVAL);
        }
        credentials.others = memory::words(call, address, count)?;
        // As the kernel keeps them.
        credentials.others.sort_unstable();
        self.still_waiting(call)?;
        self.people.turn(call.thread, credentials)?;
        Ok(Answer::Value(0))
    }

    fn tell_ids(&self, call: &Call, side: Side, which: Which) -> Result<Answer, Errno> {
        let credentials = self.people.of(call.thread);
        let ids = match side {
            Side::User => credentials.users,
            Side::Group => credentials.groups,
        };
        let three = [ids.real, ids.effective, ids.saved];
        match which {
            Which::One => Ok(Answer::Value(ids.real.into())),
            Which::Effective => Ok(Answer::Value(ids.effective.into())),
            Which::Files => Ok(Answer::Value(ids.files.into())),
            Which::All => {
                for (address, id) in call.args.into_iter().zip(three) {
                    memory::write_words(call, address, &[id])?;
                }
                Ok(Answer::Value(0))
            }
        }
    }

    fn tell_groups(&self, call: &Call) -> Result<Answer, Errno> {
        let [room, address, ..] = call.args;
        let groups = self.people.of(call.thread).others;
        let count = i64::try_from(groups.len()).map_err(|_| Errno::INVAL)?;
        let room = i64::from(descriptor(room));
        if room < 0 || room > 0 && room < count {
            return Err(Errno::INVAL);
        }
        if room > 0 {
            memory::write_words(call, address, &groups)?;
        }
        Ok(Answer::Value(count))
    }

    /// Tells who was at the other end of a socket when it was made: a database asks.
    fn tell_peer(&self, call: &Call) -> Option<Answer> {
        let [socket, _, _, address, length_address, _] = call.args;
        let thread = Pid::from_raw(i32::try_from(call.thread).ok()?)?;
        let of_thread = PidfdFlags::from_bits_retain(OFlags::EXCL.bits());
        let process = rustix::process::pidfd_open(thread, of_thread)
            .or_else(|_| rustix::process::pidfd_open(thread, PidfdFlags::empty()))
            .ok()?;
        let number = descriptor(socket);
        let socket =
            rustix::process::pidfd_getfd(process, number, PidfdGetfdFlags::empty()).ok()?;
        let peer = getsockopt(&socket, PeerCredentials).ok()?;
        // Who is outside of the sandbox has no number here: the kernel tells.
        let process = u32::try_from(peer.pid()).ok().filter(|pid| *pid != 0)?;
        let Credentials { users, groups, .. } = self.people.of(process);
        let length = *memory::words(call, length_address, 1).ok()?.first()?;
        let words = [process, users.effective, groups.effective];
        // `struct ucred`; who has less room gets less.
        let whole = usize::try_from(length / 4).ok()?.min(words.len());
        if length % 4 != 0 {
            return None;
        }
        memory::write_words(call, address, &words[..whole]).ok()?;
        let told = u32::try_from(whole * size_of::<u32>()).ok()?;
        memory::write_words(call, length_address, &[told]).ok()?;
        Some(Answer::Value(0))
    }

    /// Makes of a process what the program's set-id bits make of it.
    fn execute(&self, call: &Call, path: Path) -> Result<(), Errno> {
        let file = self.find(call, path)?;
        let mode = rustix::fs::fstat(&file)?.st_mode;
        let before = self.people.of(call.thread);
        if mode & libc::S_IFMT != libc::S_IFREG || mode & 0o111 == 0 {
            // The call fails, and its caller stays who it is.
            return Ok(());
        }
        self.may(before.for_files(), &file, EXECUTE)?;
        let has_bits = mode & (libc::S_ISUID | libc::S_ISGID) != 0;
        let after = if has_bits && self.heeds_bits(call, &file) {
            before.after_execution(mode, owner::noted(&file).unwrap_or((0, 0)))
        } else {
            before.after_execution(0, (0, 0))
        };
        if after == before {
            return Ok(());
        }
        self.still_waiting(call)?;
        self.people.turn(call.thread, after)
    }

    /// Whether set-id bits of a program mean anything: scripts have none, nor have processes that gave
    /// up such privileges, and what is no program cannot be executed.
    fn heeds_bits(&self, call: &Call, file: &OwnedFd) -> bool {
        let mut start = [0; 4];
        // Whoever has a lease on it is not waited for.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let read = rustix::fs::open(path_of(file), flags, Mode::empty())
            .and_then(|file| rustix::io::read(&file, &mut start[..]));
        let status = self.processes.directory(call).ok();
        let status =
            status.and_then(|process| std::fs::read_to_string(format!("{process}/status")).ok());
        let gave_up = status.is_some_and(|status| status.contains("\nNoNewPrivs:\t1"));
        read.is_ok() && start == *b"\x7fELF" && !gave_up
    }
}

/// Answers a call about the limit that is our mark: it is as it was at first, and stays so.
fn hide_mark(call: &Call, old: usize) -> Result<Answer, Errno> {
    if let Some(address) = call.args.get(old).filter(|address| **address != 0) {
        // As most machines have it: no limit, soft or hard.
        memory::write_words(call, *address, &[u32::MAX; 4])?;
    }
    Ok(Answer::Value(0))
}

/// Whether a mode is that of a device node.
fn is_device(mode: u64) -> bool {
    [libc::S_IFCHR, libc::S_IFBLK].contains(&(low(mode) & libc::S_IFMT))
}
