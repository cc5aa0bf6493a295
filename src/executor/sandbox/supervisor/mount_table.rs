//! The table of mounts of a command for whom nothing was mounted. The kernel's is empty, since no mount is below
//! its root; but programs ask it whether there is a /proc, and what file system they are on.

use std::fmt::Write as _;
use std::io::{Seek as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;

use super::reopen;

/// What stands where the sandbox of the other rungs mounts something: path, file system, options.
const MOUNTS: [(&str, &str, &str); 3] = [
    ("/dev", "tmpfs", "rw,nosuid,relatime"),
    ("/proc", "proc", "rw,nosuid,nodev,noexec,relatime"),
    ("/sys", "sysfs", "ro,nosuid,nodev,noexec,relatime"),
];

/// The names of file systems that stores lie on, by what statfs(2) says of them.
const FILE_SYSTEMS: [(i64, &str); 7] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x794c_7630, "overlay"),
    (0xf2f5_2010, "f2fs"),
    (0x2fc1_2fc1, "zfs"),
];

/// How a file of /proc tells mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Mounts,
    Info,
    Statistics,
}

impl Form {
    /// The form of a file in the directory of a process; `None` if it is about something else.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "mounts" => Some(Self::Mounts),
            "mountinfo" => Some(Self::Info),
            "mountstats" => Some(Self::Statistics),
            _ => None,
        }
    }
}

/// A file with the table, to read.
pub(super) fn open(root: &OwnedFd, form: Form) -> Result<OwnedFd, Errno> {
    let device = rustix::fs::fstat(root)?.st_dev;
    let device = (rustix::fs::major(device), rustix::fs::minor(device));
    let kind = rustix::fs::fstatfs(root)?.f_type;
    let known = FILE_SYSTEMS.iter().find(|(number, _)| *number == kind);
    let text = table(form, device, known.map_or("none", |(_, name)| name));
    let file = rustix::fs::memfd_create("mounts", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    let written = file.write_all(text.as_bytes()).and_then(|()| file.rewind());
    written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, reopen::own(&file.into()), flags, Mode::empty())
}

fn table(form: Form, (major, minor): (u32, u32), file_system: &str) -> String {
    let root = ("/", file_system, "rw,relatime");
    let mut text = String::new();
    for ((path, kind, options), number) in std::iter::once(root).chain(MOUNTS).zip(1..) {
        let parent = u32::from(number > 1);
        let written = match form {
            Form::Mounts => writeln!(text, "none {path} {kind} {options} 0 0"),
            Form::Info => writeln!(
                text,
                "{number} {parent} {major}:{minor} / {path} {options} - {kind} none rw"
            ),
            Form::Statistics => {
                writeln!(text, "device none mounted on {path} with fstype {kind}")
            }
        };
        debug_assert!(written.is_ok(), "a text can always be written to");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_table_has_what_the_other_rungs_mount() {
        let told = table(Form::Info, (8, 1), "ext4");
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines[0], "1 0 8:1 / / rw,relatime - ext4 none rw");
        assert_eq!(
            lines[2],
            "3 1 8:1 / /proc rw,nosuid,nodev,noexec,relatime - proc none rw"
        );
        let told = table(Form::Mounts, (8, 1), "xfs");
        assert!(told.starts_with("none / xfs rw,relatime 0 0\nnone /dev tmpfs "));
        let told = table(Form::Statistics, (8, 1), "xfs");
        assert!(told.ends_with("device none mounted on /sys with fstype sysfs\n"));
        assert_eq!(told.lines().count(), 4);
    }

    #[test]
    fn the_table_is_a_file_to_read() {
        let root = OwnedFd::from(std::fs::File::open("/").unwrap());
        let mut file = std::fs::File::from(open(&root, Form::Mounts).unwrap());
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("none / "), "{text}");
        assert!(file.write_all(b"x").is_err());
    }
}
