//! The stat index: path and stamp → content digest, one file for each context directory.
//!
//! ```text
//! "BLDSTAT" version  u32 crc32 of the rest  u32 directories
//! directory, sorted by path:  u32 length, path  u8 age  u32 entries  u32 length, block
//! entry of a block, sorted by name:  u16 length, name  stamp (44 bytes)  digest (32 bytes)
//! ```
//!
//! Numbers are little-endian. Only settled stamps are ever written (see [`super::stamp`]), so a
//! match is always right. A file that is missing, damaged or of another version is an empty index.
//! It is written only when something was learned, to a temporary file that is renamed.
//! Directories that a build does not visit age with each writing and are dropped in the end.

use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use super::stamp::Stamp;
use crate::digest::ContentDigest;

const MAGIC: &[u8; 8] = b"BLDSTAT\x01";
const HEADER: usize = 16;
const STAMP: usize = 44;
const DIGEST: usize = 32;

/// Writings that a directory survives without being visited.
const AGE_MAX: u8 = 16;

/// The largest file that is read, in bytes: ten million files.
const SIZE_MAX: u64 = 1 << 30;

/// What is known, as read from disk.
#[derive(Debug, Default)]
pub(super) struct StatIndex {
    bytes: Vec<u8>,
    directories: Vec<Directory>,
}

#[derive(Debug)]
struct Directory {
    path: Range<usize>,
    age: u8,
    entries: u32,
    block: Range<usize>,
}

/// One file of a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    /// Its name.
    pub(super) name: &'a [u8],
    stamp: &'a [u8],
    digest: &'a [u8],
}

impl Known<'_> {
    /// The digest, if the file still has the stamp.
    pub(super) fn digest(&self, stamp: &Stamp) -> Option<ContentDigest> {
        if self.stamp != encode(stamp) {
            return None;
        }
        let bytes = self.digest.try_into().ok()?;
        Some(ContentDigest::from_bytes(bytes))
    }
}

/// The entries of one directory, being written.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    entries: u32,
}

impl Block {
    /// Adds a file; names must come in order.
    pub(super) fn push(&mut self, name: &[u8], stamp: &Stamp, digest: &ContentDigest) {
        self.push_raw(name, &encode(stamp), digest.as_bytes());
    }

    /// Adds what was known before.
    pub(super) fn push_known(&mut self, known: &Known<'_>) {
        self.push_raw(known.name, known.stamp, known.digest);
    }

    fn push_raw(&mut self, name: &[u8], stamp: &[u8], digest: &[u8]) {
        let Ok(length) = u16::try_from(name.len()) else {
            return;
        };
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(stamp);
        self.bytes.extend_from_slice(digest);
        self.entries += 1;
    }
}

/// A directory that was visited: its path, and its new block if anything was learned in it.
pub(super) type Visited = (Vec<u8>, Option<Block>);

