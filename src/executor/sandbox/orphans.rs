//! What a supervisor without namespaces leaves when it is killed itself: processes of the command that
//! nobody holds together any more.
//!
//! They come to the builder, which is their next reaper ([`adopt`]). It tells them from its own helpers by
//! their filters: nobody else below it has more of them than the builder has.

use rustix::process::{Pid, Signal, WaitOptions};

/// Rounds of killing: who is born while its parent dies is found in the next one.
const ROUNDS: usize = 1000;

/// Makes this process the one that orphans below it come to.
pub(super) fn adopt() {
    // If it is refused, they go to the first process of all, as they always did.
    let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
}

/// Kills the processes that came to this one, and all that stem from them. Those of other commands are
/// below their supervisors.
pub(super) fn kill() {
    let this = std::process::id();
    let Some(own) = State::of(this) else { return };
    for _ in 0..ROUNDS {
        let is_orphan = |state: &State| state.parent == this && state.filters > own.filters;
        let found: Vec<u32> = processes()
            .filter(|process| State::of(*process).as_ref().is_some_and(is_orphan))
            .collect();
        if found.is_empty() {
            return;
        }
        for process in found {
            let number = i32::try_from(process).ok().and_then(Pid::from_raw);
            if let Some(process) = number {
                // Its children are the next round's orphans.
                let _ = rustix::process::kill_process(process, Signal::KILL);
                let _ = rustix::process::waitpid(Some(process), WaitOptions::empty());
            }
        }
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What everybody may know of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    parent: u32,
    filters: u32,
}

impl State {
    fn of(process: u32) -> Option<Self> {
        Self::of_status(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?)
    }

    fn of_status(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().parse().ok()
        };
        Some(Self {
            parent: value("PPid:")?,
            filters: value("Seccomp_filters:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_the_parent_and_the_filters() {
        let text = "Name:\tx\nPPid:\t12\nSeccomp:\t2\nSeccomp_filters:\t3\n";
        let state = State {
            parent: 12,
            filters: 3,
        };
        assert_eq!(State::of_status(text), Some(state));
        assert!(State::of(std::process::id()).is_some());
    }
}
