//! USER: from its text and the image's own passwd and group to numbers.
//!
//! The rules are Docker's (containerd's `WithUser`, runc's `GetExecUser`): a number is never
//! looked up as a name (CVE-2016-3697), an explicit group switches supplementary groups off.

use std::io::Read as _;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::error::SandboxError;

/// passwd and group may be this large, in bytes: BuildKit's limit.
const FILE_SIZE_MAX: u64 = 10 * 1024 * 1024;

/// The largest id that Docker accepts.
const ID_MAX: u32 = 2_147_483_647;

/// Who a command runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// User.
    pub(super) uid: u32,
    /// Group.
    pub(super) gid: u32,
    /// Supplementary groups; the primary one is the first.
    pub(super) groups: Vec<u32>,
    /// HOME for when the environment has none.
    pub(super) home: String,
}

/// Looks `user` (`name|number[:name|number]`, empty is root) up in `/etc/passwd` and `/etc/group`
/// below `root`.
pub(super) fn resolve(root: &OwnedFd, user: &str) -> Result<Identity, SandboxError> {
    let passwd = read(root, "/etc/passwd")?;
    let group = read(root, "/etc/group")?;
    identity(user, &passwd, &group)
}

/// The pure part of [`resolve`].
fn identity(user: &str, passwd: &str, group: &str) -> Result<Identity, SandboxError> {
    let (user_part, group_part) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user_part = if user_part.is_empty() { "0" } else { user_part };
    let number = parse_id(user_part)?;
    let entry = passwd
        .lines()
        .filter_map(PasswdEntry::parse)
        .find(|entry| match number {
            Some(uid) => entry.uid == uid,
            None => entry.name == user_part,
        });
    let uid = match (&entry, number) {
        (Some(entry), _) => entry.uid,
        (None, Some(uid)) => uid,
        (None, None) => {
            return Err(SandboxError::UnknownUser {
                name: user_part.to_owned(),
            });
        }
    };
    let (gid, groups) = if let Some(text) = group_part {
        let gid = explicit_group(text, group)?;
        (gid, vec![gid])
    } else {
        let gid = entry.as_ref().map_or(0, |entry| entry.gid);
        let name = entry.as_ref().map(|entry| entry.name);
        (gid, supplementary(gid, name, group))
    };
    let home = match &entry {
        Some(entry) if !entry.home.is_empty() => entry.home,
        _ if uid == 0 => "/root",
        _ => "/",
    };
    Ok(Identity {
        uid,
        gid,
        groups,
        home: home.to_owned(),
    })
}

/// The primary group, then those that list `name` as a member, in the file's order.
fn supplementary(gid: u32, name: Option<&str>, group: &str) -> Vec<u32> {
    let mut groups = vec![gid];
    let Some(name) = name else { return groups };
    for entry in group.lines().filter_map(GroupEntry::parse) {
        let is_member = entry.members.split(',').any(|member| member == name);
        if is_member && !groups.contains(&entry.gid) {
            groups.push(entry.gid);
        }
    }
    groups
}

fn explicit_group(text: &str, group: &str) -> Result<u32, SandboxError> {
    if let Some(gid) = parse_id(text)? {
        return Ok(gid);
    }
    group
        .lines()
        .filter_map(GroupEntry::parse)
        .find(|entry| entry.name == text)
        .map(|entry| entry.gid)
        .ok_or_else(|| SandboxError::UnknownGroup {
            name: text.to_owned(),
        })
}

/// A number if `text` is one; an error if it is one that no id can be.
fn parse_id(text: &str) -> Result<Option<u32>, SandboxError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(number) if number <= ID_MAX => Ok(Some(number)),
        _ => Err(SandboxError::IdRange {
            text: text.to_owned(),
        }),
    }
}

/// A line of passwd: `name:password:uid:gid:comment:home:shell`.
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> PasswdEntry<'a> {
    /// `None` for comments, short lines and ids that are not numbers.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let uid = fields.next()?.parse().ok().filter(|id| *id <= ID_MAX)?;
        let gid = fields.next()?.parse().ok().filter(|id| *id <= ID_MAX)?;
        let _comment = fields.next();
        let home = fields.next().unwrap_or("");
        Some(Self {
            name,
            uid,
            gid,
            home,
        })
    }
}

