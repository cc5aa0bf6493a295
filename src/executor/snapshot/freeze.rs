//! The walk over an upper directory: metadata only, in parallel, times clamped in place.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Statx, Timespec, Timestamps, UTIME_OMIT};

use super::SnapshotError;
use super::compare::{self, Believed, Extended, Side};
use super::level::{Lowers, is_whiteout, state_of, type_of};
use super::parallel::{self, Perform};
use crate::clock::Epoch;
use crate::layer::{Contents, Encoding, LayerError, Written, write_layer};
use crate::rooted::{Links, Root, read_directory};
use crate::sys::xattr;
use crate::tree::{
    Device, Entry, Kind, OWNER_NOTE, TreePath, Unread, note_of_owner, owner_of_note,
};

/// Names of one directory that are done in one go.
const CHUNK: usize = 512;

/// How to freeze.
#[derive(Clone, Copy, Debug)]
pub struct FreezeOptions {
    /// Later times become this one, on disk too.
    pub epoch: Epoch,
    /// Which notes are the builder's.
    pub believed: Believed,
}

/// The changes of a step, listed but not read. The directory must not change any more; to be the
/// lower directory of other steps is fine.
#[derive(Debug)]
pub struct Frozen {
    root: Root,
    epoch: Epoch,
    entries: Vec<Entry<Unread>>,
}

/// Lists what a step changed. `upper` is its overlay upper directory, no longer mounted or at
/// least no longer written; `lowers` are the directories below it, top first.
///
/// Times later than the epoch are clamped on disk, fractions of seconds cut off, so that the
/// directory equals what unpacking its own layer would give. Costs a few system calls an entry and
/// reads no content, except of files that seem equal to those below. The root directory itself is
/// never part of a layer.
pub fn freeze(
    upper: &Path,
    lowers: &[PathBuf],
    options: &FreezeOptions,
) -> Result<Frozen, SnapshotError> {
    let open = |path: &Path| {
        Root::open(path).map_err(|source| SnapshotError::Open {
            path: path.to_owned(),
            source,
        })
    };
    let root = open(upper)?;
    let lowers: Vec<Root> = lowers
        .iter()
        .map(|path| open(path))
        .collect::<Result<_, _>>()?;
    let walk = Walk {
        root: &root,
        lowers: &lowers,
        options,
    };
    let top = Job::Directory {
        path: TreePath::root(),
        layers: (0..lowers.len()).collect(),
        opaque: false,
    };
    let found = parallel::run(top, &walk)?;
    Ok(Frozen {
        entries: canonical(found, options.epoch),
        root,
        epoch: options.epoch,
    })
}

impl Frozen {
    /// Findings made in another way than by [`freeze`].
    pub(super) fn of(root: Root, found: Vec<Found>, epoch: Epoch) -> Self {
        Self {
            entries: canonical(found, epoch),
            root,
            epoch,
        }
    }

    /// What changed, in tree order.
    pub fn entries(&self) -> &[Entry<Unread>] {
        &self.entries
    }

    /// Reads the contents and writes the layer (see [`write_layer`]).
    pub fn write(
        &self,
        encoding: Option<Encoding>,
        out: impl Write + Send,
    ) -> Result<Written, LayerError> {
        write_layer(&self.entries, self, self.epoch, encoding, out)
    }
}

impl Contents for Frozen {
    fn open(&self, _index: usize, path: &TreePath) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.root.open_file(path.as_bytes())?))
    }
}

/// What the walk found under one path.
pub(super) struct Found {
    pub(super) entry: Entry<Unread>,
    /// Whether the layers below show the same.
    pub(super) unchanged: bool,
    /// The inode of a file that has more names.
    pub(super) inode: Option<(u32, u32, u64)>,
}

/// Drops what is unchanged and settles which name of a file is the file.
fn canonical(mut found: Vec<Found>, epoch: Epoch) -> Vec<Entry<Unread>> {
    found.sort_by(|one, other| one.entry.path.cmp(&other.entry.path));
    // A file is unchanged only if it is so under all its names: a new name of an old file needs
    // the old one beside it to be a link to.
    let mut changed = BTreeSet::new();
    for found in found.iter().filter(|found| !found.unchanged) {
        changed.extend(found.inode);
    }
    let is_changed = |found: &Found| {
        !found.unchanged || found.inode.is_some_and(|inode| changed.contains(&inode))
    };
    found.retain(is_changed);
    let mut firsts: BTreeMap<(u32, u32, u64), TreePath> = BTreeMap::new();
    let mut entries = Vec::with_capacity(found.len());
    for Found {
        mut entry, inode, ..
    } in found
    {
        entry.mtime = entry.mtime.min(epoch.0);
        if let Some(inode) = inode {
            match firsts.get(&inode) {
                Some(first) => {
                    entry.kind = Kind::Hardlink {
                        target: first.clone(),
                    };
                }
                None => {
                    firsts.insert(inode, entry.path.clone());
                }
            }
        }
        entries.push(entry);
    }
    entries
}

