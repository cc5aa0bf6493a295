//! The system call filter of RUN: Docker's default profile as classic BPF.
//!
//! A filter is a switch between the native ABI and its 32-bit companion, and for each a binary
//! search over ranges of numbers. A linear chain, what generic compilers make, costs about a
//! millisecond to install, because the kernel runs a new filter once for every number.
//!
//! Refusals are EPERM, as Docker's; numbers newer than the profile, and those of the x32 ABI, are
//! ENOSYS, so that C libraries fall back to what they know (runc does the same).

mod asked;
mod attributes;
mod bpf;
mod changing;
mod processes;
mod single;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::host_name::HostName;
use crate::sys::seccomp::Instruction;

pub(super) use asked::{Altering, Asked, LINKAT, Looking, asking_filter};
pub(super) use attributes::{Act, Attributes, Target};
pub(super) use changing::{Changing, Named};
use processes::Others;
pub(super) use processes::{ProcessArgument, solitary_filter, target, unintrusive_filter};
pub(super) use single::{Deed, Path, Side, Way, Which};
use table::{ALLOWED, NONE, Row};

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It runs.
    Allow,
    /// It fails with this error number.
    Errno(u16),
    /// It runs if it makes no namespace.
    Clone,
    /// It runs for the harmless personalities.
    Personality,
    /// It runs for the socket families that containers use.
    Socket,
    /// It runs for sockets of this machine's programs; others are a family that is not there.
    LocalSocket,
    /// It runs for all sockets but those that send packets as they are.
    RoutedSocket,
    /// The supervisor is asked.
    Ask,
    /// The supervisor is asked if this argument is the mode of a device node.
    AskDevice(u32),
    /// The supervisor is asked if this argument has one of these bits.
    AskBits(u32, u32),
    /// The supervisor is asked if this argument is this.
    AskEqual(u32, u32),
    /// The supervisor is asked if the second and the third argument are these.
    AskOption([u32; 2]),
    /// The supervisor is asked if the first argument is no directory but `AT_FDCWD`, and this argument, if
    /// there is one, has no flag that says not to follow, or that there is no path.
    AskFollowing(Option<u32>),
    /// It runs if the first argument, a process, is 0: the caller itself.
    Itself(Others),
    /// The same for the second argument if the first is not this kind: all processes of a user.
    ItselfUnless(u32, Others),
}

/// The operation is not permitted.
const EPERM: u16 = 1;
/// The call does not exist.
const ENOSYS: u16 = 38;

/// The calls whose verdict is not plain.
const CONDITIONAL: &[(Row, Verdict)] = &[
    (("clone", [56, 120, 220, 120]), Verdict::Clone),
    (("clone3", [435, 435, 435, 435]), Verdict::Errno(ENOSYS)),
    (("personality", [135, 136, 92, 136]), Verdict::Personality),
    (("socket", [41, 359, 198, 281]), Verdict::Socket),
];

/// The operation is not supported.
const EOPNOTSUPP: u16 = 95;

/// Numbers of the x32 ABI begin here.
const X32: u32 = 0x4000_0000;

/// Arm's private calls begin here, far above all others.
const PRIVATE: u32 = 0xf_0000;

/// An ABI: its audit number and its column in the table.
#[derive(Clone, Copy, Debug)]
struct Abi {
    audit: u32,
    column: usize,
}

/// The ABIs of this processor: native, then 32-bit.
#[cfg(target_arch = "x86_64")]
const ABIS: [Abi; 2] = [
    Abi {
        audit: 0xc000_003e,
        column: 0,
    },
    Abi {
        audit: 0x4000_0003,
        column: 1,
    },
];
/// The ABIs of this processor: native, then 32-bit.
#[cfg(target_arch = "aarch64")]
const ABIS: [Abi; 2] = [
    Abi {
        audit: 0xc000_00b7,
        column: 2,
    },
    Abi {
        audit: 0x4000_0028,
        column: 3,
    },
];

/// Compiles the filter for this processor; takes some microseconds.
pub(super) fn default_filter() -> Vec<Instruction> {
    let abis = ABIS.map(|abi| (abi.audit, ranges(known(abi.column))));
    bpf::switch(&abis)
}

