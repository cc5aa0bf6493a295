//! rlimits: a fixed, documented start, then what the user asks for; never a failure.
//!
//! A build must not change with the limits of the shell that started it. So `nofile` is 65536 soft
//! and 524288 hard, and `core` 0, whatever the builder has; where the host's hard limit is lower
//! and may not be raised, it holds, with a notice if the user asked for more. Everything else is
//! inherited.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::spec::{Notice, Ulimit};

/// Docker's names.
const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

/// Soft and hard limit of open files.
const OPEN_FILES: (u64, u64) = (65_536, 524_288);

/// Sets the limits of this process.
pub(super) fn apply(ulimits: &[Ulimit]) -> Vec<Notice> {
    let (soft, hard) = OPEN_FILES;
    set(Resource::Nofile, soft, hard);
    set(Resource::Core, 0, 0);
    let mut notices = Vec::new();
    for ulimit in ulimits {
        match NAMES.iter().find(|(name, _)| *name == ulimit.name) {
            Some((_, resource)) => {
                if let Some(limit) = set(*resource, ulimit.soft, ulimit.hard) {
                    notices.push(Notice::LowerLimit {
                        name: ulimit.name.clone(),
                        limit,
                    });
                }
            }
            None => notices.push(Notice::UnknownLimit {
                name: ulimit.name.clone(),
            }),
        }
    }
    notices
}

/// Raises the number of files that this process may open as far as it may.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

/// Sets one limit; where that is refused, as much of it as the present hard limit allows, which is
/// returned.
fn set(resource: Resource, soft: u64, hard: u64) -> Option<u64> {
    let some = |value| (value != u64::MAX).then_some(value);
    let soft = soft.min(hard);
    let wanted = Rlimit {
        current: some(soft),
        maximum: some(hard),
    };
    if setrlimit(resource, wanted).is_ok() {
        return None;
    }
    let ceiling = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let lower = Rlimit {
        current: some(soft.min(ceiling)),
        maximum: some(hard.min(ceiling)),
    };
    let _ = setrlimit(resource, lower);
    Some(ceiling)
}
