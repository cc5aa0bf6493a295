//! Which process is who.
//!
//! What belongs to a process, goes over to what it forks and executes, and means nothing else, is a
//! resource limit that nobody uses: the time that a process with real-time priority may compute
//! (`RLIMIT_RTTIME`). How much its soft limit is below the hard one says who the process is. So
//! nobody has to follow the births and deaths of processes.

use std::cell::RefCell;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit};

use super::credentials::Credentials;
use crate::sys::limit::real_time_limit;

/// So many do not come up in a build; a command could make up others for ever.
const PEOPLE_MAX: usize = 4096;
/// So many groups they may have together: one process may have 65536.
const MEMBERSHIPS_MAX: usize = 1 << 18;

/// Everybody whom processes of a command are, or were.
#[derive(Debug)]
pub(super) struct People {
    all: RefCell<Vec<Credentials>>,
}

impl People {
    /// Everybody is this one until told otherwise.
    pub(super) fn new(first: Credentials) -> Self {
        Self {
            all: RefCell::new(vec![first]),
        }
    }

    /// Whether all processes are the same somebody, and root.
    pub(super) fn are_all_root(&self) -> bool {
        let all = self.all.borrow();
        all.len() == 1 && all[0].maker() == (0, 0)
    }

    /// Who a process is, by a thread of it.
    pub(super) fn of(&self, thread: u32) -> Credentials {
        let all = self.all.borrow();
        let position = if all.len() == 1 { 0 } else { mark_of(thread) };
        all.get(position).unwrap_or(&all[0]).clone()
    }

    /// Whether a process is root in every respect, as far as files go; cheaper than [`Self::of`].
    pub(super) fn makes_as_root(&self, thread: u32) -> bool {
        let all = self.all.borrow();
        if all.len() == 1 {
            return all[0].maker() == (0, 0);
        }
        drop(all);
        self.of(thread).maker() == (0, 0)
    }

    /// Makes a process somebody. EAGAIN if there are too many to know.
    pub(super) fn turn(&self, thread: u32, credentials: Credentials) -> Result<(), Errno> {
        let position = {
            let mut all = self.all.borrow_mut();
            let known = all.iter().position(|other| *other == credentials);
            let position = known.unwrap_or(all.len());
            if position == all.len() {
                let memberships: usize = all.iter().map(|one| one.others.len()).sum();
                if position == PEOPLE_MAX
                    || memberships + credentials.others.len() > MEMBERSHIPS_MAX
                {
                    return Err(Errno::AGAIN);
                }
                all.push(credentials);
            }
            position
        };
        if position != mark_of(thread) {
            mark(thread, position)?;
        }
        Ok(())
    }
}

/// The mark on a process: 0 if there is none.
fn mark_of(thread: u32) -> usize {
    let read = || {
        let (soft, hard) = real_time_limit(pid(thread)?).ok()?;
        hard.checked_sub(soft)
    };
    read()
        .and_then(|mark| usize::try_from(mark).ok())
        .unwrap_or(0)
}

fn mark(thread: u32, mark: usize) -> Result<(), Errno> {
    let process = pid(thread).ok_or(Errno::SRCH)?;
    let (_, hard) = real_time_limit(process).map_err(|_| Errno::SRCH)?;
    let below = u64::try_from(mark).map_err(|_| Errno::AGAIN)?;
    let soft = hard.checked_sub(below).ok_or(Errno::AGAIN)?;
    let limit = Rlimit {
        current: (soft != u64::MAX).then_some(soft),
        maximum: (hard != u64::MAX).then_some(hard),
    };
    rustix::process::prlimit(Some(process), Resource::Rttime, limit).map(drop)
}

fn pid(thread: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(thread).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::sandbox::notes::credentials::Ids;

    #[test]
    fn a_process_is_who_it_was_made_and_so_is_its_child() {
        let people = People::new(Credentials::root());
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let mut ann = Credentials::root();
        ann.users = Ids::all(7);
        assert_eq!(people.of(child.id()), Credentials::root());
        assert!(people.makes_as_root(child.id()));
        people.turn(child.id(), ann.clone()).unwrap();
        assert_eq!(people.of(child.id()), ann);
        assert!(!people.makes_as_root(child.id()));
        assert_eq!(people.of(std::process::id()), Credentials::root());
        people.turn(child.id(), Credentials::root()).unwrap();
        assert_eq!(people.of(child.id()), Credentials::root());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn nobody_makes_up_more_people_than_there_is_room_for() {
        let people = People::new(Credentials::root());
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let mut turned = Ok(());
        let mut count = 0;
        while turned.is_ok() && count < PEOPLE_MAX {
            let mut many = Credentials::root();
            many.others = vec![u32::try_from(count).unwrap(); 65536];
            turned = people.turn(child.id(), many);
            count += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((turned, count), (Err(Errno::AGAIN), 5));
    }
}
