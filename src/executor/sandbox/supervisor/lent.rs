//! /dev where no device nodes can be made: those of the container are lent.
//!
//! Without CAP_MKNOD, or on a file system whose nodes nobody may open, the command's /dev has stand-ins. A
//! call that opens one by its path is answered with the container's own device. The path is matched as
//! text, as those of /proc are. Who opens a stand-in itself (by a relative path, from a 32-bit program)
//! gets no device: /dev/null is an empty file then, the others are sockets, which cannot be opened.
//!
//! What is handed out is the container's: root can change its mode and owner by `fchmod` and `fchown`. So
//! they are put back after the command.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, makedev};
use rustix::io::Errno;

use super::asker::Asker;
use super::procfs::{self, Wanted, Who};
use super::reopen;
use crate::executor::sandbox::devices::DEVICES;
use crate::executor::sandbox::error::SandboxError;
use crate::executor::sandbox::memory;
use crate::executor::sandbox::seccomp::Asked;
use crate::sys::supervise::{self, Answer, Call};

/// What a command without a terminal has: opening it is ENXIO.
const TERMINAL: &str = "tty";
/// The one whose stand-in may be used.
const NULL: &str = "null";

/// A device of the container.
#[derive(Debug)]
struct Device {
    name: &'static str,
    /// Opened as a mere place.
    node: OwnedFd,
    /// As it was before the command.
    before: Stat,
    /// The number of the stand-in's inode.
    stand_in: u64,
}

/// The devices that a command may use.
#[derive(Debug)]
pub(in super::super) struct Lent {
    /// The command's /dev.
    dev: OwnedFd,
    devices: Vec<Device>,
}

/// Makes the stand-ins in an empty /dev.
pub(in super::super) fn make_stand_ins(dev: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let mode = Mode::from(0o666);
    for (name, ..) in DEVICES {
        let kind = if name == NULL {
            FileType::RegularFile
        } else {
            FileType::Socket
        };
        rustix::fs::mknodat(dev, name, kind, mode, 0)
            .and_then(|()| rustix::fs::chmodat(dev, name, mode, AtFlags::empty()))
            .map_err(|errno| failed(name, errno))?;
    }
    Ok(())
}

fn failed(name: &str, errno: Errno) -> SandboxError {
    SandboxError::Device {
        name: name.to_owned(),
        source: errno.into(),
    }
}

impl Lent {
    /// Finds the container's devices, if a command's /dev has stand-ins.
    pub(in super::super) fn new(dev: &OwnedFd) -> Result<Option<Self>, SandboxError> {
        let look = |name: &str| rustix::fs::statat(dev, name, AtFlags::SYMLINK_NOFOLLOW);
        let null = look(NULL).map_err(|errno| failed(NULL, errno))?;
        if FileType::from_raw_mode(null.st_mode) == FileType::CharacterDevice {
            return Ok(None);
        }
        let devices = DEVICES.into_iter().map(|(name, major, minor)| {
            let find = || -> Result<Device, Errno> {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let node = rustix::fs::openat(CWD, format!("/dev/{name}"), flags, Mode::empty())?;
                let before = rustix::fs::fstat(&node)?;
                if name != TERMINAL && !is_device(&before, makedev(major, minor)) {
                    return Err(Errno::NODEV);
                }
                Ok(Device {
                    name,
                    node,
                    before,
                    stand_in: look(name)?.st_ino,
                })
            };
            find().map_err(|errno| failed(name, errno))
        });
        let devices = devices.collect::<Result<Vec<_>, _>>()?;
        let dev = rustix::io::fcntl_dupfd_cloexec(dev, 3).map_err(|errno| failed(NULL, errno))?;
        Ok(Some(Self { dev, devices }))
    }

