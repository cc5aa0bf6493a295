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

/// What a call makes: which arguments name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Birth {
    /// The descriptor of the directory that the path is relative to, if it takes one.
    pub(in super::super) directory: Option<usize>,
    /// The path.
    pub(in super::super) path: usize,
    /// How.
    pub(in super::super) way: Way,
}

/// How something is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Way {
    /// By opening it: a link at its end is followed, unless the flags, in this argument, say no.
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
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Deed {
    /// It changes ids of the process.
    Become(Side, Which),
    /// It changes its other groups.
    BecomeMember,
    /// It asks for ids of the process.
    Ask(Side, Which),
    /// It asks for its other groups.
    AskGroups,
    /// It asks who the other end of a socket is.
    AskPeer,
    /// It executes a program: the directory's argument, the path's, and that of the flags.
    Execute(Option<(usize, usize)>, usize),
    /// It may make something.
    Make(Birth),
    /// It may give something another name.
    Move,
    /// It asks for, or changes, the limit that marks who a process is: where it wants the old one.
    Limit(usize),
}

const fn make(directory: Option<usize>, path: usize, way: Way) -> Deed {
    Deed::Make(Birth {
        directory,
        path,
        way,
    })
}

/// The calls by name. Those that tell and change owners are [`super::Owning`]'s.
const DEEDS: [(&str, Deed); 37] = [
    ("setuid", Deed::Become(Side::User, Which::One)),
    ("setgid", Deed::Become(Side::Group, Which::One)),
    ("setreuid", Deed::Become(Side::User, Which::Effective)),
    ("setregid", Deed::Become(Side::Group, Which::Effective)),
    ("setresuid", Deed::Become(Side::User, Which::All)),
    ("setresgid", Deed::Become(Side::Group, Which::All)),
    ("setfsuid", Deed::Become(Side::User, Which::Files)),
    ("setfsgid", Deed::Become(Side::Group, Which::Files)),
    ("setgroups", Deed::BecomeMember),
    ("getuid", Deed::Ask(Side::User, Which::One)),
    ("getgid", Deed::Ask(Side::Group, Which::One)),
    ("geteuid", Deed::Ask(Side::User, Which::Effective)),
    ("getegid", Deed::Ask(Side::Group, Which::Effective)),
    ("getresuid", Deed::Ask(Side::User, Which::All)),
    ("getresgid", Deed::Ask(Side::Group, Which::All)),
    ("getgroups", Deed::AskGroups),
    ("getsockopt", Deed::AskPeer),
    ("execve", Deed::Execute(None, 0)),
    ("execveat", Deed::Execute(Some((0, 4)), 1)),
    ("open", make(None, 0, Way::Open(1))),
    ("openat", make(Some(0), 1, Way::Open(2))),
    ("openat2", make(Some(0), 1, Way::OpenHow(2))),
    ("creat", make(None, 0, Way::Create)),
    ("mkdir", make(None, 0, Way::New)),
    ("mkdirat", make(Some(0), 1, Way::New)),
    ("mknod", make(None, 0, Way::Node(1))),
    ("mknodat", make(Some(0), 1, Way::Node(2))),
    ("symlink", make(None, 1, Way::New)),
    ("symlinkat", make(Some(1), 2, Way::New)),
    ("link", make(None, 1, Way::Link)),
    ("linkat", make(Some(2), 3, Way::Link)),
    ("rename", Deed::Move),
    ("renameat", Deed::Move),
    ("renameat2", Deed::Move),
    ("getrlimit", Deed::Limit(1)),
    ("setrlimit", Deed::Limit(NOWHERE)),
    ("prlimit64", Deed::Limit(3)),
];

/// An argument that no call has.
const NOWHERE: usize = 6;

/// `RLIMIT_RTTIME` of getrlimit(2).
const MARK: u32 = 15;

/// `O_CREAT` of open(2).
const CREATE: u32 = 0o100;
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
            Self::Make(Birth {
                way: Way::Open(flags),
                ..
            }) => Verdict::AskBits(u32::try_from(flags).unwrap_or(0), CREATE),
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
