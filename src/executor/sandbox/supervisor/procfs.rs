//! The /proc of a command that has none mounted: which paths the supervisor serves, and what an
//! ordinary directory has in its place.
//!
//! The directory holds empty files of the most usual names, so that they exist and can be listed;
//! opening one is a call that the supervisor answers with the kernel's own file.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Files of a process that it may read.
const OF_PROCESS: [&str; 34] = [
    "auxv",
    "cgroup",
    "cmdline",
    "comm",
    "coredump_filter",
    "environ",
    "gid_map",
    "io",
    "limits",
    "loginuid",
    "maps",
    "mountinfo",
    "mounts",
    "mountstats",
    "numa_maps",
    "oom_adj",
    "oom_score",
    "oom_score_adj",
    "pagemap",
    "personality",
    "projid_map",
    "sched",
    "schedstat",
    "sessionid",
    "setgroups",
    "smaps",
    "smaps_rollup",
    "stat",
    "statm",
    "status",
    "syscall",
    "timerslack_ns",
    "uid_map",
    "wchan",
];

/// Those of them that it may write, about itself.
const WRITABLE: [&str; 5] = [
    "comm",
    "coredump_filter",
    "oom_adj",
    "oom_score_adj",
    "timerslack_ns",
];

/// Files of the machine, to read; what containers hide is not among them.
const OF_MACHINE: [&str; 26] = [
    "buddyinfo",
    "cgroups",
    "cmdline",
    "cpuinfo",
    "crypto",
    "devices",
    "diskstats",
    "execdomains",
    "fb",
    "filesystems",
    "iomem",
    "ioports",
    "loadavg",
    "locks",
    "meminfo",
    "misc",
    "modules",
    "pagetypeinfo",
    "partitions",
    "softirqs",
    "stat",
    "swaps",
    "uptime",
    "version",
    "vmstat",
    "zoneinfo",
];

/// Whose directory a path is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// `self`: the caller.
    Caller,
    /// A number.
    Process(u32),
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// `/proc` itself.
    Top,
    /// `/proc/self`, `/proc/thread-self`: links to the caller's directories.
    Caller {
        /// Whether it is the thread's.
        thread: bool,
    },
    /// A file of a process; the path below its directory.
    File {
        /// Whose.
        who: Who,
        /// Below its directory.
        path: String,
        /// Whether it may be written.
        writable: bool,
    },
    /// A link to what a process uses: `exe`, `fd/3`.
    Link {
        /// Whose.
        who: Who,
        /// Below its directory.
        path: String,
    },
    /// The directory of a process's descriptors.
    Descriptors(Who),
    /// The directory of a process, by its number.
    Process(u32),
    /// A file of the machine, below /proc.
    Machine(String),
}

/// Finds out what a path names that the supervisor has to do with: paths written as they usually
/// are. Others go to the ordinary directory.
pub(super) fn wanted(path: &[u8]) -> Option<Wanted> {
    let path = std::str::from_utf8(path).ok()?.strip_prefix('/')?;
    let names: Vec<&str> = path
        .split('/')
        .filter(|name| !matches!(*name, "" | "."))
        .collect();
    let link = |path: &str| {
        Some(Wanted::Link {
            who: Who::Caller,
            path: path.to_owned(),
        })
    };
    match names.as_slice() {
        ["dev", "stdin"] => link("fd/0"),
        ["dev", "stdout"] => link("fd/1"),
        ["dev", "stderr"] => link("fd/2"),
        ["dev", "fd"] => Some(Wanted::Descriptors(Who::Caller)),
        ["dev", "fd", number] => is_number(number).then(|| link(&format!("fd/{number}")))?,
        ["proc"] => Some(Wanted::Top),
        ["proc", "self"] => Some(Wanted::Caller { thread: false }),
        ["proc", "thread-self"] => Some(Wanted::Caller { thread: true }),
        ["proc", "self" | "thread-self", rest @ ..] => of_process(Who::Caller, rest),
        ["proc", "mounts"] => of_process(Who::Caller, &["mounts"]),
        ["proc", "net", rest @ ..] => of_process(Who::Caller, &[&["net"], rest].concat()),
        ["proc", "sys", rest @ ..] if !rest.is_empty() && !rest.contains(&"..") => {
            Some(Wanted::Machine(format!("sys/{}", rest.join("/"))))
        }
        ["proc", name] if OF_MACHINE.contains(name) => Some(Wanted::Machine((*name).to_owned())),
        ["proc", number] if is_number(number) => Some(Wanted::Process(number.parse().ok()?)),
        ["proc", number, rest @ ..] if is_number(number) => {
            of_process(Who::Process(number.parse().ok()?), rest)
        }
        _ => None,
    }
}

fn of_process(who: Who, names: &[&str]) -> Option<Wanted> {
    let file = |path: String, writable| {
        Some(Wanted::File {
            who,
            path,
            writable,
        })
    };
    match names {
        ["fd"] => Some(Wanted::Descriptors(who)),
        ["fd", number] if is_number(number) => Some(Wanted::Link {
            who,
            path: format!("fd/{number}"),
        }),
        ["exe" | "cwd" | "root"] => Some(Wanted::Link {
            who,
            path: names[0].to_owned(),
        }),
        ["fdinfo", number] if is_number(number) => file(format!("fdinfo/{number}"), false),
        ["net", name] if *name != ".." => file(format!("net/{name}"), false),
        ["task", number, rest @ ..] if is_number(number) => {
            of_process(Who::Process(number.parse().ok()?), rest)
        }
        [name] if OF_PROCESS.contains(name) => {
            let writable = WRITABLE.contains(name) && who == Who::Caller;
            file((*name).to_owned(), writable)
        }
        _ => None,
    }
}