/// The same, with a supervisor that is asked for device nodes, and before attributes are changed.
pub(super) fn default_filter_with_devices(host_name: HostName) -> Vec<Instruction> {
    let mut calls = ABIS.map(|abi| known(abi.column));
    calls[0].extend(about_host(host_name));
    calls[0].extend(Making::HERE.verdicts());
    for (calls, abi) in calls.iter_mut().zip(ABIS) {
        calls.extend(Attributes::changes(abi.audit, Verdict::Ask));
    }
    let [native, compat] = calls.map(ranges);
    bpf::switch(&[(ABIS[0].audit, native), (ABIS[1].audit, compat)])
}

/// The filter that asks a supervisor for device nodes, and before attributes are changed, and refuses
/// nothing else.
pub(super) fn devices_filter(host_name: HostName) -> Vec<Instruction> {
    let asked = ABIS.map(|abi| Attributes::changes(abi.audit, Verdict::Ask));
    let known = Making::HERE.verdicts().chain(about_host(host_name));
    supervised(known.collect(), asked)
}

/// Whether the supervisor is asked what the host is called.
fn about_host(host_name: HostName) -> Option<(u32, Verdict)> {
    (host_name == HostName::Told).then_some((Asked::HERE.uname, Verdict::Ask))
}

/// The same, which also asks for the state of files: some of them stand for devices.
pub(super) fn told_devices_filter(host_name: HostName) -> Vec<Instruction> {
    let mut known: BTreeMap<u32, Verdict> = Making::HERE.verdicts().collect();
    known.extend(about_host(host_name));
    known.extend(Owning::HERE.telling().map(|number| (number, Verdict::Ask)));
    supervised(known, ABIS.map(|abi| Attributes::all(abi.audit)))
}

/// The filter for where there can be no supervisor: attributes stay as they are, for some of them would
/// be taken for the builder's own.
pub(super) fn unsupervised_filter() -> Vec<Instruction> {
    let refused = |abi: Abi| Attributes::changes(abi.audit, Verdict::Errno(EOPNOTSUPP));
    supervised(BTreeMap::new(), ABIS.map(refused))
}

/// The filter that says something to some calls of the native ABI, and to calls about attributes in both.
fn supervised(
    mut native: BTreeMap<u32, Verdict>,
    [here, compat]: [Vec<(u32, Verdict)>; 2],
) -> Vec<Instruction> {
    native.extend(here);
    native.remove(&NONE);
    let mut native = all_but(native.into_iter());
    // The third ABI of x86_64 has the audit number of the first.
    native.push((X32, Verdict::Errno(ENOSYS)));
    let compat = all_but(compat.into_iter());
    bpf::switch(&[(ABIS[0].audit, native), (ABIS[1].audit, compat)])
}

/// The numbers of calls that make nodes, in the native ABI; [`NONE`] if it lacks them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Making {
    pub(super) mknod: u32,
    pub(super) mknodat: u32,
}

impl Making {
    /// The numbers of this processor.
    #[cfg(target_arch = "x86_64")]
    pub(super) const HERE: Self = Self {
        mknod: 133,
        mknodat: 259,
    };
    /// The numbers of this processor.
    #[cfg(target_arch = "aarch64")]
    pub(super) const HERE: Self = Self {
        mknod: NONE,
        mknodat: 33,
    };

    /// Their verdicts; the mode is the second argument, or the third.
    fn verdicts(self) -> impl Iterator<Item = (u32, Verdict)> {
        let calls = [
            (self.mknod, Verdict::AskDevice(1)),
            (self.mknodat, Verdict::AskDevice(2)),
        ];
        calls.into_iter().filter(|(number, _)| *number != NONE)
    }
}

/// The numbers of calls that change or tell owners, in the native ABI; [`NONE`] if it lacks them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owning {
    pub(super) chown: u32,
    pub(super) fchown: u32,
    pub(super) lchown: u32,
    pub(super) fchownat: u32,
    pub(super) stat: u32,
    pub(super) fstat: u32,
    pub(super) lstat: u32,
    pub(super) newfstatat: u32,
    pub(super) statx: u32,
    pub(super) chroot: u32,
}

impl Owning {
    /// The numbers of this processor.
    #[cfg(target_arch = "x86_64")]
    pub(super) const HERE: Self = Self {
        chown: 92,
        fchown: 93,
        lchown: 94,
        fchownat: 260,
        stat: 4,
        fstat: 5,
        lstat: 6,
        newfstatat: 262,
        statx: 332,
        chroot: 161,
    };
    /// The numbers of this processor.
    #[cfg(target_arch = "aarch64")]
    pub(super) const HERE: Self = Self {
        chown: NONE,
        fchown: 55,
        lchown: NONE,
        fchownat: 54,
        stat: NONE,
        fstat: 80,
        lstat: NONE,
        newfstatat: 79,
        statx: 291,
        chroot: 51,
    };