/// A piece of the walk.
enum Job {
    Directory {
        path: TreePath,
        /// Layers that may have it too, top first.
        layers: Vec<usize>,
        /// Whether it hides what they have.
        opaque: bool,
    },
    Names {
        here: Arc<Here>,
        names: Vec<CString>,
    },
}

/// A directory being walked.
struct Here {
    path: TreePath,
    directory: OwnedFd,
    times: Timestamps,
    lowers: Lowers,
    opaque: bool,
    /// The group that it hands on to what is made in it, where the kernel has only one group.
    group: Option<u32>,
}

impl Here {
    /// Takes an unchanged file away, so that the one of below shows: it is not in the layer, and the next
    /// command has to see the same here as where the layers were unpacked. The directory keeps its times.
    fn show_below(&self, name: &CStr) -> io::Result<()> {
        rustix::fs::unlinkat(&self.directory, name, AtFlags::empty())?;
        Ok(rustix::fs::futimens(&self.directory, &self.times)?)
    }

    /// The walk of a directory in this one that hides what is below it.
    fn hiding(path: TreePath) -> Job {
        Job::Directory {
            path,
            layers: Vec::new(),
            opaque: false,
        }
    }

    /// The walk of a directory in this one that merges with those below.
    fn merging(&self, path: TreePath, opaque: bool) -> Job {
        Job::Directory {
            path,
            layers: self.lowers.layers.clone(),
            opaque: self.opaque || opaque,
        }
    }
}

struct Walk<'a> {
    root: &'a Root,
    lowers: &'a [Root],
    options: &'a FreezeOptions,
}

impl Perform<Job, Found> for Walk<'_> {
    fn job(
        &self,
        job: Job,
        found: &mut Vec<Found>,
        jobs: &mut Vec<Job>,
    ) -> Result<(), SnapshotError> {
        match job {
            Job::Directory {
                path,
                layers,
                opaque,
            } => self.directory(path, &layers, opaque, (found, jobs)),
            Job::Names { here, names } => self.names(&here, &names, found, jobs),
        }
    }
}

