//! Notes: what a file should be where the kernel lets it be less, kept in attributes of the file
//! itself, so that renames, other names and the driver's copies carry them.
//!
//! ```text
//! files, directories       user.builder.owner    UID:GID
//! links, FIFOs, sockets    security.capability   a version 2 header, UID, GID, the word `buildown`
//! stand-ins of devices     user.builder.device   c|b MAJOR:MINOR
//! the layer's directory    user.builder.notes    o (owners) d (devices), if its files have such notes
//! ```
//!
//! Attributes of users are refused on links and special files; file capabilities are not, and mean
//! nothing there. Root of a user namespace may set both.

use std::ffi::CStr;

use super::{Entry, Kind, Unread};

/// The attribute in which a file or directory has its owner where it cannot belong to it: with a
/// single id.
pub const OWNER_NOTE: &CStr = c"user.builder.owner";

/// The same for links, FIFOs and sockets.
pub const SPECIAL_OWNER_NOTE: &CStr = c"security.capability";

/// The attribute of an empty file that stands for a device node, where none can be made.
pub const DEVICE_NOTE: &CStr = c"user.builder.device";

/// The attribute of a layer's directory that says which notes there are in it.
pub const LAYER_NOTES: &CStr = c"user.builder.notes";

/// What the names of notes begin with that are attributes of users.
pub const NOTES: &[u8] = b"user.builder.";

/// What makes a [`SPECIAL_OWNER_NOTE`] a note: no capability has these numbers.
const MAGIC: [u8; 8] = *b"buildown";
/// `VFS_CAP_REVISION_2` of `linux/capability.h`.
const HEADER: [u8; 4] = [0, 0, 0, 2];

/// What [`OWNER_NOTE`] says of a user and a group.
pub fn owner_note((uid, gid): (u32, u32)) -> Vec<u8> {
    format!("{uid}:{gid}").into_bytes()
}

/// The user and the group that an [`OWNER_NOTE`] says.
pub fn owner_of_note(note: &[u8]) -> Option<(u32, u32)> {
    let (uid, gid) = std::str::from_utf8(note).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

/// What [`SPECIAL_OWNER_NOTE`] says of a user and a group: a `vfs_cap_data` of version 2.
pub fn special_owner_note((uid, gid): (u32, u32)) -> Vec<u8> {
    [&HEADER[..], &uid.to_le_bytes(), &gid.to_le_bytes(), &MAGIC].concat()
}

/// The attribute and the value that note an owner of a file or directory, or, if it `is_special`, of a
/// link, a FIFO or a socket.
pub fn note_of_owner(is_special: bool, owner: (u32, u32)) -> (&'static CStr, Vec<u8>) {
    if is_special {
        (SPECIAL_OWNER_NOTE, special_owner_note(owner))
    } else {
        (OWNER_NOTE, owner_note(owner))
    }
}

/// The user and the group that a [`SPECIAL_OWNER_NOTE`] says; `None` if it is a capability. (The
/// kernel keeps it as version 3, with a root's id at the end, which it may or may not show.)
pub fn special_owner_of_note(note: &[u8]) -> Option<(u32, u32)> {
    if note.get(12..20)? != MAGIC {
        return None;
    }
    let word = |at: usize| note[at..at + 4].try_into().map(u32::from_le_bytes);
    Some((word(4).ok()?, word(8).ok()?))
}

/// Which notes a layer's directory has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerNotes {
    /// Owners other than root.
    pub owners: bool,
    /// Devices; not those in /dev, where a command sees others.
    pub devices: bool,
}

impl LayerNotes {
    /// Those of a layer with these entries.
    pub fn of<C>(entries: &[Entry<C>]) -> Self {
        let is_owned = |entry: &Entry<C>| {
            (entry.uid, entry.gid) != (0, 0) && !matches!(entry.kind, Kind::Whiteout)
        };
        let is_device = |entry: &Entry<C>| {
            Device::of(&entry.kind).is_some() && !entry.path.as_bytes().starts_with(b"dev/")
        };
        Self {
            owners: entries.iter().any(is_owned),
            devices: entries.iter().any(is_device),
        }
    }

