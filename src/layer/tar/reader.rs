//! The streaming reader: bounded memory, nothing skipped silently, no side picked where headers
//! disagree.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};

use super::header::{Block, Member, MemberKind};
use super::sparse::{self, PaxSparse, Stretch};
use super::{BLOCK, TarError, pax};

/// Bounds of what is accepted from an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub entries_max: u64,
    /// Bytes of one extended header, long name or sparse map.
    pub header_bytes_max: u64,
    /// Bytes of all files, holes included.
    pub unpacked_bytes_max: u64,
    /// Bytes of a path or a link target.
    pub path_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries_max: 2_000_000,
            header_bytes_max: 1 << 20,
            unpacked_bytes_max: 64 << 30,
            path_bytes_max: 4095,
        }
    }
}

/// Reads the members of an uncompressed tar one after another.
///
/// [`Reader::next_member`] gives a member, then the reader is its content (`impl Read`); what is
/// not read is skipped. After the end of the archive the rest of the stream is left to
/// [`Reader::drain`].
#[derive(Debug)]
pub struct Reader<R> {
    inner: R,
    limits: Limits,
    offset: u64,
    entries: u64,
    unpacked: u64,
    /// Bytes of the member's data still in the stream, and their padding.
    stored: u64,
    padding: u64,
    /// The member's content still to come: holes and data.
    holes: VecDeque<Stretch>,
    position: u64,
    size: u64,
}

/// What headers in front of a member's own say of it.
#[derive(Debug, Default)]
struct Prelude {
    records: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Prelude {
    fn is_empty(&self) -> bool {
        self.records.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }

    fn record(&self, key: &str) -> Option<&[u8]> {
        let value = self.records.as_ref()?.get(key.as_bytes())?;
        // An empty value takes the key back (POSIX pax, "extended header").
        (!value.is_empty()).then_some(value.as_slice())
    }
}

impl<R: Read> Reader<R> {
    /// Starts at the first header.
    pub fn new(inner: R, limits: Limits) -> Self {
        Self {
            inner,
            limits,
            offset: 0,
            entries: 0,
            unpacked: 0,
            stored: 0,
            padding: 0,
            holes: VecDeque::new(),
            position: 0,
            size: 0,
        }
    }

    /// The next member; `None` at the end of the archive.
    pub fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        self.skip(self.stored + self.padding)?;
        (self.stored, self.padding, self.position, self.size) = (0, 0, 0, 0);
        self.holes.clear();
        let mut prelude = Prelude::default();
        let mut bytes = [0; BLOCK];
        loop {
            let offset = self.offset;
            if !self.header(&mut bytes)? {
                return if prelude.is_empty() {
                    Ok(None)
                } else {
                    Err(TarError::Truncated { offset })
                };
            }
            let bytes = bytes;
            let block = Block {
                bytes: &bytes,
                offset,
            };
            match block.typeflag() {
                b'x' | b'X' => {
                    let data = self.special(&block)?;
                    let records = pax::records(&data).ok_or(TarError::Pax { offset })?;
                    once(
                        &mut prelude.records,
                        records,
                        "two extended headers",
                        offset,
                    )?;
                }
                b'g' => self.global(&block)?,
                b'L' => {
                    let name = self.special_text(&block)?;
                    once(&mut prelude.long_name, name, "two long names", offset)?;
                }
                b'K' => {
                    let link = self.special_text(&block)?;
                    once(&mut prelude.long_link, link, "two long links", offset)?;
                }
                _ => return self.member(&block, &prelude).map(Some),
            }
        }
    }