impl Walk<'_> {
    fn directory(
        &self,
        path: TreePath,
        layers: &[usize],
        opaque: bool,
        (found, jobs): (&mut Vec<Found>, &mut Vec<Job>),
    ) -> Result<(), SnapshotError> {
        let failed = |source| SnapshotError::Examine {
            path: path.clone(),
            source,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let opened = self.root.open_with(path.as_bytes(), Links::None, flags);
        let directory = opened.map_err(failed)?;
        let lowers = Lowers::open(self.lowers, layers, &path).map_err(failed)?;
        let entries = read_directory(directory.as_fd()).map_err(failed)?;
        let names: Vec<CString> = entries.into_iter().map(|entry| entry.name).collect();
        if opaque {
            let here: BTreeSet<&CStr> = names.iter().map(CString::as_c_str).collect();
            for name in lowers.names().map_err(failed)? {
                if !here.contains(name.as_c_str()) {
                    found.push(deleted(path.join_name(name.to_bytes())));
                }
            }
        }
        let group = self.group_of(directory.as_fd()).map_err(failed)?;
        let status = rustix::fs::fstat(&directory).map_err(|errno| failed(errno.into()))?;
        let times = crate::rooted::times_as_of(&status);
        let here = Here {
            path,
            directory,
            times,
            lowers,
            opaque,
            group,
        };
        if names.len() <= CHUNK {
            return self.names(&here, &names, found, jobs);
        }
        let here = Arc::new(here);
        jobs.extend(names.chunks(CHUNK).map(|names| Job::Names {
            here: Arc::clone(&here),
            names: names.to_vec(),
        }));
        Ok(())
    }

    fn names(
        &self,
        here: &Here,
        names: &[CString],
        found: &mut Vec<Found>,
        jobs: &mut Vec<Job>,
    ) -> Result<(), SnapshotError> {
        for name in names {
            self.name(here, name, found, jobs)?;
        }
        Ok(())
    }

    fn name(
        &self,
        here: &Here,
        name: &CStr,
        found: &mut Vec<Found>,
        jobs: &mut Vec<Job>,
    ) -> Result<(), SnapshotError> {
        let path = here.path.join_name(name.to_bytes());
        if name.to_bytes().starts_with(b".wh.") {
            return Err(SnapshotError::ReservedName { path });
        }
        let failed = |source| SnapshotError::Examine {
            path: path.clone(),
            source,
        };
        let directory = here.directory.as_fd();
        let Some(state) = state_of(directory, name).map_err(failed)? else {
            return Ok(());
        };
        let below = if here.lowers.is_empty() {
            None
        } else {
            here.lowers.find(name).map_err(failed)?
        };
        // Sockets cannot be in layers; what they replaced is gone.
        if is_whiteout(&state) || type_of(&state) == FileType::Socket {
            found.extend(below.map(|_| deleted(path)));
            return Ok(());
        }
        let extended = compare::extended(directory, name, self.options.believed);
        let extended = extended.map_err(failed)?;
        extended.strip((directory, name)).map_err(failed)?;
        if let Some(feature) = extended.foreign {
            return Err(SnapshotError::Redirected { path, feature });
        }
        if type_of(&state).is_dir() {
            let job = match &below {
                Some((state, _)) if type_of(state).is_dir() => {
                    here.merging(path.clone(), extended.opaque)
                }
                _ => Here::hiding(path.clone()),
            };
            jobs.push(job);
        }
        let owner = Self::owner(here, name, &state, &extended).map_err(failed)?;
        let (unchanged, mtime) = self.judge(
            (directory, name, &path),
            (&state, owner, extended.device),
            below.as_ref(),
            &extended.image,
        )?;
        if unchanged && is_apart(&state, below.as_ref()) {
            return here.show_below(name).map_err(failed);
        }
        let entry = Entry {
            kind: kind_of((directory, name), &state, extended.device).map_err(failed)?,
            path,
            mode: u32::from(state.stx_mode) & 0o7777,
            uid: owner.0,
            gid: owner.1,
            mtime,
            xattrs: extended.image,
        };
        found.push(Found {
            entry,
            unchanged,
            inode: inode_of_names(&state),
        });
        Ok(())
    }

    /// The group that a directory hands on: that of a set-gid one, where it is noted.
    fn group_of(&self, directory: BorrowedFd<'_>) -> io::Result<Option<u32>> {
        if !self.options.believed.owners {
            return Ok(None);
        }
        let state = rustix::fs::fstat(directory)?;
        if !Mode::from_raw_mode(state.st_mode).contains(Mode::SGID) {
            return Ok(None);
        }
        let note = xattr::get_at(directory, c".", OWNER_NOTE)?;
        let owner = note.as_deref().and_then(owner_of_note);
        Ok(owner.map(|(_, group)| group))
    }

    /// Whose something is in the layer.
    fn owner(
        here: &Here,
        name: &CStr,
        state: &Statx,
        extended: &Extended,
    ) -> io::Result<(u32, u32)> {
        let real = (state.stx_uid, state.stx_gid);
        if let Some(noted) = extended.owner {
            return Ok(noted);
        }
        if extended.copied_up {
            return Ok(real);
        }
        // The command made it. (Before or after the directory got its group, that is not known.)
        let owner = (real.0, here.group.unwrap_or(real.1));
        if owner != real {
            // The next command changes it without making it.
            note_owner((here.directory.as_fd(), name), state, owner)?;
        }
        Ok(owner)
    }

    /// Whether what is here is what is below, and its time, clamped on disk too.
    fn judge(
        &self,
        (directory, name, path): (BorrowedFd<'_>, &CStr, &TreePath),
        (state, owner, device): (&Statx, (u32, u32), Option<Device>),
        below: Option<&(Statx, BorrowedFd<'_>)>,
        image: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<(bool, i64), SnapshotError> {
        let clamped = || clamp((directory, name), state, self.options.epoch, path);
        let Some((below, lower)) = below else {
            return Ok((false, clamped()?));
        };
        // What the driver brought up without a change (the way to a change, a file opened for
        // writing) has the very time of below, however new that is: it is no change.
        let time = state.stx_mtime.tv_sec;
        let is_time_kept = same_time(state, below);
        let side = Side {
            directory,
            name,
            state: *state,
            owner,
            device,
            mtime: if is_time_kept {
                time
            } else {
                time.min(self.options.epoch.0)
            },
            image,
        };
        let unchanged =
            is_same(&side, *below, (*lower, self.options.believed)).map_err(|source| {
                SnapshotError::Examine {
                    path: path.clone(),
                    source,
                }
            })?;
        if unchanged && is_time_kept {
            return Ok((true, time));
        }
        Ok((unchanged, clamped()?))
    }
}

/// Whether a file stands apart here that is one of several names below.
fn is_apart(state: &Statx, below: Option<&(Statx, BorrowedFd<'_>)>) -> bool {
    let links = below.map_or(0, |(below, _)| below.stx_nlink);
    !type_of(state).is_dir() && state.stx_nlink == 1 && links > 1
}

/// The inode of a file that has more names.
fn inode_of_names(state: &Statx) -> Option<(u32, u32, u64)> {
    let has_names = state.stx_nlink > 1 && !type_of(state).is_dir();
    let inode = (state.stx_dev_major, state.stx_dev_minor, state.stx_ino);
    has_names.then_some(inode)
}

/// Notes an owner of what a command made.
fn note_owner(
    (directory, name): (BorrowedFd<'_>, &CStr),
    state: &Statx,
    owner: (u32, u32),
) -> io::Result<()> {
    let is_special = !(type_of(state).is_file() || type_of(state).is_dir());
    let (attribute, note) = note_of_owner(is_special, owner);
    xattr::set_at(directory, name, attribute, &note)
}

/// Whether two states have the same modification time, fractions included.
fn same_time(one: &Statx, other: &Statx) -> bool {
    let (one, other) = (one.stx_mtime, other.stx_mtime);
    (one.tv_sec, one.tv_nsec) == (other.tv_sec, other.tv_nsec)
}

/// Brings a time into the layer's form, on disk too.
pub(super) fn clamp(
    (directory, name): (BorrowedFd<'_>, &CStr),
    state: &Statx,
    epoch: Epoch,
    path: &TreePath,
) -> Result<i64, SnapshotError> {
    let time = state.stx_mtime;
    let seconds = time.tv_sec.min(epoch.0);
    if (seconds, 0) == (time.tv_sec, time.tv_nsec) {
        return Ok(seconds);
    }
    let omit = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    let times = Timestamps {
        last_access: omit,
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
    };
    rustix::fs::utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(
        |source| SnapshotError::Time {
            path: path.clone(),
            source: source.into(),
        },
    )?;
    Ok(seconds)
}

/// Whether the layers below show the same under a name.
fn is_same(
    side: &Side<'_>,
    state: Statx,
    (lower, believed): (BorrowedFd<'_>, Believed),
) -> io::Result<bool> {
    let attributes = compare::extended(lower, side.name, believed)?;
    let lower = Side {
        directory: lower,
        name: side.name,
        state,
        owner: attributes.owner.unwrap_or((state.stx_uid, state.stx_gid)),
        device: attributes.device,
        mtime: state.stx_mtime.tv_sec,
        image: &attributes.image,
    };
    compare::equal(side, &lower)
}

pub(super) fn deleted(path: TreePath) -> Found {
    Found {
        entry: Entry::whiteout(path),
        unchanged: false,
        inode: None,
    }
}

/// What a name is in a layer; `device` is what it stands for.
pub(super) fn kind_of(
    (directory, name): (BorrowedFd<'_>, &CStr),
    state: &Statx,
    device: Option<Device>,
) -> io::Result<Kind<Unread>> {
    if let Some(device) = device.filter(|_| type_of(state).is_file()) {
        return Ok(device.kind());
    }
    let (major, minor) = (state.stx_rdev_major, state.stx_rdev_minor);
    Ok(match type_of(state) {
        // What is hidden is said path by path.
        FileType::Directory => Kind::Directory { opaque: false },
        FileType::RegularFile => Kind::File {
            size: state.stx_size,
            content: Unread,
        },
        FileType::Symlink => Kind::Symlink {
            target: compare::link(directory, name)?,
        },
        FileType::CharacterDevice => Kind::CharDevice { major, minor },
        FileType::BlockDevice => Kind::BlockDevice { major, minor },
        FileType::Fifo => Kind::Fifo,
        FileType::Socket | FileType::Unknown => {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
    })
}
