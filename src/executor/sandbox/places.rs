//! What a command sees at a path, where nothing can be mounted: things are prepared aside, on the
//! same file system, and exchanged with what is at the path for as long as the command runs.
//!
//! A directory that is exchanged keeps its inode, so a cache goes in and comes back as it is, and
//! what the image has at the path is untouched meanwhile.

use std::ffi::{CString, OsStr, OsString};
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Uid, makedev};
use rustix::io::Errno;

use super::devices::{DEVICES, LINKS};
use super::error::SandboxError;
use super::files::Access;
use super::forward::Forward;
use super::inside::{Located, MountPoints, PointKind, times_of};
use super::kept::Kept;
use super::mounts::check_target;
use super::rootfs::open_directory;
use super::spec::{Bind, Inode, SandboxMount};
use super::{copying, supervisor};
use crate::rooted::{read_directory, remove_all_at};

/// What names begin with of things that stay for the next command in the same root.
const KEPT: &str = "kept-";

/// An exchange that has to be undone.
#[derive(Debug)]
struct Exchange {
    at: Located,
    /// Where the thing came from, and the image's own is meanwhile.
    home: OwnedFd,
    name: OsString,
    target: String,
}

/// The exchanges of one command.
#[derive(Debug)]
pub(super) struct Places<'root> {
    points: MountPoints<'root>,
    /// Where things are prepared.
    work: OwnedFd,
    exchanges: Vec<Exchange>,
    /// Sockets that lead out, once the command was started.
    forwards: Vec<Forward>,
    /// Files of several names among what was copied.
    shared: Vec<Inode>,
    secrets: Vec<Secret>,
    prepared: u32,
}

/// A file that is emptied when it is let go, whatever names the command has given it meanwhile.
#[derive(Debug)]
struct Secret(std::fs::File);

impl Drop for Secret {
    fn drop(&mut self) {
        let emptied = self.0.set_len(0);
        debug_assert!(emptied.is_ok(), "a file that is open can be emptied");
    }
}

impl<'root> Places<'root> {
    /// Starts with nothing exchanged. `work` is an empty directory on the file system of `root`.
    pub(super) fn new(root: BorrowedFd<'root>, work: OwnedFd) -> Self {
        Self {
            points: MountPoints::new(root),
            work,
            exchanges: Vec::new(),
            forwards: Vec::new(),
            shared: Vec::new(),
            secrets: Vec::new(),
            prepared: 0,
        }
    }