impl StatIndex {
    /// Reads an index; anything but a good one is empty.
    pub(super) fn load(path: &Path) -> Self {
        let small = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= SIZE_MAX);
        if !small {
            return Self::default();
        }
        fs::read(path)
            .ok()
            .and_then(Self::parse)
            .unwrap_or_default()
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let rest = bytes.get(HEADER - 4..)?;
        let crc = u32::from_le_bytes(bytes.get(8..12)?.try_into().ok()?);
        if bytes.get(..8)? != MAGIC || crc32fast::hash(rest) != crc {
            return None;
        }
        let mut cursor = Cursor {
            bytes: &bytes,
            at: HEADER - 4,
        };
        let count = cursor.u32()?;
        let mut directories = Vec::new();
        for _ in 0..count {
            let path = cursor.range()?;
            let age = *bytes.get(cursor.skip(1)?.start)?;
            let entries = cursor.u32()?;
            let block = cursor.range()?;
            directories.push(Directory {
                path,
                age,
                entries,
                block,
            });
        }
        Some(Self { bytes, directories })
    }

    /// What is known of the files of a directory, sorted by name.
    pub(super) fn directory(&self, path: &[u8]) -> Vec<Known<'_>> {
        let found = self
            .directories
            .binary_search_by(|directory| self.bytes[directory.path.clone()].cmp(path));
        let Some(directory) = found.ok().and_then(|at| self.directories.get(at)) else {
            return Vec::new();
        };
        let bytes = &self.bytes[directory.block.clone()];
        let mut cursor = Cursor { bytes, at: 0 };
        let mut known = Vec::with_capacity(bytes.len() / (STAMP + DIGEST + 2));
        for _ in 0..directory.entries {
            match cursor.known() {
                Some(entry) => known.push(entry),
                None => return Vec::new(),
            }
        }
        known
    }

    /// Writes an index of what was visited and of what else was known, atomically. `visited` is
    /// sorted by path.
    ///
    /// # Errors
    /// Any I/O error; the old index then still stands.
    pub(super) fn store(&self, path: &Path, visited: &[Visited]) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let file = tempfile::NamedTempFile::new_in(directory)?;
        self.write(file.as_file(), visited)?;
        file.persist(path)?;
        Ok(())
    }

    fn write(&self, file: &fs::File, visited: &[Visited]) -> io::Result<()> {
        let mut out = Output {
            inner: io::BufWriter::with_capacity(1 << 18, file),
            crc: crc32fast::Hasher::new(),
        };
        let merged = self.merged(visited);
        out.inner.write_all(MAGIC)?;
        out.inner.write_all(&[0; 4])?;
        out.u32(merged.len())?;
        for (path, age, entries, block) in merged {
            out.framed(path)?;
            out.bytes(&[age])?;
            out.bytes(&entries.to_le_bytes())?;
            out.framed(block)?;
        }
        out.inner.flush()?;
        let crc = out.crc.finalize();
        rustix::io::pwrite(file, &crc.to_le_bytes(), 8)?;
        Ok(())
    }

    /// What the new index holds: path, age, entries, block, sorted by path.
    fn merged<'a>(&'a self, visited: &'a [Visited]) -> Vec<(&'a [u8], u8, u32, &'a [u8])> {
        let old = |directory: &Directory, age: u8| {
            let path = &self.bytes[directory.path.clone()];
            let block = &self.bytes[directory.block.clone()];
            (path, age, directory.entries, block)
        };
        let mut merged = Vec::with_capacity(visited.len() + self.directories.len());
        let mut earlier = self.directories.iter().peekable();
        let keep_unvisited = |directory: &Directory| {
            (directory.age < AGE_MAX).then(|| old(directory, directory.age + 1))
        };
        for (path, block) in visited {
            while let Some(directory) =
                earlier.next_if(|old| self.bytes[old.path.clone()] < path[..])
            {
                merged.extend(keep_unvisited(directory));
            }
            let same = earlier.next_if(|old| self.bytes[old.path.clone()] == path[..]);
            match (block, same) {
                (Some(block), _) if block.entries > 0 => {
                    merged.push((path.as_slice(), 0, block.entries, block.bytes.as_slice()));
                }
                (None, Some(directory)) => merged.push(old(directory, 0)),
                _ => {}
            }
        }
        merged.extend(earlier.filter_map(keep_unvisited));
        merged
    }
}

/// Hashes what it writes.
struct Output<W> {
    inner: W,
    crc: crc32fast::Hasher,
}

impl<W: Write> Output<W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.inner.write_all(bytes)
    }

    fn u32(&mut self, number: usize) -> io::Result<()> {
        let number = u32::try_from(number).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.bytes(&number.to_le_bytes())
    }

    fn framed(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.u32(bytes.len())?;
        self.bytes(bytes)
    }
}

/// Reads without ever leaving the bytes.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn skip(&mut self, length: usize) -> Option<Range<usize>> {
        let range = self.at..self.at.checked_add(length)?;
        self.bytes.get(range.clone())?;
        self.at = range.end;
        Some(range)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let range = self.skip(length)?;
        self.bytes.get(range)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn range(&mut self) -> Option<Range<usize>> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.skip(length)
    }

    fn known(&mut self) -> Option<Known<'a>> {
        let length = u16::from_le_bytes(self.take(2)?.try_into().ok()?);
        Some(Known {
            name: self.take(usize::from(length))?,
            stamp: self.take(STAMP)?,
            digest: self.take(DIGEST)?,
        })
    }
}

fn encode(stamp: &Stamp) -> [u8; STAMP] {
    let mut bytes = [0; STAMP];
    bytes[..8].copy_from_slice(&stamp.device.to_le_bytes());
    bytes[8..16].copy_from_slice(&stamp.inode.to_le_bytes());
    bytes[16..24].copy_from_slice(&stamp.size.to_le_bytes());
    bytes[24..28].copy_from_slice(&stamp.mode.to_le_bytes());
    bytes[28..36].copy_from_slice(&stamp.mtime_ns.to_le_bytes());
    bytes[36..].copy_from_slice(&stamp.ctime_ns.to_le_bytes());
    bytes
}
