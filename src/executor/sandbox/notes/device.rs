//! `mknod` of devices, noted.

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::caller::Caller;
use super::owner::path_of;
use super::place::split;
use super::{Notes, Noting, descriptor, low};
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::Making;
use crate::sys::supervise::{Answer, Call};
use crate::tree::{DEVICE_NOTE, Device, OWNER_NOTE, owner_note};

/// The bit of a mode that makes a device a block device.
const BLOCK: u32 = 0o4_0000;

/// The device that is noted of a file.
pub(super) fn noted(file: &OwnedFd) -> Option<Device> {
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(path_of(file), DEVICE_NOTE, &mut value[..]).ok()?;
    Device::of_note(&value[..length])
}

impl Notes {
    /// Makes an empty file that stands for the device that a call wants.
    pub(super) fn make_device(&self, call: &Call) -> Result<Answer, Errno> {
        let [first, second, third, fourth, ..] = call.args;
        let is_mknod = u32::try_from(call.number) == Ok(Making::HERE.mknod);
        let (directory, path, mode, device) = if is_mknod {
            (libc::AT_FDCWD, first, low(second), low(third))
        } else {
            (descriptor(first), second, low(third), low(fourth))
        };
        let path = memory::path(call, path)?;
        let (parent, name) = split(&path)?;
        let place = self.processes.place(call, directory, parent, true)?;
        let parent = place.open()?;
        let caller = Caller::of(&self.processes.directory(call)?).ok_or(Errno::PERM)?;
        self.still_waiting(call)?;
        let device = device_of(mode, device);
        // A character device 0:0 is a deletion to overlay, which lets nobody make one.
        let is_whiteout = !device.is_block && (device.major, device.minor) == (0, 0);
        let may_make = caller.capabilities.contains(CapabilitySet::MKNOD)
            && self.people.of(call.thread).is_privileged();
        if !may_make || is_whiteout {
            return Err(Errno::PERM);
        }
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        let mode = Mode::from_raw_mode(mode & 0o7777 & !caller.umask);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&parent, &name, flags | OFlags::CLOEXEC, mode)?;
        let noted = self.note_device(file.as_fd(), device, caller.owner);
        if noted.is_err() {
            // What is no device must not look like one that was made.
            rustix::fs::unlinkat(&parent, &name, AtFlags::empty())?;
            return Err(Errno::PERM);
        }
        self.are_any.set(true);
        Ok(Answer::Value(0))
    }

    fn note_device(
        &self,
        file: BorrowedFd<'_>,
        device: Device,
        owner: (u32, u32),
    ) -> Result<(), Errno> {
        let flags = XattrFlags::empty();
        rustix::fs::fsetxattr(file, DEVICE_NOTE, &device.note(), flags)?;
        if self.noting == Noting::Owners {
            // Who looks for this note first finds that there is another.
            return rustix::fs::fsetxattr(file, OWNER_NOTE, &owner_note((0, 0)), flags);
        }
        if owner == (0, 0) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(owner.0), Gid::from_raw(owner.1));
        rustix::fs::fchown(file, Some(uid), Some(gid))
    }
}

/// The device that arguments of mknod(2) say: a number of 12 and 20 bits, in the kernel's order.
fn device_of(mode: u32, number: u32) -> Device {
    Device {
        is_block: mode & BLOCK != 0,
        major: (number >> 8) & 0xfff,
        minor: (number & 0xff) | ((number >> 12) & 0xf_ff00),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_read_as_the_kernel_writes_them() {
        for (is_block, major, minor) in
            [(false, 1, 3), (true, 259, 70_000), (false, 0xfff, 0xf_ffff)]
        {
            let mode = if is_block {
                libc::S_IFBLK
            } else {
                libc::S_IFCHR
            };
            let number = u32::try_from(rustix::fs::makedev(major, minor)).unwrap();
            let device = Device {
                is_block,
                major,
                minor,
            };
            assert_eq!(device_of(mode | 0o600, number), device);
        }
    }
}
