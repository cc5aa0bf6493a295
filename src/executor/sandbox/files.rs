//! Generated files: /etc/hosts, /etc/resolv.conf, secrets. They live in memory, never in a layer.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::error::SandboxError;
use super::mounting::{self, Tree};
use super::spec::HostsEntry;
use crate::tree::{OWNER_NOTE, owner_note};

/// Name servers for when the host names only itself and the sandbox cannot reach it: those of
/// Docker and BuildKit.
const PUBLIC_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];

/// A tmpfs whose files are mounted one by one into the root.
#[derive(Debug)]
pub(super) struct Files(OwnedFd);

/// Who may do what with a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Files {
    /// Makes the tmpfs and attaches it over `place`, a directory that only this mount namespace
    /// sees changed: before Linux 6.15 only attached mounts can be cloned.
    pub(super) fn new(place: &Path) -> Result<Self, SandboxError> {
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID;
        let mount = mounting::new_file_system("tmpfs", &[("mode", "0700")], attributes)?;
        let point = super::rootfs::open_directory(place)?;
        mounting::attach(&mount, &point).map_err(|source| SandboxError::Attach {
            target: place.display().to_string(),
            source: source.into(),
        })?;
        Ok(Self(mount))
    }

    /// The directory that holds the files.
    pub(super) fn directory(&self) -> &OwnedFd {
        &self.0
    }

    /// Writes a file and gives a read-only mount of it.
    pub(super) fn mount_file(
        &self,
        name: &str,
        content: &[u8],
        access: Access,
    ) -> Result<OwnedFd, SandboxError> {
        self.write(name, content, access)
            .map_err(|source| SandboxError::WriteFile {
                name: name.to_owned(),
                source: source.into(),
            })
    }

    fn write(&self, name: &str, content: &[u8], access: Access) -> Result<OwnedFd, Errno> {
        let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.0, name, flags, Mode::from(0o600))?;
        let mut file = std::fs::File::from(fd);
        file.write_all(content).map_err(errno)?;
        if (access.uid, access.gid) != (0, 0) {
            give(&file, access)?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(access.mode & 0o7777))?;
        drop(file);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, name, flags, Mode::empty())?;
        let mount = mounting::clone_mount(&file, Tree::Alone)?;
        let attributes =
            crate::sys::mount::READ_ONLY | crate::sys::mount::NO_DEV | crate::sys::mount::NO_SUID;
        crate::sys::mount::set_attributes(&mount, attributes, crate::sys::mount::Depth::One)
            .map_err(errno)?;
        Ok(mount)
    }
}

/// Gives a file its owner. Where there is only one id, that is noted, if the kernel has attributes of
/// users in memory (Linux 6.6).
fn give(file: &std::fs::File, access: Access) -> Result<(), Errno> {
    if super::rootfs::has_single_id() {
        let note = owner_note((access.uid, access.gid));
        return match rustix::fs::fsetxattr(file, OWNER_NOTE, &note, XattrFlags::empty()) {
            Err(Errno::OPNOTSUPP) => Ok(()),
            noted => noted,
        };
    }
    let (uid, gid) = (Uid::from_raw(access.uid), Gid::from_raw(access.gid));
    rustix::fs::fchown(file, Some(uid), Some(gid))
}

/// The text of /etc/hosts, as BuildKit writes it: localhost with the host name, then `entries` in
/// the given order.
pub(super) fn hosts(hostname: &str, entries: &[HostsEntry]) -> String {
    let mut text =
        format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for entry in entries {
        let _ = writeln!(text, "{}\t{}", entry.address, entry.name);
    }
    text
}

/// Which name servers a command can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those of the host: it shares the network.
    Host,
    /// This one, which asks the host's first; and those that are not on the host's loopback.
    Link(IpAddr),
    /// None.
    Nothing,
}

/// The text of /etc/resolv.conf made from the host's.
///
/// Through a link, the link's own server comes first: pasta answers in its name even where another
/// was asked. Servers on the host's loopback cannot be reached. A command without network reaches
/// none; where only loopback ones are known it gets public ones, as in BuildKit. Search domains and
/// options stay. On the host's network the text is as it is.
pub(super) fn resolv_conf(host: &str, reach: Reach) -> String {
    if reach == Reach::Host {
        return host.to_owned();
    }
    let mut text = String::new();
    let mut servers = 0;
    if let Reach::Link(server) = reach {
        let _ = writeln!(text, "nameserver {server}");
        servers += 1;
    }
    for line in host.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("nameserver") {
            if is_loopback(words.next().unwrap_or("")) {
                continue;
            }
            servers += 1;
        }
        text.push_str(line);
        text.push('\n');
    }
    if servers == 0 {
        for server in PUBLIC_SERVERS {
            let _ = writeln!(text, "nameserver {server}");
        }
    }
    text
}

/// Tells whether a name server of resolv.conf (perhaps with a zone: `fe80::1%eth0`) is loopback.
fn is_loopback(server: &str) -> bool {
    let address = server.split('%').next().unwrap_or(server);
    address
        .parse::<IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_written_as_buildkit_writes_them() {
        let entry = HostsEntry {
            address: "10.0.0.1".parse().unwrap(),
            name: "db".into(),
        };
        assert_eq!(
            hosts("box", &[entry]),
            "127.0.0.1\tlocalhost box\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.1\tdb\n"
        );
    }

    #[test]
    fn loopback_servers_are_replaced_only_in_an_own_network() {
        let table = [
            ("nameserver 1.2.3.4\n", "nameserver 1.2.3.4\n"),
            (
                "nameserver 127.0.0.53\noptions edns0\nsearch a b\n",
                "options edns0\nsearch a b\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n",
            ),
            (
                "nameserver 127.1.2.3\n nameserver ::1\nnameserver fe80::1%eth0\n",
                "nameserver fe80::1%eth0\n",
            ),
            (
                "nameserver ::ffff:127.0.0.1\nnameserver 9.9.9.9",
                "nameserver 9.9.9.9\n",
            ),
            ("", "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"),
        ];
        for (host, own) in table {
            assert_eq!(resolv_conf(host, Reach::Nothing), own, "{host}");
            assert_eq!(resolv_conf(host, Reach::Host), host);
        }
    }

    #[test]
    fn the_server_of_a_link_comes_first() {
        let table = [
            ("", ""),
            ("nameserver 1.2.3.4\n", "nameserver 1.2.3.4\n"),
            (
                "nameserver 127.0.0.53\noptions edns0 trust-ad\n",
                "options edns0 trust-ad\n",
            ),
            (
                "nameserver 127.0.0.1\nnameserver ::1\nnameserver 9.9.9.9\n",
                "nameserver 9.9.9.9\n",
            ),
        ];
        let link = Reach::Link(IpAddr::from([10, 0, 2, 3]));
        for (host, rest) in table {
            let text = format!("nameserver 10.0.2.3\n{rest}");
            assert_eq!(resolv_conf(host, link), text, "{host}");
        }
    }
}
