//! Extended attributes: notes are not seen, not changed and not made by commands.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::caller::Caller;
use super::guise::Guise;
use super::owner::{is_special, path_of};
use super::place::Place;
use super::{Notes, Noting, acl, descriptor, low};
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::{Act, Target};
use crate::sys::supervise::{Answer, Call};
use crate::tree::{NOTES, SPECIAL_OWNER_NOTE, special_owner_of_note};

/// The longest name, the longest value, and the longest list of names that the kernel takes.
const NAME_MAX: usize = 255;
const SIZE_MAX: usize = 64 << 10;

/// The bookkeeping of the overlay driver in a user namespace. It does not let it be set itself, but not
/// every root is an overlay.
const OVERLAY: &[u8] = b"user.overlay.";

impl Notes {
    /// Answers a call about attributes.
    pub(super) fn attribute(&self, call: &Call, act: Act, target: Target) -> Result<Answer, Errno> {
        match act {
            Act::Set | Act::Remove => self.change_attribute(call, act, target),
            // Whatever goes wrong here goes wrong in the call itself, with the right error. What a
            // thread of the caller changes meanwhile shows it a note at most.
            Act::Get | Act::List if !self.are_any.get() => Ok(Answer::Continue),
            Act::Get if self.is_hidden(call, target) => Err(Errno::NODATA),
            Act::Get => Ok(Answer::Continue),
            Act::List => self.list_attributes(call, target),
        }
    }

    /// What a call is about.
    fn target(&self, call: &Call, target: Target) -> Result<Place, Errno> {
        let [first, ..] = call.args;
        match target {
            Target::Path => self.processes.named(call, libc::AT_FDCWD, first, true),
            Target::Link => self.processes.named(call, libc::AT_FDCWD, first, false),
            Target::Descriptor => self.processes.number(call, descriptor(first)),
        }
    }

    /// Sets or removes an attribute as the caller. It is done here and not by the call itself, whose
    /// strings another thread of the caller could change after the look at them.
    fn change_attribute(&self, call: &Call, act: Act, target: Target) -> Result<Answer, Errno> {
        let [_, name, value, size, flags, _] = call.args;
        let name = name_at(call, name)?;
        let value = match act {
            Act::Set => value_at(call, value, size)?,
            _ => Vec::new(),
        };
        may_change(act, &name, &value)?;
        let value = match self.noting {
            Noting::Owners => acl::of_one_id(&name, value),
            _ => value,
        };
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        let file = self.target(call, target)?.open()?;
        let mut caller = Caller::of(&self.processes.directory(call)?).ok_or(Errno::PERM)?;
        if !self.people.of(call.thread).is_privileged() {
            // To the kernel it is root; it may give its files no capabilities all the same.
            caller.capabilities = CapabilitySet::empty();
            self.may_have_attribute(call, &file, name.to_bytes())?;
        }
        self.still_waiting(call)?;
        let is_note = name.as_c_str() == SPECIAL_OWNER_NOTE && self.has_special_note(&file);
        if is_note && act == Act::Remove {
            return Err(Errno::NODATA);
        }
        if is_note {
            // It would take the note's place.
            return Err(Errno::PERM);
        }
        let path = path_of(&file);
        let guise = Guise::of(&caller)?;
        let changed = match act {
            Act::Set => {
                let flags = XattrFlags::from_bits_retain(low(flags));
                rustix::fs::setxattr(path, &name, &value, flags)
            }
            _ => rustix::fs::removexattr(path, &name),
        };
        drop(guise);
        changed.map(|()| Answer::Value(0))
    }

    /// Whether the attribute that a call asks for is a note.
    fn is_hidden(&self, call: &Call, target: Target) -> bool {
        let Ok(name) = name_at(call, call.args[1]) else {
            return false;
        };
        if name != SPECIAL_OWNER_NOTE.to_bytes() {
            return name.starts_with(NOTES);
        }
        let file = self.target(call, target).and_then(Place::open);
        file.is_ok_and(|file| self.has_special_note(&file))
    }