    /// The container's /dev/null, open: standard input.
    pub(in super::super) fn null(&self) -> Result<OwnedFd, SandboxError> {
        let null = self.devices.iter().find(|device| device.name == NULL);
        let open = |device: &Device| {
            let flags = OFlags::RDWR | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, reopen::own(&device.node), flags, Mode::empty())
        };
        null.map_or(Err(Errno::NODEV), open)
            .map_err(|errno| failed(NULL, errno))
    }

    /// Answers a call, if it opens a stand-in, or a device that was lent, again.
    pub(super) fn serve(&self, listener: impl AsFd, call: &Call) -> bool {
        let asker = Asker::of(call);
        let Some((path, flags)) = asker.as_itself(|| opening(call)) else {
            return false;
        };
        let Some(device) = self.wanted(call, asker, &path) else {
            return false;
        };
        if flags.contains(OFlags::PATH) || !supervise::is_waiting(&listener, call) {
            return false;
        }
        // A caller that was killed meanwhile needs no answer.
        let _ = match asker.as_itself(|| device.open(flags)) {
            Ok(file) => {
                let close_on_exec = flags.contains(OFlags::CLOEXEC);
                supervise::answer_with_file(listener, call, file, close_on_exec)
            }
            Err(errno) => supervise::answer(listener, call, Answer::Errno(errno.raw_os_error())),
        };
        true
    }

    /// The device, as a mere place, that a path leads to which a caller looks at.
    pub(super) fn find(&self, call: &Call, asker: Asker, path: &[u8]) -> Option<&OwnedFd> {
        self.wanted(call, asker, path).map(|device| &device.node)
    }

    fn wanted(&self, call: &Call, asker: Asker, path: &[u8]) -> Option<&Device> {
        if let Some(Wanted::Link { who, path }) = procfs::wanted(path) {
            let Who::Caller = who else { return None };
            let link = format!("/proc/{}/{path}", call.thread);
            let open = asker.as_itself(|| rustix::fs::stat(link)).ok()?;
            let is_it = |device: &&Device| {
                device.name != TERMINAL && is_device(&open, device.before.st_rdev)
            };
            return self.devices.iter().find(is_it);
        }
        let name = name_in_dev(path)?;
        let device = self.devices.iter().find(|device| device.name == name)?;
        // The command may have put something else there.
        let there = rustix::fs::statat(&self.dev, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        (there.st_ino == device.stand_in).then_some(device)
    }

    /// Gives the devices the modes and owners back that they had. Nobody may be left who has one open.
    pub(in super::super) fn put_back(&self) {
        for device in &self.devices {
            let Ok(now) = rustix::fs::fstat(&device.node) else {
                continue;
            };
            let before = &device.before;
            let is_same = (now.st_mode, now.st_uid, now.st_gid)
                == (before.st_mode, before.st_uid, before.st_gid);
            if is_same {
                continue;
            }
            let link = reopen::own(&device.node);
            let (uid, gid) = (Uid::from_raw(before.st_uid), Gid::from_raw(before.st_gid));
            let mode = Mode::from_raw_mode(before.st_mode & 0o7777);
            let flags = AtFlags::empty();
            // Who could change them can change them again.
            let _ = rustix::fs::chownat(CWD, &link, Some(uid), Some(gid), flags)
                .and_then(|()| rustix::fs::chmodat(CWD, &link, mode, flags));
        }
    }
}

impl Device {
    /// Opens it as `open` would.
    fn open(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        if self.name == TERMINAL {
            return Err(Errno::NXIO);
        }
        if flags.contains(OFlags::CREATE | OFlags::EXCL) {
            return Err(Errno::EXIST);
        }
        if flags.contains(OFlags::DIRECTORY) {
            return Err(Errno::NOTDIR);
        }
        let kept = OFlags::RWMODE | OFlags::APPEND | OFlags::NONBLOCK | OFlags::DSYNC;
        let flags = (flags & kept) | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, reopen::own(&self.node), flags, Mode::empty())
    }
}

fn is_device(status: &Stat, number: u64) -> bool {
    let kind = FileType::from_raw_mode(status.st_mode);
    kind == FileType::CharacterDevice && status.st_rdev == number
}