    /// Puts a directory at a path that stays in the layer if the image lacks it; `fill` fills it,
    /// unless the one of the command before is as it was made. Gives the directory.
    pub(super) fn keep_directory(
        &mut self,
        target: &str,
        fill: impl FnOnce(BorrowedFd<'_>) -> Result<(), SandboxError>,
    ) -> Result<OwnedFd, SandboxError> {
        let name = OsString::from(format!("{KEPT}{}", target.trim_start_matches('/')));
        let mut kept = Kept::new(self.work.as_fd(), &name);
        let directory = if let Some(directory) = kept.directory() {
            directory
        } else {
            let directory = self.make_directory(target, name.clone(), 0o755)?;
            fill(directory.as_fd())?;
            kept.remember(&directory);
            directory
        };
        let at = self.points.locate_or_keep(target);
        let at = at.map_err(|errno| point_error(target, errno))?;
        self.exchange(target, at, None, name)?;
        Ok(directory)
    }

    /// Puts a file at a path.
    pub(super) fn file(
        &mut self,
        target: &str,
        content: &[u8],
        access: Access,
    ) -> Result<(), SandboxError> {
        self.written(target, content, access).map(drop)
    }

    /// The same; gives the file.
    fn written(
        &mut self,
        target: &str,
        content: &[u8],
        access: Access,
    ) -> Result<std::fs::File, SandboxError> {
        let name = self.name();
        let write = || -> Result<std::fs::File, Errno> {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&self.work, &name, flags, Mode::from(0o600))?;
            let mut file = std::fs::File::from(file);
            let written = file.write_all(content);
            written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            let (uid, gid) = (Uid::from_raw(access.uid), Gid::from_raw(access.gid));
            rustix::fs::fchown(&file, Some(uid), Some(gid))?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(access.mode & 0o7777))?;
            Ok(file)
        };
        let file = write().map_err(|errno| SandboxError::WriteFile {
            name: target.to_owned(),
            source: errno.into(),
        })?;
        self.put(target, PointKind::File, None, name)?;
        Ok(file)
    }

    /// Puts what the step's mounts show at their targets.
    pub(super) fn mounts(&mut self, mounts: &[SandboxMount]) -> Result<(), SandboxError> {
        for mount in mounts {
            check_target(mount.target())?;
            match mount {
                SandboxMount::Bind(bind) => self.bind(bind)?,
                SandboxMount::Overlay {
                    target,
                    lowers,
                    source,
                    ..
                } => match lowers.first() {
                    Some(tree) => self.copied(target, &open_directory(tree)?, source)?,
                    None => self.directory(target, 0o755)?,
                },
                SandboxMount::Tmpfs { target, .. } => self.directory(target, 0o1777)?,
                SandboxMount::Secret {
                    target,
                    data,
                    mode,
                    uid,
                    gid,
                } => {
                    let access = Access {
                        mode: *mode,
                        uid: *uid,
                        gid: *gid,
                    };
                    let file = self.written(target, data, access)?;
                    self.secrets.push(Secret(file));
                }
            }
        }
        Ok(())
    }

    /// The files of several names that were put somewhere.
    pub(super) fn take_shared(&mut self) -> Vec<Inode> {
        std::mem::take(&mut self.shared)
    }

    /// The sockets that lead out; connections to them wait until they are started.
    pub(super) fn take_forwards(&mut self) -> Vec<Forward> {
        std::mem::take(&mut self.forwards)
    }

    /// The files with the step's secrets.
    pub(super) fn secrets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.secrets.iter().map(|secret| secret.0.as_fd())
    }

    /// Undoes all exchanges, the last first, and removes what was made. No process may be left
    /// that works in the root.
    pub(super) fn clean_up(mut self) -> Result<(), SandboxError> {
        // What the command has linked or moved is part of its layer, but empty.
        self.secrets.clear();
        while let Some(exchange) = self.exchanges.pop() {
            undo(&exchange).map_err(|errno| exchange_error(&exchange.target, errno))?;
        }
        let clean_up = |source| SandboxError::CleanUp { source };
        self.points
            .clean_up()
            .map_err(|errno| clean_up(errno.into()))?;
        let work = reopen(&self.work).map_err(|errno| clean_up(errno.into()))?;
        for entry in read_directory(work.as_fd()).map_err(|error| clean_up(error.into()))? {
            if entry.name.to_bytes().starts_with(KEPT.as_bytes()) {
                continue;
            }
            remove_all_at(work.as_fd(), &entry.name).map_err(|error| clean_up(error.into()))?;
        }
        Ok(())
    }

    fn name(&mut self) -> OsString {
        self.prepared += 1;
        OsString::from(format!("place-{}", self.prepared))
    }

    fn make_directory(
        &self,
        target: &str,
        name: OsString,
        mode: u32,
    ) -> Result<OwnedFd, SandboxError> {
        let make = || -> Result<OwnedFd, Errno> {
            rustix::fs::mkdirat(&self.work, &name, Mode::RWXU)?;
            rustix::fs::chmodat(
                &self.work,
                &name,
                Mode::from_raw_mode(mode),
                AtFlags::empty(),
            )?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(&self.work, &name, flags, Mode::empty())
        };
        make().map_err(|errno| SandboxError::WriteFile {
            name: target.to_owned(),
            source: errno.into(),
        })
    }

    fn directory(&mut self, target: &str, mode: u32) -> Result<(), SandboxError> {
        let name = self.name();
        self.make_directory(target, name.clone(), mode)?;
        self.put(target, PointKind::Directory, None, name)
    }

    /// A cache goes in as it is; it comes back by its descriptor's parent.
    fn bind(&mut self, bind: &Bind) -> Result<(), SandboxError> {
        let open_error = |source: Errno| SandboxError::Open {
            path: bind.host.clone(),
            source: source.into(),
        };
        let status = rustix::fs::stat(&bind.host).map_err(open_error)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Socket {
            return self.socket(bind);
        }
        // What is written to a copy is lost, as it must be where nothing may be written.
        if bind.readonly || !bind.source.trim_matches('/').is_empty() {
            return self.copied(&bind.target, &open_directory(&bind.host)?, &bind.source);
        }
        let (Some(parent), Some(name)) = (bind.host.parent(), bind.host.file_name()) else {
            return Err(open_error(Errno::INVAL));
        };
        let home = open_directory(parent)?;
        self.put(
            &bind.target,
            PointKind::Directory,
            Some(home),
            name.to_owned(),
        )
    }

    /// A socket of our own, from which connections are passed on.
    fn socket(&mut self, bind: &Bind) -> Result<(), SandboxError> {
        let name = self.name();
        let made = Forward::new(self.work.as_fd(), &name, bind.host.clone());
        self.forwards
            .push(made.map_err(|error| SandboxError::WriteFile {
                name: bind.target.clone(),
                source: error.into(),
            })?);
        self.put(&bind.target, PointKind::File, None, name)
    }

    /// A copy of what `source` names inside of `tree`: what the command writes to it is lost.
    fn copied(&mut self, target: &str, tree: &OwnedFd, source: &str) -> Result<(), SandboxError> {
        let path = source.trim_start_matches('/');
        let found = if path.is_empty() {
            rustix::io::fcntl_dupfd_cloexec(tree, 3)
        } else {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            rustix::fs::openat2(tree, path, flags, Mode::empty(), resolve)
        };
        let found = found.map_err(|errno| SandboxError::MountSource {
            target: target.to_owned(),
            path: source.to_owned(),
            source: errno.into(),
        })?;
        let copy_error = |error: std::io::Error| SandboxError::CopyIn {
            target: target.to_owned(),
            source: error.into(),
        };
        let status = rustix::fs::fstat(&found).map_err(|errno| copy_error(errno.into()))?;
        let kind = match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => PointKind::Directory,
            _ => PointKind::File,
        };
        let name = self.name();
        let c_name = c_name(&name).map_err(|errno| copy_error(errno.into()))?;
        let shared = copying::copy(&found, (self.work.as_fd(), &c_name)).map_err(copy_error)?;
        self.shared.extend(shared);
        self.put(target, kind, None, name)
    }

    /// Exchanges `name` of `home` (or of the work directory) with what is at `target`.
    fn put(
        &mut self,
        target: &str,
        kind: PointKind,
        home: Option<OwnedFd>,
        name: OsString,
    ) -> Result<(), SandboxError> {
        let at = self.points.locate(target, kind);
        let at = at.map_err(|errno| point_error(target, errno))?;
        self.exchange(target, at, home, name)
    }

    fn exchange(
        &mut self,
        target: &str,
        at: Located,
        home: Option<OwnedFd>,
        name: OsString,
    ) -> Result<(), SandboxError> {
        let exchange = || -> Result<(), Errno> {
            let home = match home {
                Some(home) => home,
                None => rustix::io::fcntl_dupfd_cloexec(&self.work, 3)?,
            };
            swap((at.parent.as_fd(), &at.name), (home.as_fd(), &name))?;
            let target = target.to_owned();
            self.exchanges.push(Exchange {
                at,
                home,
                name,
                target,
            });
            Ok(())
        };
        exchange().map_err(|errno| exchange_error(target, errno))
    }
}

