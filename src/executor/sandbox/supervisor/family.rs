//! The processes of a command that has no namespace of them: those that stem from its supervisor.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::asker::Rights;
use super::procfs::Who;
use crate::executor::sandbox::seccomp::ProcessArgument;
use crate::sys::supervise::{Call, low};

/// Generations between a process and the command: more than any process tree has.
const ANCESTORS_MAX: usize = 4096;

/// The process that a thread is of.
pub(super) fn thread_group(thread: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok()
}

/// The parent of a process (proc_pid_stat(5): the second field after the name, which may hold
/// anything, parentheses too).
fn parent(process: u32) -> Option<u32> {
    let text = std::fs::read(format!("/proc/{process}/stat")).ok()?;
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Whether a process stems from this one.
pub(super) fn is_ours(process: u32) -> bool {
    let this = std::process::id();
    let mut at = process;
    for _ in 0..ANCESTORS_MAX {
        match parent(at) {
            Some(parent) if parent == this => return true,
            Some(parent) if parent > 1 => at = parent,
            _ => return false,
        }
    }
    false
}

/// Whether a caller may do something to the process that it names: only to those of the command. The
/// arguments are numbers, which nobody changes after they were looked at.
pub(super) fn may_reach(call: &Call, target: ProcessArgument) -> Result<(), Errno> {
    let number = match target {
        // The kernel takes it from the lower half.
        ProcessArgument::Number(argument) => low(call.args[argument]).cast_signed(),
        ProcessArgument::Descriptor => {
            let path = format!("/proc/{}/fdinfo/{}", call.thread, low(call.args[0]));
            let text = std::fs::read_to_string(path).map_err(|_| Errno::PERM)?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
            line.and_then(|line| line.trim().parse().ok())
                .ok_or(Errno::BADF)?
        }
    };
    // A group has the number of the process that made it. -1 is everybody.
    match number.unsigned_abs() {
        1 => Err(Errno::PERM),
        process if is_ours(process) => Ok(()),
        process if parent(process).is_none() => Err(Errno::SRCH),
        _ => Err(Errno::PERM),
    }
}

/// All processes that stem from this one. Orphans among them are its children: it is their reaper.
pub(in super::super) fn descendants() -> Vec<u32> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(proc) = rustix::fs::openat(CWD, "/proc", flags, Mode::empty()) else {
        return Vec::new();
    };
    processes(proc.as_fd())
        .into_iter()
        .filter(|process| is_ours(*process))
        .collect()
}

fn processes(proc: BorrowedFd<'_>) -> Vec<u32> {
    let entries = crate::rooted::read_directory(proc).unwrap_or_default();
    let number = |name: &std::ffi::CStr| name.to_str().ok()?.parse().ok();
    entries
        .iter()
        .filter_map(|entry| number(&entry.name))
        .collect()
}

/// The directory of a process of the command.
pub(super) fn directory_of(call: &Call, who: Who) -> Option<String> {
    match who {
        Who::Caller => Some(format!("/proc/{}", call.thread)),
        Who::Process(process) if is_ours(process) => Some(format!("/proc/{process}")),
        Who::Process(_) => None,
    }
}

/// The same, if the caller may look into that process.
pub(super) fn reachable(call: &Call, who: Who, rights: &Rights) -> Result<String, Errno> {
    let directory = directory_of(call, who).ok_or(Errno::NOENT)?;
    match who {
        Who::Process(process) if thread_group(call.thread) != thread_group(process) => {
            let is_reached = rights.reach(&Rights::of(process)?);
            is_reached.then_some(directory).ok_or(Errno::ACCESS)
        }
        Who::Caller | Who::Process(_) => Ok(directory),
    }
}