/// The path and the flags of a call that opens something below /dev, or by a link of /proc.
fn opening(call: &Call) -> Option<(Vec<u8>, OFlags)> {
    let asked = Asked::HERE;
    let number = u32::try_from(call.number).ok()?;
    let [first, second, third, ..] = call.args;
    let (address, flags) = if number == asked.open {
        (first, second)
    } else if number == asked.openat {
        (second, third)
    } else if number == asked.openat2 {
        // The first field of a `struct open_how`.
        let mut flags = [0; 8];
        let read = memory::read(call, third, &mut flags)?;
        #[expect(
            clippy::host_endian_bytes,
            reason = "the memory of a process of this machine"
        )]
        let flags = u64::from_ne_bytes(flags);
        (second, (read == size_of::<u64>()).then_some(flags)?)
    } else {
        return None;
    };
    let path = memory::read_path_if(call, address, may_be_lent)?;
    let flags = u32::try_from(flags & u64::from(u32::MAX)).ok()?;
    Some((path, OFlags::from_bits_retain(flags)))
}

/// Whether a path begins as those that are looked at.
fn may_be_lent(path: &[u8]) -> bool {
    let start = path.iter().position(|byte| !matches!(byte, b'/' | b'.'));
    let names = [&b"dev"[..], b"proc"];
    start.is_some_and(|start| names.iter().any(|name| path[start..].starts_with(name)))
}

/// What a path names in /dev, as it is usually written.
fn name_in_dev(path: &[u8]) -> Option<&str> {
    let path = std::str::from_utf8(path).ok()?.strip_prefix('/')?;
    let mut names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    match (names.next()?, names.next()?, names.next()) {
        ("dev", name, None) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_dev_are_told_from_others() {
        let table = [
            ("/dev/null", Some("null")),
            ("//dev/.//zero", Some("zero")),
            ("/dev/pts/0", None),
            ("/dev", None),
            ("dev/null", None),
            ("/dev/../null", None),
            ("/device/null", None),
        ];
        for (path, expected) in table {
            assert_eq!(name_in_dev(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn stand_ins_are_no_devices_and_lead_to_none() {
        let place = tempfile::tempdir().unwrap();
        let dev = OwnedFd::from(std::fs::File::open(place.path()).unwrap());
        make_stand_ins(dev.as_fd()).unwrap();
        assert_eq!(std::fs::read(place.path().join("null")).unwrap(), b"");
        let zero = std::fs::File::open(place.path().join("zero"));
        assert_eq!(zero.unwrap_err().raw_os_error(), Some(libc::ENXIO));
        let lent = Lent::new(&dev).unwrap().expect("no device is there");
        let find = |name: &str| {
            lent.devices
                .iter()
                .find(|device| device.name == name)
                .unwrap()
        };
        let read = OFlags::RDONLY;
        let zero = find("zero").open(read).unwrap();
        let mut bytes = [1_u8; 4];
        assert_eq!(rustix::io::read(&zero, &mut bytes), Ok(4));
        assert_eq!(bytes, [0; 4]);
        assert_eq!(find("tty").open(read).err(), Some(Errno::NXIO));
        assert_eq!(
            find("null").open(OFlags::DIRECTORY).err(),
            Some(Errno::NOTDIR)
        );
        let new = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        assert_eq!(find("null").open(new).err(), Some(Errno::EXIST));
        assert!(
            find("null")
                .open(OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC)
                .is_ok()
        );
    }

    #[test]
    fn what_a_command_changed_of_a_device_is_put_back() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("device");
        std::fs::write(&path, "").unwrap();
        let node = rustix::fs::open(&path, OFlags::PATH, Mode::empty()).unwrap();
        let before = rustix::fs::fstat(&node).unwrap();
        let device = Device {
            name: NULL,
            node,
            before,
            stand_in: 0,
        };
        let lent = Lent {
            dev: OwnedFd::from(std::fs::File::open(place.path()).unwrap()),
            devices: vec![device],
        };
        rustix::fs::chmod(&path, Mode::from(0o700)).unwrap();
        lent.put_back();
        let after = rustix::fs::stat(&path).unwrap();
        assert_eq!(after.st_mode, before.st_mode);
    }
}