    /// Reads what follows the end of the archive, to the end of the stream, and forgets it: a
    /// layer's digest covers it, nobody interprets it.
    pub fn drain(&mut self) -> Result<(), TarError> {
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.inner.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.offset += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::read(error, self.offset)),
            }
        }
    }

    /// How many bytes of the stream were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The stream below.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// Reads a header block; `false` at the end of the archive.
    fn header(&mut self, bytes: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        if !self.block_or_end(bytes)? {
            return Ok(false);
        }
        let offset = self.offset - BLOCK as u64;
        let block = Block { bytes, offset };
        if !block.is_zero() {
            return block.verify().map(|()| true);
        }
        // The end is two blocks of zeros; one at the end of the stream will do.
        if self.block_or_end(bytes)? && bytes.iter().any(|byte| *byte != 0) {
            return Err(TarError::Checksum { offset });
        }
        Ok(false)
    }

    fn block_or_end(&mut self, bytes: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut bytes[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => {
                    let offset = self.offset;
                    return Err(TarError::Truncated { offset });
                }
                Ok(count) => {
                    filled += count;
                    self.offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::read(error, self.offset)),
            }
        }
        Ok(true)
    }

    fn block(&mut self, bytes: &mut [u8; BLOCK]) -> Result<(), TarError> {
        if self.block_or_end(bytes)? {
            return Ok(());
        }
        let offset = self.offset;
        Err(TarError::Truncated { offset })
    }

    fn skip(&mut self, count: u64) -> Result<(), TarError> {
        let limited = &mut (&mut self.inner).take(count);
        let skipped = io::copy(limited, &mut io::sink())
            .map_err(|error| TarError::read(error, self.offset))?;
        self.offset += skipped;
        if skipped < count {
            let offset = self.offset;
            return Err(TarError::Truncated { offset });
        }
        Ok(())
    }

    /// The body of an extended header.
    fn special(&mut self, block: &Block<'_>) -> Result<Vec<u8>, TarError> {
        let size = block.size()?;
        let max = self.limits.header_bytes_max;
        if size > max {
            let what = "bytes of extended header";
            return Err(TarError::Limit { what, max });
        }
        let mut data = Vec::new();
        let read = (&mut self.inner)
            .take(size)
            .read_to_end(&mut data)
            .map_err(|error| TarError::read(error, self.offset))?;
        self.offset += read as u64;
        if (read as u64) < size {
            let offset = self.offset;
            return Err(TarError::Truncated { offset });
        }
        self.skip(padding_of(size))?;
        Ok(data)
    }

    fn special_text(&mut self, block: &Block<'_>) -> Result<Vec<u8>, TarError> {
        let data = self.special(block)?;
        Ok(super::header::text(&data).to_vec())
    }

    /// A global header may carry comments. One that changes what later members are is refused: Go
    /// ignores it and Python obeys it.
    fn global(&mut self, block: &Block<'_>) -> Result<(), TarError> {
        let offset = block.offset;
        let data = self.special(block)?;
        let records = pax::records(&data).ok_or(TarError::Pax { offset })?;
        let matters = |key: &Vec<u8>| {
            matches!(
                key.as_slice(),
                b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"mtime"
            ) || key.starts_with(b"GNU.sparse.")
                || key.starts_with(b"SCHILY.xattr.")
        };
        if records.keys().any(matters) {
            let what = "a global header changes all entries";
            return Err(TarError::Ambiguous { offset, what });
        }
        Ok(())
    }

    fn member(&mut self, block: &Block<'_>, prelude: &Prelude) -> Result<Member, TarError> {
        let offset = block.offset;
        self.entries += 1;
        let max = self.limits.entries_max;
        if self.entries > max {
            let what = "entries";
            return Err(TarError::Limit { what, max });
        }
        let path = self.text(
            (prelude.record("GNU.sparse.name").or(prelude.record("path"))).map(<[u8]>::to_vec),
            prelude.long_name.as_ref(),
            || block.name(),
            offset,
        )?;
        let link = self.text(
            prelude.record("linkpath").map(<[u8]>::to_vec),
            prelude.long_link.as_ref(),
            || block.link(),
            offset,
        )?;
        let kind = kind(block, &path)?;
        let (major, minor) = match kind {
            MemberKind::CharDevice | MemberKind::BlockDevice => block.device()?,
            _ => (0, 0),
        };
        let number = |key: &str, field: &'static str, own: i64| match prelude.record(key) {
            Some(text) => pax::signed(text).ok_or(block.bad(field)),
            None => Ok(own),
        };
        let id = |key: &str, field: &'static str, own: i64| {
            u32::try_from(number(key, field, own)?).map_err(|_| block.bad(field))
        };
        let mtime = match prelude.record("mtime") {
            Some(text) => pax::time(text).ok_or(block.bad("mtime"))?,
            None => block.mtime()?,
        };
        let mut member = Member {
            path,
            kind,
            link,
            size: 0,
            mode: block.mode()?,
            uid: id("uid", "uid", block.uid()?)?,
            gid: id("gid", "gid", block.gid()?)?,
            mtime,
            major,
            minor,
            xattrs: xattrs(prelude),
            offset,
        };
        if kind == MemberKind::File {
            let own = i64::try_from(block.size()?).map_err(|_| block.bad("size"))?;
            let size = number("size", "size", own)?;
            let size = u64::try_from(size).map_err(|_| block.bad("size"))?;
            member.size = self.data(block, prelude, size)?;
        }
        Ok(member)
    }

    /// Of a PAX record, a GNU long name and the header's own field the first one there; the first
    /// two must not disagree.
    fn text(
        &self,
        record: Option<Vec<u8>>,
        long: Option<&Vec<u8>>,
        own: impl FnOnce() -> Vec<u8>,
        offset: u64,
    ) -> Result<Vec<u8>, TarError> {
        let text = match (record, long) {
            (Some(record), Some(long)) if record != *long => {
                let what = "a PAX name and a GNU name differ";
                return Err(TarError::Ambiguous { offset, what });
            }
            (Some(text), _) => text,
            (None, Some(text)) => text.clone(),
            (None, None) => own(),
        };
        let max = self.limits.path_bytes_max;
        if text.len() as u64 > max {
            let what = "bytes in a path";
            return Err(TarError::Limit { what, max });
        }
        Ok(text)
    }

    /// Prepares the reading of a file's content; its size with holes.
    fn data(&mut self, block: &Block<'_>, prelude: &Prelude, stored: u64) -> Result<u64, TarError> {
        let offset = block.offset;
        let malformed = |_| TarError::Sparse { offset };
        self.stored = stored;
        self.padding = padding_of(stored);
        let none = BTreeMap::new();
        let records = prelude.records.as_ref().unwrap_or(&none);
        let real = sparse::real_size(records).map_err(malformed)?;
        let map = match sparse::of_records(records).map_err(malformed)? {
            Some(PaxSparse::InHeader(map)) => Some((map, real)),
            Some(PaxSparse::InData) => Some((self.data_map(offset)?, real)),
            None if block.typeflag() == b'S' => {
                let real = block.number(483..495, "real size")?;
                let real = u64::try_from(real).map_err(|_| block.bad("real size"))?;
                Some((self.gnu_map(block)?, Some(real)))
            }
            None => None,
        };
        let size = if let Some((map, real)) = map {
            let real = real.ok_or(TarError::Sparse { offset })?;
            sparse::check(&map, real, self.stored).map_err(malformed)?;
            self.holes = map.into();
            real
        } else {
            let whole = Stretch {
                offset: 0,
                size: stored,
            };
            self.holes.push_back(whole);
            stored
        };
        self.unpacked = self.unpacked.saturating_add(size);
        let max = self.limits.unpacked_bytes_max;
        if self.unpacked > max {
            let what = "bytes of files";
            return Err(TarError::Limit { what, max });
        }
        self.size = size;
        Ok(size)
    }

    /// The map of an old GNU sparse header and the blocks after it.
    fn gnu_map(&mut self, block: &Block<'_>) -> Result<Vec<Stretch>, TarError> {
        let offset = block.offset;
        let malformed = |_| TarError::Sparse { offset };
        let mut map = sparse::gnu_area(&block.bytes[386..482]).map_err(malformed)?;
        let mut extended = sparse::gnu_is_extended(block.bytes[482]);
        while extended {
            let mut bytes = [0; BLOCK];
            self.block(&mut bytes)?;
            map.extend(sparse::gnu_area(&bytes[..504]).map_err(malformed)?);
            self.check_map(map.len())?;
            extended = sparse::gnu_is_extended(bytes[504]);
        }
        Ok(map)
    }

    /// The map in front of the data of PAX sparse 1.0.
    fn data_map(&mut self, offset: u64) -> Result<Vec<Stretch>, TarError> {
        let mut feed = sparse::DataMap::default();
        let mut blocks = 0;
        loop {
            blocks += 1;
            self.check_map(blocks * 32)?;
            self.stored = self
                .stored
                .checked_sub(BLOCK as u64)
                .ok_or(TarError::Sparse { offset })?;
            let mut bytes = [0; BLOCK];
            self.block(&mut bytes)?;
            let map = feed.feed(&bytes);
            if let Some(map) = map.map_err(|_| TarError::Sparse { offset })? {
                return Ok(map);
            }
        }
    }

    fn check_map(&self, stretches: usize) -> Result<(), TarError> {
        let max = self.limits.header_bytes_max;
        if stretches as u64 * 16 > max {
            let what = "bytes of sparse map";
            return Err(TarError::Limit { what, max });
        }
        Ok(())
    }
}

