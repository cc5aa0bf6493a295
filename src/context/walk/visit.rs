//! Looking at one directory after the other.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Mode, Statx};
use rustix::io::Errno;

use super::assembly::{Chunk, Slot, assemble};
use super::content::digest_file;
use super::listing::{Names, Span};
use crate::context::ContextError;
use crate::context::index::{Block, Known, StatIndex, Visited};
use crate::context::local::Modes;
use crate::context::root::{DIRECTORY, FILE};
use crate::context::stamp::{MASK, Stamp};
use crate::context::wanted::Reach;
use crate::digest::ContentDigest;
use crate::pattern::{Ignore, Inherited};
use crate::tree::{Entry, Kind, TreePath};

/// The longest path of a context in bytes; Linux's own limit for one call.
const PATH_MAX: usize = 4096;

/// Names of one directory that one thread works on at a time. Not fewer: a thread that waits for
/// the others' parts works on other directories meanwhile, one on top of the other.
const NAMES_PER_TASK: usize = 512;

/// How to walk.
#[derive(Debug)]
pub(in crate::context) struct Walk<'a> {
    pub(in crate::context) ignore: &'a Ignore,
    pub(in crate::context) index: &'a StatIndex,
    pub(in crate::context) modes: Modes,
    /// The clock when the walk began, and whether the file system has one of its own.
    pub(in crate::context) now_ns: i64,
    pub(in crate::context) coarse: bool,
    pub(in crate::context) progress: Progress,
}

/// What a walk has done so far.
#[derive(Debug, Default)]
pub(in crate::context) struct Progress {
    chunks: Mutex<Vec<Chunk>>,
    directories: AtomicUsize,
    failure: Mutex<Option<ContextError>>,
    failed: AtomicBool,
    hashed_files: AtomicU64,
    hashed_bytes: AtomicU64,
}

/// What a walk found.
#[derive(Debug)]
pub(in crate::context) struct Found {
    pub(in crate::context) entries: Vec<Entry>,
    /// Directories, sorted by path, with what was learned in them.
    pub(in crate::context) visited: Vec<Visited>,
    pub(in crate::context) hashed_files: u64,
    pub(in crate::context) hashed_bytes: u64,
}

/// A directory to walk.
struct Task<'a> {
    id: usize,
    directory: OwnedFd,
    path: TreePath,
    inherited: Inherited,
    reach: Reach<'a>,
}

/// A directory to walk, not opened yet.
struct Below<'a> {
    inherited: Inherited,
    reach: Reach<'a>,
}

/// One name that is wanted.
struct Seen<'a> {
    slot: Slot,
    stamp: Stamp,
    /// Whether the digest is worth remembering, and whether it was learned now.
    settled: bool,
    learned: bool,
    below: Option<Below<'a>>,
}

impl<'a> Walk<'a> {
    /// Walks from `root`.
    pub(in crate::context) fn run(
        self,
        root: OwnedFd,
        reach: Reach<'a>,
    ) -> Result<Found, ContextError> {
        let task = Task {
            id: self.progress.directories.fetch_add(1, Ordering::Relaxed),
            directory: root,
            path: TreePath::root(),
            inherited: Inherited::default(),
            reach,
        };
        rayon::scope(|scope| self.visit(scope, task));
        let progress = self.progress;
        let failure = progress.failure.into_inner();
        if let Some(error) = failure.unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let chunks = progress.chunks.into_inner();
        let (entries, visited) = assemble(chunks.unwrap_or_else(PoisonError::into_inner));
        Ok(Found {
            entries,
            visited,
            hashed_files: progress.hashed_files.into_inner(),
            hashed_bytes: progress.hashed_bytes.into_inner(),
        })
    }

