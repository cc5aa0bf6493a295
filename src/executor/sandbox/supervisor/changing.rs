//! Changes of files by the links of /proc, where /proc is an ordinary directory. C libraries and tar change
//! what they have open as a mere name (O_PATH) in this way: glibc's `fchmodat` without following links.

use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_NOW, Uid};
use rustix::io::Errno;

use super::asker::Rights;
use super::reopen;
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::Altering;
use crate::sys::supervise::{Call, low};

/// The size of two `struct timespec`.
const TIMES: usize = 32;

/// What is to be changed about a file.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Mode(Mode),
    Owner(Option<Uid>, Option<Gid>),
    Times(Timestamps),
    Length(i64),
}

/// The address of the path that a call names, and what it changes; `None` if it is another call, or does
/// not follow links.
pub(super) fn asked(call: &Call) -> Option<(u64, Change)> {
    let here = Altering::HERE;
    let number = u32::try_from(call.number).ok()?;
    let [first, second, third, fourth, fifth, _] = call.args;
    let follows = |flags: u64| {
        !AtFlags::from_bits_retain(low(flags))
            .intersects(AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)
    };
    let mode = |bits: u64| Change::Mode(Mode::from_raw_mode(low(bits) & 0o7777));
    let owner = |user: u64, group: u64| {
        let known = |id: u64| Some(low(id)).filter(|id| *id != u32::MAX);
        Change::Owner(
            known(user).map(Uid::from_raw),
            known(group).map(Gid::from_raw),
        )
    };
    if number == here.chmod {
        Some((first, mode(second)))
    } else if number == here.fchmodat || (number == here.fchmodat2 && follows(fourth)) {
        Some((second, mode(third)))
    } else if number == here.chown {
        Some((first, owner(second, third)))
    } else if number == here.fchownat && follows(fifth) {
        Some((second, owner(third, fourth)))
    } else if number == here.truncate {
        Some((first, Change::Length(second.cast_signed())))
    } else if number == here.utimensat && follows(fourth) && second != 0 {
        Some((second, Change::Times(times(call, third)?)))
    } else {
        None
    }
}

/// The times at an address; now if there is none.
fn times(call: &Call, address: u64) -> Option<Timestamps> {
    let mut words = [0, UTIME_NOW, 0, UTIME_NOW];
    if address != 0 {
        let mut bytes = [0; TIMES];
        if memory::read(call, address, &mut bytes)? < TIMES {
            return None;
        }
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = bytes.try_into().map(i64::from_ne_bytes).ok()?;
        }
    }
    let time = |at: usize| Timespec {
        tv_sec: words[at],
        tv_nsec: words[at + 1],
    };
    Some(Timestamps {
        last_access: time(0),
        last_modification: time(2),
    })
}

impl Change {
    /// Makes it, with these rights.
    pub(super) fn make(&self, found: &OwnedFd, rights: &Rights) -> Result<(), Errno> {
        let link = reopen::own(found);
        let link = link.as_str();
        let flags = AtFlags::empty();
        rights.act(|| match self {
            Self::Mode(mode) => rustix::fs::chmodat(CWD, link, *mode, flags),
            Self::Owner(uid, gid) => rustix::fs::chownat(CWD, link, *uid, *gid, flags),
            Self::Times(times) => rustix::fs::utimensat(CWD, link, times, flags),
            Self::Length(length) => nix::unistd::truncate(link, *length)
                .map_err(|errno| Errno::from_raw_os_error(errno as i32)),
        })
    }
}
