//! The calls that the supervisor of a chroot is asked about.

use std::collections::BTreeMap;

use super::processes::{Others, about_processes};
use super::{ABIS, Attributes, NONE, Verdict, all_but, bpf};
use crate::sys::seccomp::Instruction;

/// The numbers of calls that a supervisor is asked about, in the native ABI; [`NONE`] if it lacks
/// them.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Asked {
    pub(in super::super) open: u32,
    pub(in super::super) openat: u32,
    pub(in super::super) openat2: u32,
    pub(in super::super) readlink: u32,
    pub(in super::super) readlinkat: u32,
    pub(in super::super) uname: u32,
}

impl Asked {
    /// The numbers of this processor.
    #[cfg(target_arch = "x86_64")]
    pub(in super::super) const HERE: Self = Self {
        open: 2,
        openat: 257,
        openat2: 437,
        readlink: 89,
        readlinkat: 267,
        uname: 63,
    };
    /// The numbers of this processor.
    #[cfg(target_arch = "aarch64")]
    pub(in super::super) const HERE: Self = Self {
        open: NONE,
        openat: 56,
        openat2: 437,
        readlink: NONE,
        readlinkat: 78,
        uname: 160,
    };
}

/// The numbers of calls that change a file by its path, in the native ABI; [`NONE`] if it lacks them.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Altering {
    pub(in super::super) chmod: u32,
    pub(in super::super) fchmodat: u32,
    pub(in super::super) fchmodat2: u32,
    pub(in super::super) chown: u32,
    pub(in super::super) fchownat: u32,
    pub(in super::super) utimensat: u32,
    pub(in super::super) truncate: u32,
}

impl Altering {
    /// The numbers of this processor.
    #[cfg(target_arch = "x86_64")]
    pub(in super::super) const HERE: Self = Self {
        chmod: 90,
        fchmodat: 268,
        fchmodat2: 452,
        chown: 92,
        fchownat: 260,
        utimensat: 280,
        truncate: 76,
    };
    /// The numbers of this processor.
    #[cfg(target_arch = "aarch64")]
    pub(in super::super) const HERE: Self = Self {
        chmod: NONE,
        fchmodat: 53,
        fchmodat2: 452,
        chown: NONE,
        fchownat: 54,
        utimensat: 88,
        truncate: 45,
    };

    pub(in super::super) fn all(self) -> [u32; 7] {
        [
            self.chmod,
            self.fchmodat,
            self.fchmodat2,
            self.chown,
            self.fchownat,
            self.utimensat,
            self.truncate,
        ]
    }
}

/// The numbers of calls that tell something of a file by its path, in the native ABI; [`NONE`] if it
/// lacks them.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Looking {
    pub(in super::super) stat: u32,
    pub(in super::super) newfstatat: u32,
    pub(in super::super) statx: u32,
    pub(in super::super) access: u32,
    pub(in super::super) faccessat: u32,
    pub(in super::super) faccessat2: u32,
    pub(in super::super) statfs: u32,
    pub(in super::super) fstatfs: u32,
}

impl Looking {
    /// The numbers of this processor.
    #[cfg(target_arch = "x86_64")]
    pub(in super::super) const HERE: Self = Self {
        stat: 4,
        newfstatat: 262,
        statx: 332,
        access: 21,
        faccessat: 269,
        faccessat2: 439,
        statfs: 137,
        fstatfs: 138,
    };
    /// The numbers of this processor.
    #[cfg(target_arch = "aarch64")]
    pub(in super::super) const HERE: Self = Self {
        stat: NONE,
        newfstatat: 79,
        statx: 291,
        access: NONE,
        faccessat: 48,
        faccessat2: 439,
        statfs: 43,
        fstatfs: 44,
    };

    /// The supervisor is asked about whole paths that are followed: who walks through trees uses directories,
    /// or does not follow, and pays nothing.
    fn verdicts(self) -> [(u32, Verdict); 8] {
        [
            (self.stat, Verdict::Ask),
            (self.newfstatat, Verdict::AskFollowing(Some(3))),
            (self.statx, Verdict::AskFollowing(Some(2))),
            (self.access, Verdict::Ask),
            (self.faccessat, Verdict::AskFollowing(None)),
            (self.faccessat2, Verdict::AskFollowing(Some(3))),
            (self.statfs, Verdict::Ask),
            (self.fstatfs, Verdict::Ask),
        ]
    }
}

/// `linkat`, in the native ABI.
pub(in super::super) const LINKAT: u32 = if cfg!(target_arch = "x86_64") {
    265
} else {
    37
};

/// The argument of `linkat` that has its flags, and the one that makes it follow.
const LINK_FOLLOWING: Verdict = Verdict::AskBits(4, 0x400);

/// Compiles the filter that asks a supervisor, also about `changes`; everything else runs. Calls that do
/// something to another process are asked about too, those that signal one if `has_signals`.
pub(in super::super) fn asking_filter(changes: &[u32], has_signals: bool) -> Vec<Instruction> {
    let here = Asked::HERE;
    let asked = [
        here.open,
        here.openat,
        here.openat2,
        here.readlink,
        here.readlinkat,
        here.uname,
    ];
    let mut calls: BTreeMap<u32, Verdict> = about_processes(0, Others::Ask, has_signals).collect();
    calls.extend(asked.map(|number| (number, Verdict::Ask)));
    calls.extend(Altering::HERE.all().map(|number| (number, Verdict::Ask)));
    calls.extend(Looking::HERE.verdicts());
    calls.insert(LINKAT, LINK_FOLLOWING);
    calls.extend(Attributes::by_path(ABIS[0].audit));
    calls.extend(changes.iter().map(|number| (*number, Verdict::Ask)));
    calls.remove(&NONE);
    let native = all_but(calls.into_iter());
    let compat: BTreeMap<u32, Verdict> = about_processes(1, Others::Refuse, has_signals).collect();
    let compat = all_but(compat.into_iter());
    bpf::switch(&[(ABIS[0].audit, native), (ABIS[1].audit, compat)])
}