/// A line of group: `name:password:gid:member,member`.
struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> GroupEntry<'a> {
    /// `None` for comments, short lines and ids that are not numbers.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let gid = fields.next()?.parse().ok().filter(|id| *id <= ID_MAX)?;
        Some(Self {
            name,
            gid,
            members: fields.next().unwrap_or(""),
        })
    }
}

/// Reads a user file of the image: resolved inside the root, regular, of bounded size. A missing
/// one is empty.
fn read(root: &OwnedFd, path: &str) -> Result<String, SandboxError> {
    read_bounded(root, path).map_err(|source| SandboxError::UserFile {
        path: path.to_owned(),
        source: source.into(),
    })
}

fn read_bounded(root: &OwnedFd, path: &str) -> Result<String, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let fd = match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    let status = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL);
    }
    let mut bytes = Vec::new();
    std::fs::File::from(fd)
        .take(FILE_SIZE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    if bytes.len() as u64 > FILE_SIZE_MAX {
        return Err(Errno::FBIG);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        1000:x:0:0::/:/bin/sh\n\
        # comment\nshort:x\nbad:x:many:0::/:\nhuge:x:4294967295:0::/:\n\
        app:x:1000:1001:App:/home/app:/bin/sh\n\
        daemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app,daemon\napp:x:1001:app\nnumber:x:77:1000\n\
        video:x:44:app\n\n:x:1:\n";

    fn ids(user: &str) -> Result<(u32, u32, Vec<u32>, String), SandboxError> {
        identity(user, PASSWD, GROUP).map(|found| (found.uid, found.gid, found.groups, found.home))
    }

    #[test]
    fn users_are_looked_up_as_docker_does() {
        let table: &[(&str, u32, u32, &[u32], &str)] = &[
            ("", 0, 0, &[0], "/root"),
            ("root", 0, 0, &[0], "/root"),
            ("app", 1000, 1001, &[1001, 50, 44], "/home/app"),
            // A number that passwd has brings the entry's group, groups and home.
            ("1000", 1000, 1001, &[1001, 50, 44], "/home/app"),
            // A number that passwd lacks gets group 0.
            ("4242", 4242, 0, &[0], "/"),
            ("app:staff", 1000, 50, &[50], "/home/app"),
            ("app:7", 1000, 7, &[7], "/home/app"),
            ("4242:4243", 4242, 4243, &[4243], "/"),
            ("app:", 1000, 1001, &[1001, 50, 44], "/home/app"),
            (":staff", 0, 50, &[50], "/root"),
            ("daemon", 1, 1, &[1, 50], "/usr/sbin"),
        ];
        for (user, uid, gid, groups, home) in table {
            let expected = (*uid, *gid, groups.to_vec(), (*home).to_owned());
            assert_eq!(ids(user), Ok(expected), "{user}");
        }
    }

    #[test]
    fn a_number_is_never_a_name() {
        // The second line of PASSWD names a user "1000" with uid 0.
        assert_eq!(ids("1000").map(|found| found.0), Ok(1000));
        let only = "1000:x:0:0::/:/bin/sh\n";
        assert_eq!(identity("1000", only, "").map(|found| found.uid), Ok(1000));
    }

    #[test]
    fn unknown_names_and_impossible_numbers_are_errors() {
        assert_eq!(
            ids("nobody"),
            Err(SandboxError::UnknownUser {
                name: "nobody".into()
            })
        );
        assert_eq!(
            ids("app:nobody"),
            Err(SandboxError::UnknownGroup {
                name: "nobody".into()
            })
        );
        for text in ["2147483648", "4294967296", "99999999999999999999"] {
            assert_eq!(ids(text), Err(SandboxError::IdRange { text: text.into() }));
        }
        assert!(ids("huge").is_err());
        assert!(ids("-1").is_err());
    }
}