    /// Lists the attributes of a file that are no notes.
    fn list_attributes(&self, call: &Call, target: Target) -> Result<Answer, Errno> {
        let place = self.target(call, target).ok().filter(Place::may_have_notes);
        let Some(Ok(file)) = place.map(Place::open) else {
            return Ok(Answer::Continue);
        };
        let mut names = vec![0; SIZE_MAX];
        let Ok(length) = rustix::fs::listxattr(path_of(&file), &mut names[..]) else {
            return Ok(Answer::Continue);
        };
        let has_special_note = self.has_special_note(&file);
        let is_shown = |name: &&[u8]| {
            let name = name.strip_suffix(b"\0").unwrap_or(name);
            !(name.starts_with(NOTES) || has_special_note && name == SPECIAL_OWNER_NOTE.to_bytes())
        };
        let names = names[..length].split_inclusive(|byte| *byte == 0);
        let names: Vec<u8> = names.filter(is_shown).flatten().copied().collect();
        let [_, buffer, size, ..] = call.args;
        let length = u64::try_from(names.len()).map_err(|_| Errno::RANGE)?;
        let length_told = i64::try_from(names.len()).map_err(|_| Errno::RANGE)?;
        if size == 0 || length == 0 {
            return Ok(Answer::Value(length_told));
        }
        if size < length {
            return Err(Errno::RANGE);
        }
        self.still_waiting(call)?;
        memory::write(call, buffer, &names).ok_or(Errno::FAULT)?;
        Ok(Answer::Value(length_told))
    }

    /// Whether what looks like a capability is the note of an owner.
    fn has_special_note(&self, file: &OwnedFd) -> bool {
        let mut value = [0; 64];
        self.noting == Noting::Owners
            && is_special(file).unwrap_or(false)
            && rustix::fs::getxattr(path_of(file), SPECIAL_OWNER_NOTE, &mut value[..])
                .is_ok_and(|length| special_owner_of_note(&value[..length]).is_some())
    }
}

/// Whether an attribute may be changed by commands at all.
fn may_change(act: Act, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    if name.starts_with(OVERLAY) {
        return Err(Errno::OPNOTSUPP);
    }
    let is_set = act == Act::Set;
    if name.starts_with(NOTES) {
        return Err(if is_set { Errno::PERM } else { Errno::NODATA });
    }
    let is_note = name == SPECIAL_OWNER_NOTE.to_bytes() && special_owner_of_note(value).is_some();
    if is_note { Err(Errno::PERM) } else { Ok(()) }
}

/// The name at an address.
fn name_at(call: &Call, address: u64) -> Result<Vec<u8>, Errno> {
    match memory::path(call, address) {
        Ok(name) if (1..=NAME_MAX).contains(&name.len()) => Ok(name),
        Ok(_) | Err(Errno::NAMETOOLONG) => Err(Errno::RANGE),
        Err(errno) => Err(errno),
    }
}

/// The value at an address.
fn value_at(call: &Call, address: u64, size: u64) -> Result<Vec<u8>, Errno> {
    match usize::try_from(size) {
        Ok(size) if size <= SIZE_MAX => memory::read_all(call, address, size),
        _ => Err(Errno::TOOBIG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::special_owner_note;

    #[test]
    fn notes_are_changed_by_nobody() {
        let note = special_owner_note((0, 0));
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let table = [
            (Act::Set, "user.a", &b""[..], Ok(())),
            (Act::Set, "user.builder", b"", Ok(())),
            (Act::Set, "user.builder.owner", b"", Err(Errno::PERM)),
            (Act::Remove, "user.builder.device", b"", Err(Errno::NODATA)),
            (Act::Set, "user.overlay.origin", b"", Err(Errno::OPNOTSUPP)),
            (Act::Set, "security.capability", &note, Err(Errno::PERM)),
            (Act::Set, "security.capability", &capability, Ok(())),
            (Act::Remove, "security.capability", b"", Ok(())),
        ];
        for (act, name, value, expected) in table {
            assert_eq!(may_change(act, name.as_bytes(), value), expected, "{name}");
        }
    }
}