    /// What [`LAYER_NOTES`] says.
    pub fn mark(self) -> &'static [u8] {
        match (self.owners, self.devices) {
            (false, false) => b"",
            (true, false) => b"o",
            (false, true) => b"d",
            (true, true) => b"od",
        }
    }

    /// Those that [`LAYER_NOTES`] says; any, if there is no such mark.
    pub fn of_mark(mark: Option<&[u8]>) -> Self {
        let has = |letter| mark.is_none_or(|mark| mark.contains(&letter));
        Self {
            owners: has(b'o'),
            devices: has(b'd'),
        }
    }

    /// Those of two layers.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            owners: self.owners || other.owners,
            devices: self.devices || other.devices,
        }
    }
}

/// A device node as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Whether it is a block device.
    pub is_block: bool,
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl Device {
    /// The device of an entry; `None` if it is none.
    pub fn of<C>(kind: &Kind<C>) -> Option<Self> {
        let (is_block, major, minor) = match kind {
            Kind::CharDevice { major, minor } => (false, *major, *minor),
            Kind::BlockDevice { major, minor } => (true, *major, *minor),
            _ => return None,
        };
        Some(Self {
            is_block,
            major,
            minor,
        })
    }

    /// What an entry of it is.
    pub fn kind(self) -> Kind<Unread> {
        let Self { major, minor, .. } = self;
        if self.is_block {
            Kind::BlockDevice { major, minor }
        } else {
            Kind::CharDevice { major, minor }
        }
    }

    /// What [`DEVICE_NOTE`] says.
    pub fn note(self) -> Vec<u8> {
        let letter = if self.is_block { 'b' } else { 'c' };
        format!("{letter} {}:{}", self.major, self.minor).into_bytes()
    }

    /// The device that a [`DEVICE_NOTE`] says.
    pub fn of_note(note: &[u8]) -> Option<Self> {
        let (letter, numbers) = std::str::from_utf8(note).ok()?.split_once(' ')?;
        let (major, minor) = numbers.split_once(':')?;
        let is_block = match letter {
            "b" => true,
            "c" => false,
            _ => return None,
        };
        Some(Self {
            is_block,
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::TreePath;

    #[test]
    fn notes_say_what_was_noted() {
        for owner in [(0, 0), (1000, 2000), (u32::MAX - 1, 7)] {
            assert_eq!(owner_of_note(&owner_note(owner)), Some(owner));
            let special = special_owner_note(owner);
            assert_eq!(special_owner_of_note(&special), Some(owner));
            // As the kernel shows it to whom it does not belong.
            let longer = [&special[..], &[1, 2, 3, 4]].concat();
            assert_eq!(special_owner_of_note(&longer), Some(owner));
        }
        for (is_block, major, minor) in [(false, 1, 3), (true, 8, 0xf_ffff), (false, 0, 0)] {
            let device = Device {
                is_block,
                major,
                minor,
            };
            assert_eq!(Device::of_note(&device.note()), Some(device));
            assert_eq!(Device::of(&device.kind()), Some(device));
        }
    }

    #[test]
    fn a_layer_says_which_notes_it_has() {
        let plain: Entry<Unread> = Entry::directory(TreePath::clean("d"), 0);
        let owned = Entry {
            gid: 5,
            ..plain.clone()
        };
        let device = |path| Entry {
            path: TreePath::clean(path),
            kind: Kind::CharDevice { major: 1, minor: 3 },
            ..plain.clone()
        };
        let table = [
            (vec![plain.clone(), device("dev/null")], &b""[..]),
            (vec![plain.clone(), owned.clone()], b"o"),
            (vec![device("null"), plain.clone()], b"d"),
            (vec![device("null"), owned], b"od"),
        ];
        for (entries, mark) in table {
            let notes = LayerNotes::of(&entries);
            assert_eq!(notes.mark(), mark);
            assert_eq!(LayerNotes::of_mark(Some(mark)), notes);
        }
        assert_eq!(LayerNotes::of_mark(None).mark(), b"od");
    }

    #[test]
    fn what_is_no_note_says_nothing() {
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(special_owner_of_note(&capability), None);
        assert_eq!(special_owner_of_note(b"short"), None);
        for bad in ["", "c", "c 1", "x 1:3", "c 1:x", "b 1:-3"] {
            assert_eq!(Device::of_note(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(owner_of_note(b"1:"), None);
    }
}
