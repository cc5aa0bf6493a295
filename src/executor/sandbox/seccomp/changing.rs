//! The calls that change what a path names.

use super::NONE;

/// How a call names something: which of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::executor::sandbox) struct Named {
    /// The descriptor of the directory that the path is relative to, if it takes one.
    pub(in crate::executor::sandbox) directory: Option<usize>,
    /// The path.
    pub(in crate::executor::sandbox) path: usize,
    /// Whether a link at its end is followed.
    pub(in crate::executor::sandbox) follow: bool,
    /// Whether it gets one more name.
    pub(in crate::executor::sandbox) gets_name: bool,
}

/// Whether a call follows links.
#[derive(Clone, Copy, Debug)]
enum Follow {
    Always,
    Never,
    /// Unless this argument has `AT_SYMLINK_NOFOLLOW`.
    Unless(usize),
    /// If this argument has `AT_SYMLINK_FOLLOW`.
    If(usize),
}

const AT_SYMLINK_NOFOLLOW: u64 = 0x100;
const AT_SYMLINK_FOLLOW: u64 = 0x400;
const RENAME_EXCHANGE: u64 = 2;
const RENAMEAT2: [u32; 2] = [316, 276];

/// A call: its name, its number on x86-64 and on Arm, and what it names.
type Change = (&'static str, [u32; 2], Option<usize>, usize, Follow);

/// The calls that change an inode by a path, or give it another name. Those that take descriptors
/// are not here: a file that is open for writing was opened by a path.
const CHANGES: [Change; 23] = [
    ("creat", [85, NONE], None, 0, Follow::Always),
    ("truncate", [76, 45], None, 0, Follow::Always),
    ("chmod", [90, NONE], None, 0, Follow::Always),
    ("fchmodat", [268, 53], Some(0), 1, Follow::Always),
    ("fchmodat2", [452, 452], Some(0), 1, Follow::Unless(3)),
    ("chown", [92, NONE], None, 0, Follow::Always),
    ("lchown", [94, NONE], None, 0, Follow::Never),
    ("fchownat", [260, 54], Some(0), 1, Follow::Unless(4)),
    ("utime", [132, NONE], None, 0, Follow::Always),
    ("utimes", [235, NONE], None, 0, Follow::Always),
    ("futimesat", [261, NONE], Some(0), 1, Follow::Always),
    ("utimensat", [280, 88], Some(0), 1, Follow::Unless(3)),
    ("setxattr", [188, 5], None, 0, Follow::Always),
    ("lsetxattr", [189, 6], None, 0, Follow::Never),
    ("setxattrat", [463, 463], Some(0), 1, Follow::Unless(2)),
    ("removexattr", [197, 14], None, 0, Follow::Always),
    ("lremovexattr", [198, 15], None, 0, Follow::Never),
    ("removexattrat", [466, 466], Some(0), 1, Follow::Unless(2)),
    ("rename", [82, NONE], None, 0, Follow::Never),
    ("renameat", [264, 38], Some(0), 1, Follow::Never),
    ("renameat2", [316, 276], Some(0), 1, Follow::Never),
    ("link", [86, NONE], None, 0, Follow::Never),
    ("linkat", [265, 37], Some(0), 1, Follow::If(4)),
];

/// Which of the two numbers is this processor's.
const HERE: usize = if cfg!(target_arch = "x86_64") { 0 } else { 1 };

/// Calls that change what a path names, by their numbers in the native ABI.
#[derive(Clone, Copy, Debug)]
pub(in crate::executor::sandbox) struct Changing;

impl Changing {
    /// The numbers of all of them but those that open.
    pub(in crate::executor::sandbox) fn numbers() -> Vec<u32> {
        let numbers = CHANGES.iter().map(|(_, numbers, ..)| numbers[HERE]);
        numbers.filter(|number| *number != NONE).collect()
    }

    /// What a call of theirs names that it changes.
    pub(in crate::executor::sandbox) fn names_of(
        number: u32,
        args: [u64; 6],
    ) -> impl Iterator<Item = Named> {
        let changes = CHANGES.iter();
        let changes = changes.filter(move |(_, numbers, ..)| numbers[HERE] == number);
        let first = changes.map(move |(call, _, directory, path, follow)| Named {
            gets_name: matches!(*call, "link" | "linkat"),
            directory: *directory,
            path: *path,
            follow: match *follow {
                Follow::Always => true,
                Follow::Never => false,
                Follow::Unless(flags) => args[flags] & AT_SYMLINK_NOFOLLOW == 0,
                Follow::If(flags) => args[flags] & AT_SYMLINK_FOLLOW != 0,
            },
        });
        let exchanged = Named {
            directory: Some(2),
            path: 3,
            follow: false,
            gets_name: false,
        };
        let is_exchange = number == RENAMEAT2[HERE] && args[4] & RENAME_EXCHANGE != 0;
        first.chain(is_exchange.then_some(exchanged))
    }

    /// What a call names that opens; `None` if it is another one.
    pub(in crate::executor::sandbox) fn opened_by(number: u32) -> Option<Named> {
        let asked = super::Asked::HERE;
        let (directory, path) = if number == asked.open {
            (None, 0)
        } else if number == asked.openat || number == asked.openat2 {
            (Some(0), 1)
        } else {
            return None;
        };
        Some(Named {
            directory,
            path,
            follow: true,
            gets_name: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::sandbox::seccomp::table::ALLOWED;

    #[test]
    fn the_numbers_are_those_of_the_table() {
        for (name, numbers, ..) in CHANGES {
            let row = ALLOWED.iter().find(|(other, _)| *other == name).unwrap().1;
            assert_eq!(numbers, [row[0], row[2]], "{name}");
        }
    }

    #[test]
    fn a_call_says_what_it_changes() {
        let number = |name: &str| CHANGES.iter().find(|row| row.0 == name).unwrap().1[HERE];
        let names = |name: &str, args| Changing::names_of(number(name), args).collect::<Vec<_>>();
        let at = |directory, path, follow| Named {
            directory: Some(directory),
            path,
            follow,
            gets_name: false,
        };
        let owned = |flags| names("fchownat", [0, 0, 0, 0, flags, 0]);
        assert_eq!(owned(0), [at(0, 1, true)]);
        assert_eq!(owned(AT_SYMLINK_NOFOLLOW), [at(0, 1, false)]);
        let renamed = |flags| names("renameat2", [0, 0, 0, 0, flags, 0]);
        assert_eq!(renamed(1), [at(0, 1, false)]);
        assert_eq!(renamed(2), [at(0, 1, false), at(2, 3, false)]);
        assert_eq!(Changing::names_of(NONE - 1, [0; 6]).count(), 0);
    }
}
