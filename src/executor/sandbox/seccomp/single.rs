//! The calls that someone is asked about where all files and processes belong to one id.

use super::table::{ALLOWED, NONE};
use super::{ABIS, Verdict};

/// Users or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Side {
    User,
    Group,
}

/// Which ids of a process a call gives or takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Which {
    /// `setuid`; `getuid`
    One,
    /// `setreuid`; `geteuid`
    Effective,
    /// `setresuid`; `getresuid`
    All,
    /// `setfsuid`
    Files,
}

/// How a call names something: which of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Path {
    /// The descriptor of the directory that the path is relative to, if it takes one.
    pub(in super::super) directory: Option<usize>,
    /// The path.
    pub(in super::super) name: usize,
    /// Flags of the kind `AT_SYMLINK_NOFOLLOW`.
    pub(in super::super) flags: Option<usize>,
}

/// How something is made or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Way {
    /// By opening it; the flags are this argument.
    Open(usize),
    /// The same, with the flags in a structure: `openat2`.
    OpenHow(usize),
    /// The same with the flags of `creat`.
    Create,
    /// As something new; the type in a mode, in this argument, may be a device's.
    Node(usize),
    /// As something new.
    New,
    /// As a name of what may have none yet.
    Link,
    /// As a socket, by its address.
    Socket,
    /// Nothing is made: its length is changed.
    Truncate,
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Deed {
    /// It changes ids of the process.
    Become(Side, Which),
    /// It changes its other groups.
    BecomeMember,
    /// It says whether it keeps its capabilities when it becomes somebody else.
    KeepCapabilities,
    /// It asks for ids of the process.
    Ask(Side, Which),
    /// It asks for its other groups.
    AskGroups,
    /// It asks who the other end of a socket is.
    AskPeer,
    /// It asks what the process may do; which argument says what.
    AskAccess(Path, usize),
    /// It changes a mode, of an open file if there is no path.
    ChangeMode(Option<Path>),
    /// It changes times; which argument says to what.
    ChangeTimes(Path, usize),
    /// It executes a program.
    Execute(Path),
    /// It may make or change something.
    Make(Path, Way),
    /// It takes names away, or gives the first one's file the second.
    Remove(&'static [Path]),
    /// It asks for, or changes, the limit that marks who a process is: where it wants the old one.
    Limit(usize),
}

const fn path(name: usize) -> Path {
    Path {
        directory: None,
        name,
        flags: None,
    }
}

const fn path_at(directory: usize) -> Path {
    Path {
        directory: Some(directory),
        name: directory + 1,
        flags: None,
    }
}

const fn path_with(flags: usize) -> Path {
    Path {
        directory: Some(0),
        name: 1,
        flags: Some(flags),
    }
}

/// The calls by name. Those that tell and change owners are [`super::Owning`]'s.
const DEEDS: [(&str, Deed); 54] = [
    ("setuid", Deed::Become(Side::User, Which::One)),
    ("setgid", Deed::Become(Side::Group, Which::One)),
    ("setreuid", Deed::Become(Side::User, Which::Effective)),
    ("setregid", Deed::Become(Side::Group, Which::Effective)),
    ("setresuid", Deed::Become(Side::User, Which::All)),
    ("setresgid", Deed::Become(Side::Group, Which::All)),
    ("setfsuid", Deed::Become(Side::User, Which::Files)),
    ("setfsgid", Deed::Become(Side::Group, Which::Files)),
    ("setgroups", Deed::BecomeMember),
    ("prctl", Deed::KeepCapabilities),
    ("getuid", Deed::Ask(Side::User, Which::One)),
    ("getgid", Deed::Ask(Side::Group, Which::One)),
    ("geteuid", Deed::Ask(Side::User, Which::Effective)),
    ("getegid", Deed::Ask(Side::Group, Which::Effective)),
    ("getresuid", Deed::Ask(Side::User, Which::All)),
    ("getresgid", Deed::Ask(Side::Group, Which::All)),
    ("getgroups", Deed::AskGroups),
    ("getsockopt", Deed::AskPeer),
    ("access", Deed::AskAccess(path(0), 1)),
    ("faccessat", Deed::AskAccess(path_at(0), 2)),
    ("faccessat2", Deed::AskAccess(path_with(3), 2)),
    ("chmod", Deed::ChangeMode(Some(path(0)))),
    ("fchmod", Deed::ChangeMode(None)),
    ("fchmodat", Deed::ChangeMode(Some(path_at(0)))),
    ("fchmodat2", Deed::ChangeMode(Some(path_with(3)))),
    ("utime", Deed::ChangeTimes(path(0), 1)),
    ("utimes", Deed::ChangeTimes(path(0), 1)),
    ("futimesat", Deed::ChangeTimes(path_at(0), 2)),
    ("utimensat", Deed::ChangeTimes(path_with(3), 2)),
    ("execve", Deed::Execute(path(0))),
    ("execveat", Deed::Execute(path_with(4))),
    ("open", Deed::Make(path(0), Way::Open(1))),
    ("openat", Deed::Make(path_at(0), Way::Open(2))),
    ("openat2", Deed::Make(path_at(0), Way::OpenHow(2))),
    ("creat", Deed::Make(path(0), Way::Create)),
    ("truncate", Deed::Make(path(0), Way::Truncate)),
    ("mkdir", Deed::Make(path(0), Way::New)),
    ("mkdirat", Deed::Make(path_at(0), Way::New)),
    ("mknod", Deed::Make(path(0), Way::Node(1))),
    ("mknodat", Deed::Make(path_at(0), Way::Node(2))),
    ("symlink", Deed::Make(path(1), Way::New)),
    ("symlinkat", Deed::Make(path_at(1), Way::New)),
    ("link", Deed::Make(path(1), Way::Link)),
    ("linkat", Deed::Make(path_at(2), Way::Link)),
    ("bind", Deed::Make(path(1), Way::Socket)),
    ("unlink", Deed::Remove(&[path(0)])),
    ("unlinkat", Deed::Remove(&[path_at(0)])),
    ("rmdir", Deed::Remove(&[path(0)])),
    ("rename", Deed::Remove(&[path(0), path(1)])),
    ("renameat", Deed::Remove(&[path_at(0), path_at(2)])),
    ("renameat2", Deed::Remove(&[path_at(0), path_at(2)])),
    ("getrlimit", Deed::Limit(1)),
    ("setrlimit", Deed::Limit(NOWHERE)),
    ("prlimit64", Deed::Limit(3)),
];

/// An argument that no call has.
const NOWHERE: usize = 6;

/// `PR_SET_KEEPCAPS` of prctl(2).
const KEEP_CAPABILITIES: u32 = 8;

/// `RLIMIT_RTTIME` of getrlimit(2).
const MARK: u32 = 15;

/// `O_WRONLY`, `O_RDWR`, `O_CREAT` and `O_TRUNC` of open(2).
const CHANGING: u32 = 0o1103;
/// `SOL_SOCKET` and `SO_PEERCRED` of getsockopt(2).
const PEER: [u32; 2] = [1, 17];

impl Deed {
    /// The calls of the native ABI by their numbers, sorted.
    pub(in super::super) fn all() -> Vec<(u32, Self)> {
        let number = |name: &str| {
            let position = ALLOWED.binary_search_by(|(known, _)| (*known).cmp(name));
            position.map_or(NONE, |position| ALLOWED[position].1[ABIS[0].column])
        };
        let mut all: Vec<_> = DEEDS
            .iter()
            .map(|(name, deed)| (number(name), *deed))
            .filter(|(number, _)| *number != NONE)
            .collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        all
    }

    /// When a supervisor is asked.
    pub(super) fn verdict(self) -> Verdict {
        match self {
            Self::Make(_, Way::Open(flags)) => {
                Verdict::AskBits(u32::try_from(flags).unwrap_or(0), CHANGING)
            }
            Self::KeepCapabilities => Verdict::AskEqual(0, KEEP_CAPABILITIES),
            Self::AskPeer => Verdict::AskOption(PEER),
            // The one that may be about another process has it before the limit.
            Self::Limit(3) => Verdict::AskEqual(1, MARK),
            Self::Limit(_) => Verdict::AskEqual(0, MARK),
            _ => Verdict::Ask,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_calls_are_in_the_table() {
        let names: Vec<_> = ALLOWED.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted(), "a name is looked for by halves");
        for (name, _) in DEEDS {
            assert!(names.contains(&name), "{name}");
        }
        let newer = ["openat2", "mkdirat", "setresuid", "execveat", "renameat2"];
        let all = Deed::all();
        for name in newer {
            let row = ALLOWED.iter().find(|(known, _)| *known == name).unwrap().1;
            let number = row[ABIS[0].column];
            assert!(all.iter().any(|(known, _)| *known == number), "{name}");
        }
        assert!(all.is_sorted_by_key(|(number, _)| *number));
    }
}
