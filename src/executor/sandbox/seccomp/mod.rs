//! The system call filter of RUN: Docker's default profile as classic BPF.
//!
//! A filter is a switch between the native ABI and its 32-bit companion, and for each a binary
//! search over ranges of numbers. A linear chain, what generic compilers make, costs about a
//! millisecond to install, because the kernel runs a new filter once for every number.
//!
//! Refusals are EPERM, as Docker's; numbers newer than the profile, and those of the x32 ABI, are
//! ENOSYS, so that C libraries fall back to what they know (runc does the same).

mod bpf;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::sys::seccomp::Instruction;

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
    bpf::switch(&ABIS.map(|abi| (abi.audit, ranges(abi.column))))
}

/// The verdict of every number of an ABI: sorted starts of ranges, the first at 0.
fn ranges(column: usize) -> Vec<(u32, Verdict)> {
    let mut known = BTreeMap::new();
    for (_, numbers) in ALLOWED {
        known.insert(numbers[column], Verdict::Allow);
    }
    for ((_, numbers), verdict) in CONDITIONAL {
        known.insert(numbers[column], *verdict);
    }
    known.remove(&NONE);
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
