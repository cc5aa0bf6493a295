//! The calls about extended attributes.

use super::{ABIS, ENOSYS, Verdict};

/// What a call does with attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Act {
    Set,
    Get,
    List,
    Remove,
}

/// How a call names the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Target {
    Path,
    /// A path whose last link is not followed.
    Link,
    Descriptor,
}

/// In the order of their numbers, in every ABI.
const ACTS: [Act; 4] = [Act::Set, Act::Get, Act::List, Act::Remove];
const TARGETS: [Target; 3] = [Target::Path, Target::Link, Target::Descriptor];

/// `setxattrat` and its three kin (Linux 6.13), in every ABI: C libraries fall back to the others.
const NEW: [u32; 4] = [463, 464, 465, 466];

/// `io_uring_setup`, in every ABI: rings set attributes, too.
const RINGS: u32 = 425;

/// The calls of an ABI, which have numbers in a row.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Attributes {
    first: u32,
}

impl Attributes {
    /// Those of the ABI with an audit number.
    pub(in super::super) fn of(audit: u32) -> Option<Self> {
        let first = if cfg!(target_arch = "x86_64") { 188 } else { 5 };
        let firsts = [first, 226];
        let position = ABIS.iter().position(|abi| abi.audit == audit)?;
        Some(Self {
            first: firsts[position],
        })
    }

    /// What a call does; `None` if it is none of these.
    pub(in super::super) fn find(self, number: u32) -> Option<(Act, Target)> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        Some((*ACTS.get(at / TARGETS.len())?, TARGETS[at % TARGETS.len()]))
    }

    fn numbers(self) -> impl Iterator<Item = (u32, Act)> {
        let find = move |number| Some((number, self.find(number)?.0));
        (self.first..).map_while(find)
    }

    /// A supervisor is asked about all.
    pub(super) fn all(audit: u32) -> Vec<(u32, Verdict)> {
        Self::verdicts(audit, |_| Some(Verdict::Ask))
    }

    /// Those that change something have a verdict.
    pub(super) fn changes(audit: u32, verdict: Verdict) -> Vec<(u32, Verdict)> {
        Self::verdicts(audit, |act| {
            matches!(act, Act::Set | Act::Remove).then_some(verdict)
        })
    }

    /// A supervisor is asked about those that follow a path.
    pub(super) fn by_path(audit: u32) -> impl Iterator<Item = (u32, Verdict)> {
        let calls = Self::of(audit).into_iter();
        calls.flat_map(|calls| {
            let numbers = calls.numbers().map(|(number, _)| number);
            let followed = numbers
                .filter(move |number| matches!(calls.find(*number), Some((_, Target::Path))));
            followed.map(|number| (number, Verdict::Ask))
        })
    }

    /// The verdicts of an ABI, sorted; calls that do the same in other ways are not there.
    fn verdicts(audit: u32, of: impl Fn(Act) -> Option<Verdict>) -> Vec<(u32, Verdict)> {
        let calls = Self::of(audit).into_iter().flat_map(Self::numbers);
        let mut verdicts: Vec<_> = calls
            .filter_map(|(number, act)| Some((number, of(act)?)))
            .collect();
        let absent = [RINGS].into_iter().chain(NEW);
        verdicts.extend(absent.map(|number| (number, Verdict::Errno(ENOSYS))));
        verdicts
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::ALLOWED;
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_table() {
        let table = [
            ("setxattr", Act::Set, Target::Path),
            ("lsetxattr", Act::Set, Target::Link),
            ("fsetxattr", Act::Set, Target::Descriptor),
            ("getxattr", Act::Get, Target::Path),
            ("lgetxattr", Act::Get, Target::Link),
            ("fgetxattr", Act::Get, Target::Descriptor),
            ("listxattr", Act::List, Target::Path),
            ("llistxattr", Act::List, Target::Link),
            ("flistxattr", Act::List, Target::Descriptor),
            ("removexattr", Act::Remove, Target::Path),
            ("lremovexattr", Act::Remove, Target::Link),
            ("fremovexattr", Act::Remove, Target::Descriptor),
        ];
        for (name, act, target) in table {
            let (_, numbers) = ALLOWED.iter().find(|(known, _)| *known == name).unwrap();
            for abi in ABIS {
                let calls = Attributes::of(abi.audit).unwrap();
                assert_eq!(
                    calls.find(numbers[abi.column]),
                    Some((act, target)),
                    "{name}"
                );
            }
        }
        for abi in ABIS {
            assert_eq!(Attributes::of(abi.audit).unwrap().numbers().count(), 12);
        }
        assert!(Attributes::of(7).is_none());
    }
}
