//! The calls that do something to other processes, where no namespace keeps them apart.

use std::collections::BTreeMap;

use super::{ABIS, EPERM, Verdict, all_but, bpf};
use crate::sys::seccomp::Instruction;

/// What happens to a call about another process than the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// The supervisor is asked.
    Ask,
    /// It is not permitted.
    Refuse,
}

/// ptrace, process_vm_readv, process_vm_writev: ways into processes outside of a chroot.
#[cfg(target_arch = "x86_64")]
const INTRUSIVE: [&[u32]; 2] = [&[101, 310, 311], &[26, 347, 348]];
/// ptrace, process_vm_readv, process_vm_writev: ways into processes outside of a chroot.
#[cfg(target_arch = "aarch64")]
const INTRUSIVE: [&[u32]; 2] = [&[117, 270, 271], &[26, 376, 377]];

/// Calls that change the process of their first argument: prlimit64, sched_setaffinity, sched_setattr,
/// sched_setparam, sched_setscheduler; in the order of [`ABIS`].
#[cfg(target_arch = "x86_64")]
pub(super) const CHANGING: [[u32; 5]; 2] = [[302, 203, 314, 142, 144], [340, 241, 351, 154, 156]];
/// Calls that change the process of their first argument: prlimit64, sched_setaffinity, sched_setattr,
/// sched_setparam, sched_setscheduler; in the order of [`ABIS`].
#[cfg(target_arch = "aarch64")]
pub(super) const CHANGING: [[u32; 5]; 2] = [[261, 122, 274, 118, 119], [369, 241, 380, 154, 156]];

/// Calls whose first argument says what the second is, and the kind that means all processes of a user:
/// setpriority, ioprio_set.
#[cfg(target_arch = "x86_64")]
pub(super) const RANKING: [[(u32, u32); 2]; 2] = [[(141, 2), (251, 3)], [(97, 2), (289, 3)]];
/// Calls whose first argument says what the second is, and the kind that means all processes of a user:
/// setpriority, ioprio_set.
#[cfg(target_arch = "aarch64")]
pub(super) const RANKING: [[(u32, u32); 2]; 2] = [[(140, 2), (30, 3)], [(97, 2), (314, 3)]];

/// Calls that signal a process by its number: kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo.
#[cfg(target_arch = "x86_64")]
pub(super) const SIGNALLING: [[u32; 5]; 2] = [[62, 200, 234, 129, 297], [37, 238, 270, 178, 335]];
/// Calls that signal a process by its number: kill, tkill, tgkill, rt_sigqueueinfo, rt_tgsigqueueinfo.
#[cfg(target_arch = "aarch64")]
pub(super) const SIGNALLING: [[u32; 5]; 2] = [[129, 130, 131, 138, 240], [37, 238, 268, 178, 363]];
/// pidfd_send_signal, everywhere.
pub(super) const SIGNAL_BY_DESCRIPTOR: u32 = 424;

/// How a call of the native ABI names the process that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum ProcessArgument {
    /// By this argument: a thread, a process, or, below 0, a group.
    Number(usize),
    /// By a descriptor, the first argument.
    Descriptor,
}

/// How a call names another process that it would do something to.
pub(in super::super) fn target(number: u32) -> Option<ProcessArgument> {
    let is_ranking = RANKING[0].iter().any(|(call, _)| *call == number);
    match number {
        SIGNAL_BY_DESCRIPTOR => Some(ProcessArgument::Descriptor),
        _ if is_ranking => Some(ProcessArgument::Number(1)),
        _ if CHANGING[0].contains(&number) || SIGNALLING[0].contains(&number) => {
            Some(ProcessArgument::Number(0))
        }
        _ => None,
    }
}

/// The verdicts of calls about processes; signals are left to Landlock where that knows them.
pub(super) fn about_processes(
    abi: usize,
    others: Others,
    has_signals: bool,
) -> impl Iterator<Item = (u32, Verdict)> {
    let changing = CHANGING[abi].into_iter();
    let changing = changing.map(move |call| (call, Verdict::Itself(others)));
    let ranking = RANKING[abi].into_iter();
    let ranking = ranking.map(move |(call, kind)| (call, Verdict::ItselfUnless(kind, others)));
    let signalling = SIGNALLING[abi].into_iter();
    let signalling = signalling.map(move |call| (call, Verdict::Itself(others)));
    let by_descriptor = match others {
        Others::Ask => Verdict::Ask,
        Others::Refuse => Verdict::Errno(EPERM),
    };
    let signalling = signalling.chain([(SIGNAL_BY_DESCRIPTOR, by_descriptor)]);
    changing
        .chain(ranking)
        .chain(signalling.filter(move |_| has_signals))
}

/// Compiles the filter that lets nobody do anything to another process, where nobody can be asked.
pub(in super::super) fn solitary_filter(has_signals: bool) -> Vec<Instruction> {
    let refused = |abi| {
        let calls: BTreeMap<u32, Verdict> =
            about_processes(abi, Others::Refuse, has_signals).collect();
        all_but(calls.into_iter())
    };
    bpf::switch(&[(ABIS[0].audit, refused(0)), (ABIS[1].audit, refused(1))])
}

/// Compiles the filter that keeps a command out of processes that it could find, where there is
/// neither a process namespace nor Landlock.
pub(in super::super) fn unintrusive_filter() -> Vec<Instruction> {
    let refuse = |number: &u32| (*number, Verdict::Errno(EPERM));
    let refused = |numbers: &[u32]| all_but(numbers.iter().map(refuse));
    let [native, compat] = INTRUSIVE.map(refused);
    bpf::switch(&[(ABIS[0].audit, native), (ABIS[1].audit, compat)])
}