    fn changing(self) -> [u32; 4] {
        [self.chown, self.fchown, self.lchown, self.fchownat]
    }

    fn telling(self) -> [u32; 6] {
        [
            self.stat,
            self.fstat,
            self.lstat,
            self.newfstatat,
            self.statx,
            self.chroot,
        ]
    }
}

/// Compiles the filter for a single id: someone is asked about the owners of files, device nodes, who a
/// process is, and what it makes.
pub(super) fn single_id_filter(host_name: HostName) -> Vec<Instruction> {
    let here = Owning::HERE;
    let owning = here.changing().into_iter().chain(here.telling());
    let mut known: BTreeMap<u32, Verdict> = owning.map(|number| (number, Verdict::Ask)).collect();
    known.extend(about_host(host_name));
    let deeds = Deed::all().into_iter();
    known.extend(deeds.map(|(number, deed)| (number, deed.verdict())));
    supervised(known, ABIS.map(|abi| Attributes::all(abi.audit)))
}

/// `socket` and `io_uring_setup`, which makes sockets, too; then the same for the 32-bit ABI, with its
/// call for everything about sockets, which a filter cannot look into.
#[cfg(target_arch = "x86_64")]
const SOCKETS: [(u32, &[u32]); 2] = [(41, &[425]), (359, &[425, 102])];
/// `socket` and `io_uring_setup`, which makes sockets, too; then the same for the 32-bit ABI.
#[cfg(target_arch = "aarch64")]
const SOCKETS: [(u32, &[u32]); 2] = [(198, &[425]), (281, &[425])];

/// Compiles the filter of a command on a link of ours: no packets of its own making. The stack behind the
/// link takes one to 127.0.0.1 for what it says, and connects to the host's loopback.
pub(super) fn routed_filter() -> Vec<Instruction> {
    sockets_filter(Verdict::RoutedSocket)
}

/// Compiles the filter of a command without network, where it cannot have a network of its own.
pub(super) fn offline_filter() -> Vec<Instruction> {
    sockets_filter(Verdict::LocalSocket)
}

fn sockets_filter(verdict: Verdict) -> Vec<Instruction> {
    let abi = |(socket, absent): (u32, &[u32])| {
        let mut calls = BTreeMap::from([(socket, verdict)]);
        calls.extend(
            absent
                .iter()
                .map(|number| (*number, Verdict::Errno(ENOSYS))),
        );
        all_but(calls.into_iter())
    };
    let [native, compat] = SOCKETS.map(abi);
    bpf::switch(&[(ABIS[0].audit, native), (ABIS[1].audit, compat)])
}

/// Ranges in which some numbers (sorted) have a verdict and all others run.
fn all_but(calls: impl Iterator<Item = (u32, Verdict)>) -> Vec<(u32, Verdict)> {
    let mut starts = BTreeMap::from([(0, Verdict::Allow)]);
    for (number, verdict) in calls {
        starts.insert(number, verdict);
        starts.entry(number + 1).or_insert(Verdict::Allow);
    }
    starts.into_iter().collect()
}

/// The verdicts of the calls of an ABI that the profile knows.
fn known(column: usize) -> BTreeMap<u32, Verdict> {
    let mut known = BTreeMap::new();
    for (_, numbers) in ALLOWED {
        known.insert(numbers[column], Verdict::Allow);
    }
    for ((_, numbers), verdict) in CONDITIONAL {
        known.insert(numbers[column], *verdict);
    }
    known.remove(&NONE);
    known
}

/// The verdict of every number of an ABI: sorted starts of ranges, the first at 0.
fn ranges(known: BTreeMap<u32, Verdict>) -> Vec<(u32, Verdict)> {
    let newest = known
        .range(..PRIVATE)
        .next_back()
        .map_or(0, |(number, _)| *number);
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    let mut push = |start, verdict| {
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((start, verdict));
        }
    };
    let mut next = 0;
    for (number, verdict) in known {
        if number > next {
            let gap = if next > newest { ENOSYS } else { EPERM };
            push(next, Verdict::Errno(gap));
        }
        push(number, verdict);
        next = number + 1;
    }
    push(next, Verdict::Errno(ENOSYS));
    ranges
}
