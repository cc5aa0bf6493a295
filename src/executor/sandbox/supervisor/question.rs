//! What a call of a command in a chroot asks its supervisor for.

use rustix::fs::OFlags;

use super::changing::{self, Change};
use super::looking::{self, Look};
use super::{attributing, linking};
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::{self, Act, Altering, Asked, Looking, ProcessArgument};
use crate::sys::supervise::Call;

/// What a call asks for.
#[derive(Debug)]
pub(super) enum Question {
    Open {
        path: Vec<u8>,
        flags: OFlags,
    },
    ReadLink {
        path: Vec<u8>,
        buffer: u64,
        size: u64,
    },
    HostName {
        buffer: u64,
    },
    Change {
        path: Vec<u8>,
        change: Change,
    },
    Look {
        path: Vec<u8>,
        look: Look,
    },
    /// The file system of what is open.
    FileSystem {
        number: i32,
        buffer: u64,
    },
    /// To give a new name to what a path leads to.
    Link {
        path: Vec<u8>,
    },
    Attribute {
        path: Vec<u8>,
        act: Act,
    },
    /// To do something to another process.
    Reach(ProcessArgument),
}

/// What a call asks for; `None` if it goes on by itself.
pub(super) fn question(call: &Call) -> Option<Question> {
    let asked = Asked::HERE;
    let [first, second, third, fourth, ..] = call.args;
    let number = u32::try_from(call.number).ok()?;
    if number == asked.uname {
        return Some(Question::HostName { buffer: first });
    }
    if let Some(target) = seccomp::target(number) {
        return Some(Question::Reach(target));
    }
    if let Some((address, look)) = looking::asked(call) {
        let path = memory::read_path_if(call, address, may_be_ours)?;
        return Some(Question::Look { path, look });
    }
    if let Some((address, change)) = changing::asked(call) {
        let path = memory::read_path_if(call, address, may_be_ours)?;
        return Some(Question::Change { path, change });
    }
    if Altering::HERE.all().contains(&number) {
        return None;
    }
    if number == Looking::HERE.fstatfs {
        let number = u32::try_from(first & 0xffff_ffff).ok()?.cast_signed();
        let buffer = second;
        return Some(Question::FileSystem { number, buffer });
    }
    if let Some(address) = linking::asked(call) {
        let path = memory::read_path_if(call, address, may_be_ours)?;
        return Some(Question::Link { path });
    }
    if let Some(act) = attributing::asked(call) {
        let path = memory::read_path_if(call, first, may_be_ours)?;
        return Some(Question::Attribute { path, act });
    }
    let (address, buffer, size) = if number == asked.open || number == asked.readlink {
        (first, second, third)
    } else if [asked.openat, asked.openat2, asked.readlinkat].contains(&number) {
        (second, third, fourth)
    } else {
        return None;
    };
    let path = memory::read_path_if(call, address, may_be_ours)?;
    if number == asked.readlink || number == asked.readlinkat {
        return Some(Question::ReadLink { path, buffer, size });
    }
    let flags = open_flags(call)?;
    Some(Question::Open { path, flags })
}

/// Whether a call only looks at a path, and one that nobody here has to do with. Most are, so this
/// is told by a look at its first bytes, with the rights of this process, and before anything else.
pub(super) fn looks_elsewhere(call: &Call) -> bool {
    let mut bytes = [0; memory::START];
    let Some((address, _)) = looking::asked(call) else {
        return false;
    };
    memory::read_start(call, address, &mut bytes).is_some_and(|start| !may_be_ours(start))
}

/// The flags of a call that opens; `None` if it is another, or resolves its path in a way of its own.
pub(super) fn open_flags(call: &Call) -> Option<OFlags> {
    let asked = Asked::HERE;
    let number = u32::try_from(call.number).ok()?;
    let flags = if number == asked.open {
        call.args[1]
    } else if number == asked.openat {
        call.args[2]
    } else if number != asked.openat2 {
        return None;
    } else {
        let mut how = [0; 24];
        let read = memory::read(call, call.args[2], &mut how)?;
        let word = |at: usize| how[at..at + 8].try_into().map(u64::from_ne_bytes).ok();
        if read < how.len() || word(16)? != 0 {
            return None;
        }
        word(0)?
    };
    Some(OFlags::from_bits_retain(
        u32::try_from(flags & 0xffff_ffff).ok()?,
    ))
}

/// Whether a path begins as one of those that are served; quick, since every call asks.
fn may_be_ours(path: &[u8]) -> bool {
    let Some(position) = path.iter().position(|byte| !matches!(*byte, b'/' | b'.')) else {
        return false;
    };
    let rest = &path[position..];
    position > 0 && (rest.starts_with(b"proc") || rest.starts_with(b"dev/"))
}
