//! What of a name in a directory belongs in an image, and whether two of them are equal.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, Statx};

use super::level::type_of;
use crate::sys::xattr;
use crate::tree::{
    DEVICE_NOTE, Device, OWNER_NOTE, SPECIAL_OWNER_NOTE, is_image_xattr, owner_of_note,
    special_owner_of_note,
};

/// The attributes of a name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    /// Those that belong in an image.
    pub(super) image: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whether the overlay driver marked a directory as opaque.
    pub(super) opaque: bool,
    /// The owner, where it is noted because there is only one id.
    pub(super) owner: Option<(u32, u32)>,
    /// The device that an empty file stands for, where none could be made.
    pub(super) device: Option<Device>,
    /// Whether the driver brought it up from a lower layer.
    pub(super) copied_up: bool,
    /// A mark of the driver that cannot be handled.
    pub(super) foreign: Option<&'static str>,
    /// Lists of who may do what, which no layer has.
    pub(super) lists: Vec<&'static CStr>,
}

/// Access control lists.
const LISTS: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];

/// Which notes are the builder's own: only in a user namespace nobody else can write them. There overlayfs
/// has its marks as `user.overlay.*`, elsewhere as `trusted.overlay.*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Believed {
    /// Owners; with a single id.
    pub owners: bool,
    /// What empty files stand for.
    pub devices: bool,
}

/// Reads the attributes of a name; notes that are not believed are not there. Links are asked too: they may
/// have capabilities' leftovers.
pub(super) fn extended(
    directory: BorrowedFd<'_>,
    name: &CStr,
    believed: Believed,
) -> io::Result<Extended> {
    let mut extended = Extended::default();
    // The driver's own; of the other kind are those that a command makes up.
    let driver: &[u8] = if believed.devices {
        b"user.overlay."
    } else {
        b"trusted.overlay."
    };
    for key in xattr::list_at(directory, name)? {
        let overlay = key.strip_prefix(driver);
        let mark = match overlay {
            Some(b"redirect") => Some("redirect_dir"),
            Some(b"metacopy") => Some("metacopy"),
            _ => None,
        };
        extended.foreign = extended.foreign.or(mark);
        extended.copied_up |= overlay == Some(b"origin");
        let list = LISTS.into_iter().find(|list| list.to_bytes() == key);
        extended.lists.extend(list);
        let is_owner = believed.owners && key == OWNER_NOTE.to_bytes();
        let is_device = believed.devices && key == DEVICE_NOTE.to_bytes();
        if overlay != Some(b"opaque") && !is_owner && !is_device && !is_image_xattr(&key) {
            continue;
        }
        let c_key = CString::new(key.as_slice())?;
        let Some(value) = xattr::get_at(directory, name, &c_key)? else {
            continue;
        };
        if is_owner {
            extended.owner = owner_of_note(&value);
        } else if is_device {
            extended.device = Device::of_note(&value);
        } else if overlay.is_some() {
            extended.opaque = value == b"y";
        } else if key == SPECIAL_OWNER_NOTE.to_bytes()
            && let Some(owner) = special_owner_of_note(&value)
        {
            extended.owner = Some(owner).filter(|_| believed.owners);
        } else if key == b"security.capability" {
            extended.image.insert(key, capability(value));
        } else {
            extended.image.insert(key, value);
        }
    }
    Ok(extended)
}

impl Extended {
    /// Takes away what no layer has, and what would change what later commands make: they find what they
    /// would find if the layer had been fetched.
    pub(super) fn strip(&self, (directory, name): (BorrowedFd<'_>, &CStr)) -> io::Result<()> {
        let mut lists = self.lists.iter();
        lists.try_for_each(|list| xattr::remove_at(directory, name, list))
    }
}

/// A file capability without the user namespace that it was set in (`vfs_ns_cap_data` revision 3
/// to `vfs_cap_data` revision 2, `linux/capability.h`).
fn capability(mut value: Vec<u8>) -> Vec<u8> {
    const REVISION_2: u8 = 2;
    const REVISION_3: u8 = 3;
    if value.len() == 24 && value[3] == REVISION_3 {
        value.truncate(20);
        value[3] = REVISION_2;
    }
    value
}

/// Whether two names are equal in all that a layer holds. Contents are compared only if all else
/// is equal.
pub(super) fn equal(one: &Side<'_>, other: &Side<'_>) -> io::Result<bool> {
    let meta = |side: &Side<'_>| {
        let state = &side.state;
        let is_device = type_of(state).is_char_device() || type_of(state).is_block_device();
        let device = (state.stx_rdev_major, state.stx_rdev_minor);
        (
            (state.stx_mode, side.owner, side.mtime),
            is_device.then_some(device),
            side.device,
        )
    };
    let has_content = type_of(&one.state).is_file() || type_of(&one.state).is_symlink();
    if meta(one) != meta(other) || has_content && one.state.stx_size != other.state.stx_size {
        return Ok(false);
    }
    if one.image != other.image {
        return Ok(false);
    }
    if type_of(&one.state).is_symlink() {
        return Ok(one.link()? == other.link()?);
    }
    if type_of(&one.state).is_file() && one.state.stx_size > 0 {
        return same_content(one.open()?, other.open()?);
    }
    Ok(true)
}

/// One of two names to compare.
pub(super) struct Side<'a> {
    pub(super) directory: BorrowedFd<'a>,
    pub(super) name: &'a CStr,
    pub(super) state: Statx,
    /// Its owner in a layer.
    pub(super) owner: (u32, u32),
    /// The device that it stands for.
    pub(super) device: Option<Device>,
    /// Its time in a layer.
    pub(super) mtime: i64,
    /// Its attributes in a layer.
    pub(super) image: &'a BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Side<'_> {
    fn link(&self) -> io::Result<Vec<u8>> {
        link(self.directory, self.name)
    }

    fn open(&self) -> io::Result<File> {
        open(self.directory, self.name)
    }
}

/// Opens a regular file to read.
pub(super) fn open(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?.into())
}

/// The target of a symbolic link.
pub(super) fn link(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(directory, name, Vec::new())?.into_bytes())
}

fn same_content(mut one: File, mut other: File) -> io::Result<bool> {
    let mut buffers = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = fill(&mut one, &mut buffers.0)?;
        if count != fill(&mut other, &mut buffers.1)? {
            return Ok(false);
        }
        if count == 0 {
            return Ok(true);
        }
        if buffers.0[..count] != buffers.1[..count] {
            return Ok(false);
        }
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_lose_their_namespace() {
        let mut v3 = vec![1, 0, 0, 3];
        v3.extend_from_slice(&[7; 16]);
        let v2 = [&[1, 0, 0, 2][..], &[7; 16]].concat();
        assert_eq!(capability([v3.as_slice(), &[0, 0, 1, 0]].concat()), v2);
        assert_eq!(capability(v2.clone()), v2);
        assert_eq!(capability(v3.clone()), v3);
    }
}