    fn visit<'s>(&'s self, scope: &rayon::Scope<'s>, task: Task<'s>) {
        if self.progress.failed.load(Ordering::Relaxed) {
            return;
        }
        let directory = Arc::new(task.directory);
        let names = match Names::read(&directory, &task.reach) {
            Ok(names) => names,
            Err(source) => return self.fail(task.path, source),
        };
        let place = Place {
            directory: &directory,
            path: &task.path,
            inherited: &task.inherited,
            reach: &task.reach,
        };
        let known = self.index.directory(task.path.as_bytes());
        let seen = if names.spans.len() > 2 * NAMES_PER_TASK {
            let parts = names.spans.par_chunks(NAMES_PER_TASK);
            let parts: Vec<_> = parts
                .map(|spans| self.see(&place, &names, spans, &known))
                .collect();
            parts.into_iter().flatten().collect()
        } else {
            self.see(&place, &names, &names.spans, &known)
        };
        let block = seen
            .iter()
            .any(|seen| seen.learned && seen.settled)
            .then(|| block(&names, &known, &seen));
        let slots = seen
            .into_iter()
            .map(|seen| self.descend(scope, &directory, seen))
            .collect();
        lock(&self.progress.chunks).push(Chunk {
            id: task.id,
            path: task.path.as_bytes().to_vec(),
            slots,
            block,
        });
    }

    /// Starts the walk of a directory that was seen.
    fn descend<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        parent: &Arc<OwnedFd>,
        seen: Seen<'s>,
    ) -> Slot {
        let mut slot = seen.slot;
        if let Some(below) = seen.below {
            let id = self.progress.directories.fetch_add(1, Ordering::Relaxed);
            slot.below = Some(id);
            let (parent, path) = (Arc::clone(parent), slot.entry.path.clone());
            scope.spawn(move |scope| {
                let opened = rustix::fs::openat(&*parent, path.name(), DIRECTORY, Mode::empty());
                drop(parent);
                match opened {
                    Ok(directory) => self.visit(
                        scope,
                        Task {
                            id,
                            directory,
                            path,
                            inherited: below.inherited,
                            reach: below.reach,
                        },
                    ),
                    // Gone, or no directory any more.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(errno) => self.fail(path, errno.into()),
                }
            });
        }
        slot
    }

    /// Looks at some names of a directory, in order.
    fn see<'s>(
        &self,
        place: &Place<'_, 's>,
        names: &Names,
        spans: &[Span],
        known: &[Known<'_>],
    ) -> Vec<Seen<'s>> {
        let first = spans.first().map_or(&b""[..], |span| names.bytes(span));
        let start = known.partition_point(|known| known.name < first);
        let mut known = known[start..].iter().peekable();
        let mut buffer = Vec::new();
        let mut all = Vec::with_capacity(spans.len());
        for span in spans {
            if self.progress.failed.load(Ordering::Relaxed) {
                break;
            }
            let name = names.bytes(span);
            while known.next_if(|known| known.name < name).is_some() {}
            let known = known.peek().filter(|known| known.name == name).copied();
            match self.see_one(
                place,
                (names.c_str(span), span.file_type),
                known,
                &mut buffer,
            ) {
                Ok(Some(seen)) => all.push(seen),
                Ok(None) => {}
                // Gone since the directory was listed, or asked for and never there.
                Err(error) if is_absence(&error) => {}
                Err(error) => self.fail(place.path.join_name(name), error),
            }
        }
        all
    }

    /// Looks at one name: what it is if it is wanted.
    fn see_one<'s>(
        &self,
        place: &Place<'_, 's>,
        (name, file_type): (&CStr, FileType),
        known: Option<&Known<'_>>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Option<Seen<'s>>> {
        let path = place.path.join_name(name.to_bytes());
        let Some(reach) = place.reach.child(path.as_bytes(), name.to_bytes()) else {
            return Ok(None);
        };
        let stated = match file_type {
            FileType::Unknown => Some(self.stat(place.directory, name)?),
            _ => None,
        };
        let is_directory = match &stated {
            Some(stat) => FileType::from_raw_mode(u32::from(stat.stx_mode)).is_dir(),
            None => file_type.is_dir(),
        };
        let Some((below, provisional)) = self.filter(&path, place.inherited, reach, is_directory)
        else {
            return Ok(None);
        };
        if path.as_bytes().len() >= PATH_MAX {
            return Err(io::Error::other("path is longer than 4095 bytes"));
        }
        let stat = match stated {
            Some(stat) => stat,
            None => self.stat(place.directory, name)?,
        };
        let stamp = Stamp::from_stat(&stat);
        // It became something else since the directory was listed: what it was then is gone.
        if stamp.file_type().is_dir() != is_directory {
            return Ok(None);
        }
        let content = Content {
            directory: place.directory,
            name,
            known,
        };
        let read = self.kind(&stat, stamp, &content, buffer)?;
        let shared = stat.stx_nlink > 1 && stamp.file_type().is_file();
        let slot = Slot {
            entry: self.entry(path, read.kind, &read.stamp),
            shared: shared.then_some((stamp.device, stamp.inode)),
            below: None,
            provisional,
        };
        Ok(Some(Seen {
            slot,
            stamp: read.stamp,
            settled: read.settled,
            learned: read.learned,
            below: is_directory.then_some(below),
        }))
    }

    /// Applies the ignore rules: `None` if the path is out, else how to go on below it and whether
    /// it counts only for what is there.
    fn filter<'s>(
        &self,
        path: &TreePath,
        inherited: &Inherited,
        reach: Reach<'s>,
        is_directory: bool,
    ) -> Option<(Below<'s>, bool)> {
        let through = matches!(reach, Reach::Some(_));
        if !is_directory {
            let out = through || self.ignore.excludes(path.as_bytes(), inherited);
            let inherited = Inherited::default();
            return (!out).then_some((Below { inherited, reach }, false));
        }
        let (excluded, inherited) = self.ignore.enter(path.as_bytes(), inherited);
        if excluded && !self.ignore.may_reinclude_below(path.as_bytes(), &inherited) {
            return None;
        }
        Some((Below { inherited, reach }, through || excluded))
    }

    fn stat(&self, directory: &OwnedFd, name: &CStr) -> io::Result<Statx> {
        let mut flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        if self.coarse {
            // What a network file system remembers may be older than the file.
            flags |= AtFlags::STATX_FORCE_SYNC;
        }
        Ok(rustix::fs::statx(directory, name, flags, MASK)?)
    }

    fn entry(&self, path: TreePath, kind: Kind, stamp: &Stamp) -> Entry {
        let mode = match self.modes {
            Modes::Source => stamp.permissions(),
            Modes::Git => match kind {
                Kind::File { .. } if stamp.permissions() & 0o111 == 0 => 0o644,
                Kind::Symlink { .. } => 0o777,
                _ => 0o755,
            },
        };
        Entry {
            path,
            kind,
            mode,
            uid: 0,
            gid: 0,
            mtime: stamp.mtime_seconds(),
            xattrs: BTreeMap::new(),
        }
    }

    fn kind(
        &self,
        stat: &Statx,
        stamp: Stamp,
        content: &Content<'_>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<Read> {
        let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
        let kind = match stamp.file_type() {
            FileType::Directory => Kind::Directory { opaque: false },
            FileType::RegularFile => return self.file(stamp, content, buffer),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(content.directory, content.name, Vec::new())?;
                Kind::Symlink {
                    target: target.into_bytes(),
                }
            }
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            // As BuildKit: a socket arrives as an empty file (dockerfile.md §2.3).
            FileType::Socket | FileType::Unknown => Kind::File {
                size: 0,
                content: ContentDigest::of(b""),
            },
        };
        Ok(Read {
            kind,
            stamp,
            settled: false,
            learned: false,
        })
    }

    /// A regular file's digest: known, or read now.
    fn file(&self, stamp: Stamp, content: &Content<'_>, buffer: &mut Vec<u8>) -> io::Result<Read> {
        if let Some(digest) = content.known.and_then(|known| known.digest(&stamp)) {
            let kind = Kind::File {
                size: stamp.size,
                content: digest,
            };
            return Ok(Read {
                kind,
                stamp,
                settled: true,
                learned: false,
            });
        }
        let file = rustix::fs::openat(content.directory, content.name, FILE, Mode::empty())?;
        let (digest, size, stamp, calm) = digest_file(file, buffer)?;
        self.progress.hashed_files.fetch_add(1, Ordering::Relaxed);
        self.progress
            .hashed_bytes
            .fetch_add(size, Ordering::Relaxed);
        Ok(Read {
            kind: Kind::File {
                size,
                content: digest,
            },
            settled: calm && stamp.is_settled(self.now_ns, self.coarse),
            stamp,
            learned: true,
        })
    }

    /// Keeps the first failure in tree order of those that happen.
    fn fail(&self, path: TreePath, source: io::Error) {
        self.progress.failed.store(true, Ordering::Relaxed);
        let mut failure = lock(&self.progress.failure);
        let earlier = match &*failure {
            Some(ContextError::Read { path: other, .. }) => path < *other,
            _ => true,
        };
        if earlier {
            *failure = Some(ContextError::Read { path, source });
        }
    }
}

