//! Extended attributes of files that a command has open, by the links of /proc, where /proc is an ordinary
//! directory: the only way to those of what is open as a mere name (`O_PATH`).

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::asker::Rights;
use super::reopen;
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::{Act, Attributes, Target};
use crate::sys::supervise::Call;

/// The longest name, and the longest value or list of names that the kernel has.
const NAME_MAX: usize = 255;
const SIZE_MAX: usize = 64 << 10;

/// What a call does with attributes of what its path leads to; `None` if it is another one.
pub(super) fn asked(call: &Call) -> Option<Act> {
    let number = u32::try_from(call.number).ok()?;
    match Attributes::of(call.abi)?.find(number)? {
        (act, Target::Path) => Some(act),
        (_, Target::Link | Target::Descriptor) => None,
    }
}

/// All that a call says about an attribute.
#[derive(Debug)]
pub(super) struct Attribute {
    act: Act,
    name: CString,
    value: Vec<u8>,
    flags: XattrFlags,
    /// Where the answer goes, and how long it may be.
    buffer: u64,
    size: u64,
}

impl Attribute {
    /// Reads it from the memory of the caller; to be asked as the caller.
    pub(super) fn of(call: &Call, act: Act) -> Result<Self, Errno> {
        let [_, second, third, fourth, fifth, _] = call.args;
        let name = match act {
            Act::List => Vec::new(),
            Act::Set | Act::Get | Act::Remove => memory::path(call, second)?,
        };
        if act != Act::List && !(1..=NAME_MAX).contains(&name.len()) {
            return Err(Errno::RANGE);
        }
        let value = match (act, usize::try_from(fourth)) {
            (Act::Set, Ok(size)) if size <= SIZE_MAX => memory::read_all(call, third, size)?,
            (Act::Set, _) => return Err(Errno::TOOBIG),
            (Act::Get | Act::List | Act::Remove, _) => Vec::new(),
        };
        let (buffer, size) = match act {
            Act::List => (second, third),
            Act::Set | Act::Get | Act::Remove => (third, fourth),
        };
        let flags = u32::try_from(fifth & 0xffff_ffff).unwrap_or(0);
        Ok(Self {
            act,
            name: CString::new(name).map_err(|_| Errno::INVAL)?,
            value,
            flags: XattrFlags::from_bits_retain(if act == Act::Set { flags } else { 0 }),
            buffer,
            size,
        })
    }

    /// Does it with these rights. Gives the result of the call, and what is to be written where.
    pub(super) fn apply(
        &self,
        found: &OwnedFd,
        rights: &Rights,
    ) -> Result<(i64, u64, Vec<u8>), Errno> {
        let link = reopen::own(found);
        let mut told = vec![0; SIZE_MAX];
        let length = rights.act(|| match self.act {
            Act::Set => {
                rustix::fs::setxattr(&link, &self.name, &self.value, self.flags).map(|()| 0)
            }
            Act::Remove => rustix::fs::removexattr(&link, &self.name).map(|()| 0),
            Act::Get => rustix::fs::getxattr(&link, &self.name, &mut told[..]),
            Act::List => rustix::fs::listxattr(&link, &mut told[..]),
        })?;
        told.truncate(length);
        let result = i64::try_from(length).map_err(|_| Errno::RANGE)?;
        if self.size == 0 {
            // Only the length was asked for.
            told.clear();
        }
        if u64::try_from(told.len()).is_ok_and(|length| length > self.size) {
            return Err(Errno::RANGE);
        }
        Ok((result, self.buffer, told))
    }
}