/// Whether a name is a number as the kernel writes it.
fn is_number(name: &str) -> bool {
    !name.is_empty() && name.len() <= 10 && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is there for those who look whether it is: as little as that takes, since making and
/// removing names costs more than most commands.
const NAMES_OF_MACHINE: [&str; 7] = [
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "uptime",
    "version",
];
/// The same for a process.
const NAMES_OF_PROCESS: [&str; 9] = [
    "cgroup", "cmdline", "comm", "environ", "exe", "maps", "mounts", "stat", "status",
];

/// The one empty file: all others are names of it, since inodes are what files cost.
const EMPTY: &str = "version";

/// Fills the directory that stands for /proc.
pub(in super::super) fn fill(proc: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    drop(rustix::fs::openat(proc, EMPTY, flags, Mode::from(0o444))?);
    for name in NAMES_OF_MACHINE.into_iter().filter(|name| *name != EMPTY) {
        empty_file(proc, (proc, name))?;
    }
    rustix::fs::symlinkat("self/mounts", proc, "mounts")?;
    rustix::fs::mkdirat(proc, "sys", Mode::from(0o555))?;
    fill_process(proc, "self")?;
    rustix::fs::symlinkat("self", proc, "thread-self")
}

/// Makes the directory that stands for a process.
pub(super) fn fill_process(proc: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    rustix::fs::mkdirat(proc, name, Mode::from(0o555))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let process = rustix::fs::openat(proc, name, flags, Mode::empty())?;
    for name in NAMES_OF_PROCESS {
        empty_file(proc, (process.as_fd(), name))?;
    }
    rustix::fs::mkdirat(&process, "fd", Mode::from(0o555))?;
    // The command may put a link there at any time, which would lead this process out of the root.
    let descriptors = rustix::fs::openat(&process, "fd", flags, Mode::empty())?;
    for number in ["0", "1", "2"] {
        empty_file(proc, (descriptors.as_fd(), number))?;
    }
    Ok(())
}

/// How many directories of processes may be there before those of dead ones are removed.
const PROCESSES_MAX: usize = 64;

/// Whether there are so many directories that it is time to remove some.
pub(super) fn too_many(proc: BorrowedFd<'_>) -> bool {
    crate::rooted::read_directory(proc).is_ok_and(|entries| entries.len() > PROCESSES_MAX)
}

/// Gives the directory of a process's descriptors, with these links in it and nothing else.
pub(super) fn list_descriptors(
    proc: BorrowedFd<'_>,
    process: &str,
    links: &[(CString, Vec<u8>)],
) -> Result<OwnedFd, Errno> {
    let failed = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    match fill_process(proc, process) {
        Ok(()) | Err(Errno::EXIST) => (),
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let process = rustix::fs::openat(proc, process, flags, Mode::empty())?;
    let directory = rustix::fs::openat(&process, "fd", flags, Mode::empty())?;
    for old in crate::rooted::read_directory(directory.as_fd()).map_err(failed)? {
        crate::rooted::remove_all_at(directory.as_fd(), &old.name).map_err(failed)?;
    }
    for (name, target) in links {
        rustix::fs::symlinkat(target.as_slice(), &directory, name.as_c_str())?;
    }
    // One that has not been read yet.
    rustix::fs::openat(&process, "fd", flags, Mode::empty())
}

/// Gives the empty file one more name.
fn empty_file(
    proc: BorrowedFd<'_>,
    (directory, name): (BorrowedFd<'_>, &str),
) -> Result<(), Errno> {
    rustix::fs::linkat(proc, EMPTY, directory, name, AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_proc_are_told_from_others() {
        let file = |who, path: &str, writable| Wanted::File {
            who,
            path: path.into(),
            writable,
        };
        let link = |who, path: &str| Wanted::Link {
            who,
            path: path.into(),
        };
        let me = Who::Caller;
        let table = [
            ("/proc/self/status", Some(file(me, "status", false))),
            ("//proc/./self//comm", Some(file(me, "comm", true))),
            ("/proc/12/comm", Some(file(Who::Process(12), "comm", false))),
            (
                "/proc/self/task/7/stat",
                Some(file(Who::Process(7), "stat", false)),
            ),
            ("/proc/mounts", Some(file(me, "mounts", false))),
            ("/proc/net/tcp", Some(file(me, "net/tcp", false))),
            ("/proc/self/exe", Some(link(me, "exe"))),
            ("/proc/9/fd/3", Some(link(Who::Process(9), "fd/3"))),
            ("/dev/fd/63", Some(link(me, "fd/63"))),
            ("/dev/stderr", Some(link(me, "fd/2"))),
            ("/proc/self/fd", Some(Wanted::Descriptors(me))),
            ("/proc", Some(Wanted::Top)),
            ("/proc/12/", Some(Wanted::Process(12))),
            ("/proc/self/", Some(Wanted::Caller { thread: false })),
            ("/proc/cpuinfo", Some(Wanted::Machine("cpuinfo".into()))),
            (
                "/proc/sys/kernel/pid_max",
                Some(Wanted::Machine("sys/kernel/pid_max".into())),
            ),
            ("/proc/sys/../1/environ", None),
            ("/proc/1/root/etc/shadow", None),
            ("/proc/self/root/etc", None),
            ("/proc/self/fd/3/x", None),
            ("/proc/self/mem", None),
            ("/proc/kcore", None),
            ("/proc/net/../x", None),
            ("/process", None),
            ("/dev/null", None),
            ("proc/self", None),
        ];
        for (path, expected) in table {
            assert_eq!(wanted(path.as_bytes()), expected, "{path}");
        }
    }
}