/// The directory that is being looked at.
struct Place<'p, 's> {
    directory: &'p OwnedFd,
    path: &'p TreePath,
    inherited: &'p Inherited,
    reach: &'p Reach<'s>,
}

/// A file that may have to be read.
struct Content<'a> {
    directory: &'a OwnedFd,
    name: &'a CStr,
    known: Option<&'a Known<'a>>,
}

/// What a name turned out to be.
struct Read {
    kind: Kind,
    stamp: Stamp,
    settled: bool,
    learned: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidFilename
    )
}

/// The new index block of a directory: what was seen, and what was known of names that were not
/// asked for and still exist.
fn block(names: &Names, known: &[Known<'_>], seen: &[Seen<'_>]) -> Block {
    let mut block = Block::default();
    let mut known = known.iter().peekable();
    let keep = |known: &Known<'_>| !names.complete || names.contains(known.name);
    for seen in seen {
        let name = seen.slot.entry.path.name();
        while let Some(known) = known.next_if(|known| known.name < name) {
            if keep(known) {
                block.push_known(known);
            }
        }
        known.next_if(|known| known.name == name);
        if let (true, Kind::File { content, .. }) = (seen.settled, &seen.slot.entry.kind) {
            block.push(name, &seen.stamp, content);
        }
    }
    for known in known.filter(|known| keep(known)) {
        block.push_known(known);
    }
    block
}