/// Exchanges two names; the time of the first one's directory stays.
fn swap(
    (parent, name): (BorrowedFd<'_>, &OsStr),
    (home, other): (BorrowedFd<'_>, &OsStr),
) -> Result<(), Errno> {
    let times = times_of(parent, OsStr::new("."))?;
    rustix::fs::renameat_with(home, other, parent, name, RenameFlags::EXCHANGE)?;
    rustix::fs::utimensat(parent, ".", &times, AtFlags::empty())
}

/// Takes a thing back and puts the image's own in its place, whatever the command made of it.
fn undo(exchange: &Exchange) -> Result<(), Errno> {
    let Exchange { at, home, name, .. } = exchange;
    match swap((at.parent.as_fd(), &at.name), (home.as_fd(), name)) {
        Err(Errno::NOENT) => (),
        other => return other,
    }
    // The command removed it, perhaps with the directory that it was in: then the image's own
    // went the same way.
    let Ok(times) = times_of(at.parent.as_fd(), OsStr::new(".")) else {
        return Ok(());
    };
    match rustix::fs::renameat(home, name, &at.parent, &at.name) {
        Ok(()) => rustix::fs::utimensat(&at.parent, ".", &times, AtFlags::empty()),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Fills a /dev: nodes of our own, so that a command may change their modes; stand-ins if the kernel lets us
/// make none, or lets nobody open them.
pub(super) fn fill_dev(dev: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let failed = |name: &str, errno: Errno| SandboxError::Device {
        name: name.to_owned(),
        source: errno.into(),
    };
    match make_nodes(dev) {
        Ok(()) => (),
        Err((_, Errno::PERM | Errno::ACCESS)) => {
            for (name, ..) in DEVICES {
                let _ = rustix::fs::unlinkat(dev, name, AtFlags::empty());
            }
            supervisor::make_stand_ins(dev)?;
        }
        Err((name, errno)) => return Err(failed(name, errno)),
    }
    for (link, target) in LINKS.iter().filter(|(link, _)| *link != "ptmx") {
        rustix::fs::symlinkat(*target, dev, *link).map_err(|errno| failed(link, errno))?;
    }
    for (name, mode) in [("shm", 0o1777), ("mqueue", 0o1777), ("pts", 0o755)] {
        let mode = Mode::from_raw_mode(mode);
        rustix::fs::mkdirat(dev, name, mode)
            .and_then(|()| rustix::fs::chmodat(dev, name, mode, AtFlags::empty()))
            .map_err(|errno| failed(name, errno))?;
    }
    Ok(())
}

/// Makes the devices, and sees whether one can be opened.
fn make_nodes(dev: BorrowedFd<'_>) -> Result<(), (&'static str, Errno)> {
    for (name, major, minor) in DEVICES {
        let (mode, number) = (Mode::from(0o666), makedev(major, minor));
        rustix::fs::mknodat(dev, name, FileType::CharacterDevice, mode, number)
            .and_then(|()| rustix::fs::chmodat(dev, name, mode, AtFlags::empty()))
            .map_err(|errno| (name, errno))?;
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(dev, "null", flags, Mode::empty());
    opened.map(drop).map_err(|errno| ("null", errno))
}

fn point_error(target: &str, errno: Errno) -> SandboxError {
    SandboxError::MountPoint {
        target: target.to_owned(),
        source: errno.into(),
    }
}

fn exchange_error(target: &str, errno: Errno) -> SandboxError {
    SandboxError::Exchange {
        target: target.to_owned(),
        source: errno.into(),
    }
}

fn c_name(name: &OsStr) -> Result<CString, Errno> {
    CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)
}

fn reopen(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(directory, c".", flags, Mode::empty())
}