fn once<T>(
    place: &mut Option<T>,
    value: T,
    what: &'static str,
    offset: u64,
) -> Result<(), TarError> {
    if place.replace(value).is_some() {
        return Err(TarError::Ambiguous { offset, what });
    }
    Ok(())
}

fn padding_of(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn kind(block: &Block<'_>, path: &[u8]) -> Result<MemberKind, TarError> {
    Ok(match block.typeflag() {
        0 if path.ends_with(b"/") => MemberKind::Directory,
        0 | b'0' | b'7' | b'S' => MemberKind::File,
        b'1' => MemberKind::Hardlink,
        b'2' => MemberKind::Symlink,
        b'3' => MemberKind::CharDevice,
        b'4' => MemberKind::BlockDevice,
        b'5' => MemberKind::Directory,
        b'6' => MemberKind::Fifo,
        typeflag => {
            return Err(TarError::Unsupported {
                offset: block.offset,
                typeflag: char::from(typeflag),
            });
        }
    })
}

fn xattrs(prelude: &Prelude) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let records = prelude.records.iter().flatten();
    records
        .filter_map(|(key, value)| {
            let name = key.strip_prefix(b"SCHILY.xattr.")?;
            Some((name.to_vec(), value.clone()))
        })
        .collect()
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.holes.front().is_some_and(|stretch| stretch.size == 0) {
            self.holes.pop_front();
        }
        let data = self.holes.front().copied();
        let next = data.map_or(self.size, |stretch| stretch.offset);
        if self.position < next {
            let count = bounded(next - self.position, buffer.len());
            buffer[..count].fill(0);
            self.position += count as u64;
            return Ok(count);
        }
        let Some(data) = data else { return Ok(0) };
        let count = bounded(data.size, buffer.len());
        let read = self.inner.read(&mut buffer[..count])?;
        if read == 0 && count > 0 {
            let offset = self.offset;
            return Err(TarError::Truncated { offset }.into());
        }
        self.offset += read as u64;
        self.stored -= read as u64;
        self.position += read as u64;
        if let Some(front) = self.holes.front_mut() {
            front.offset += read as u64;
            front.size -= read as u64;
        }
        Ok(read)
    }
}

fn bounded(left: u64, room: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(room)
}
