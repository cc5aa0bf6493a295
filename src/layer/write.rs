//! Entries → tar, its digest, its blob and its tree, in one pass over the files.
//!
//! Small files are read ahead by several threads, each making whole stretches of the archive
//! (headers, contents, padding); this thread puts the stretches into the line of
//! [`super::compress`] in their order and streams large files itself.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::LayerError;
use super::compress::Encoding;
use super::compress::blocks::{self, BlobInfo, BlockWriter, Effort};
use super::tar::{TarEntry, append_header, end_of_archive, padding};
use crate::clock::Epoch;
use crate::digest::{ContentDigest, DiffId};
use crate::tree::{Content, Entry, Kind, Tree, TreePath, is_kept, is_windows_record};

/// Files up to this size are read ahead; [`crate::tree::KEPT_BYTES_MAX`] must not be larger.
const SMALL: u64 = 1 << 20;

/// Entries of a stretch.
const STRETCH_ENTRIES: usize = 128;

/// Threads that read ahead.
const READERS_MAX: usize = 8;

/// Where the contents of files are.
pub trait Contents: Sync {
    /// Opens the content of the file at `index` in the list of entries, whose path in the layer is
    /// `path`. Called from several threads, once per file, hardly ever in order.
    fn open(&self, index: usize, path: &TreePath) -> io::Result<Box<dyn Read + Send + '_>>;
}

/// A layer was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Bytes of its tar.
    pub size: u64,
    /// The blob, if one was asked for.
    pub blob: Option<BlobInfo>,
    /// Its index.
    pub tree: Tree,
}

/// Writes a layer of entries in tree order.
///
/// Times later than `epoch` become `epoch`. Without an encoding nothing is written to `out`: only
/// the digest of the tar and the tree are made. The contents of files must have the sizes that
/// their entries say, and the digests if those are known ([`LayerError::Changed`] otherwise).
pub fn write_layer<C: Content>(
    entries: &[Entry<C>],
    contents: &dyn Contents,
    epoch: Epoch,
    encoding: Option<Encoding>,
    out: impl Write + Send,
) -> Result<Written, LayerError> {
    let in_order = |pair: &[Entry<C>]| pair[0].path < pair[1].path;
    if let Some(pair) = entries.windows(2).find(|pair| !in_order(pair)) {
        let path = pair[1].path.clone();
        return Err(LayerError::Order { path });
    }
    let bytes = entries.iter().map(|entry| entry.data_size() + 1024).sum();
    let effort = Effort::of(bytes);
    let layer = Source {
        entries,
        contents,
        epoch,
    };
    let mut made = Made {
        entries: Vec::with_capacity(entries.len()),
        kept: BTreeMap::new(),
    };
    let source = |writer: &mut BlockWriter<'_>| {
        match effort {
            Effort::Inline => layer.write_inline(writer, &mut made),
            Effort::Threads => layer.write_ahead(writer, &mut made),
        }?;
        writer.put(&end_of_archive())
    };
    let finished = blocks::run(effort, encoding, out, Box::new(source))?;
    Ok(Written {
        diff_id: finished.diff_id,
        size: finished.size,
        blob: finished.blob,
        tree: Tree::new(made.entries, made.kept),
    })
}

/// A tar was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// Bytes of the tar.
    pub size: u64,
    /// The blob.
    pub blob: Option<BlobInfo>,
}

/// Compresses a plain tar; its bytes are not looked at. The blob equals the one that
/// [`write_layer`] makes of the same tar.
pub fn encode_tar(
    mut reader: impl Read,
    encoding: Encoding,
    out: impl Write + Send,
) -> Result<Encoded, LayerError> {
    let source = |writer: &mut BlockWriter<'_>| loop {
        let read = writer.read_from(&mut reader, u64::MAX, |_| ());
        if read.map_err(LayerError::read)?? == 0 {
            return Ok(());
        }
    };
    let effort = Effort::of(u64::MAX);
    let finished = blocks::run(effort, Some(encoding), out, Box::new(source))?;
    Ok(Encoded {
        diff_id: finished.diff_id,
        size: finished.size,
        blob: finished.blob,
    })
}

/// What the layer is made of.
struct Source<'a, C> {
    entries: &'a [Entry<C>],
    contents: &'a dyn Contents,
    epoch: Epoch,
}

/// What is known of the layer so far.
#[derive(Default)]
struct Made {
    entries: Vec<Entry>,
    kept: BTreeMap<TreePath, Vec<u8>>,
}

/// A stretch of the archive.
#[derive(Default)]
struct Stretch {
    bytes: Vec<u8>,
    made: Made,
}

/// What is written in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Stretch(Range<usize>),
    Large(usize),
}

impl<C: Content> Source<'_, C> {
    /// Cuts the list into stretches of small entries and large files.
    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut start = 0;
        let mut bytes = 0;
        for (index, entry) in self.entries.iter().enumerate() {
            let size = entry.data_size();
            let is_large = size > SMALL;
            let is_full = bytes + size > SMALL || index - start >= STRETCH_ENTRIES;
            if (is_large || is_full) && start < index {
                pieces.push(Piece::Stretch(start..index));
                (start, bytes) = (index, 0);
            }
            if is_large {
                pieces.push(Piece::Large(index));
                start = index + 1;
            } else {
                bytes += size;
            }
        }
        if start < self.entries.len() {
            pieces.push(Piece::Stretch(start..self.entries.len()));
        }
        pieces
    }

    fn write_inline(
        &self,
        writer: &mut BlockWriter<'_>,
        made: &mut Made,
    ) -> Result<(), LayerError> {
        for piece in self.pieces() {
            match piece {
                Piece::Stretch(range) => self.stretch(range)?.write(writer, made)?,
                Piece::Large(index) => self.write_large(index, writer, made)?,
            }
        }
        Ok(())
    }

    fn write_ahead(&self, writer: &mut BlockWriter<'_>, made: &mut Made) -> Result<(), LayerError> {
        let pieces = self.pieces();
        let stretches: Vec<&Range<usize>> = pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Stretch(range) => Some(range),
                Piece::Large(_) => None,
            })
            .collect();
        let readers = blocks::threads().min(READERS_MAX).min(stretches.len());
        thread::scope(|scope| {
            // Reader i makes stretches i, i + n, i + 2n, …: in order without any bookkeeping.
            let start = |reader: usize| {
                let (sender, receiver) = sync_channel(1);
                let mine: Vec<Range<usize>> = stretches
                    .iter()
                    .skip(reader)
                    .step_by(readers)
                    .map(|range| (*range).clone())
                    .collect();
                scope.spawn(move || self.read_ahead(mine, &sender));
                receiver
            };
            let receivers: Vec<Receiver<_>> = (0..readers).map(start).collect();
            let mut turns = receivers.iter().cycle();
            for piece in &pieces {
                match piece {
                    Piece::Stretch(_) => {
                        let receiver = turns.next().ok_or(LayerError::Worker)?;
                        let stretch = receiver.recv().map_err(|_| LayerError::Worker)?;
                        stretch?.write(writer, made)?;
                    }
                    Piece::Large(index) => self.write_large(*index, writer, made)?,
                }
            }
            Ok(())
        })
    }

    fn read_ahead(
        &self,
        ranges: Vec<Range<usize>>,
        sender: &SyncSender<Result<Stretch, LayerError>>,
    ) {
        for range in ranges {
            let stretch = self.stretch(range);
            let failed = stretch.is_err();
            // Nobody listens any more when something else failed.
            if sender.send(stretch).is_err() || failed {
                return;
            }
        }
    }

    fn stretch(&self, range: Range<usize>) -> Result<Stretch, LayerError> {
        let mut stretch = Stretch::default();
        let data: u64 = self.entries[range.clone()]
            .iter()
            .map(Entry::data_size)
            .sum();
        let capacity = usize::try_from(data).unwrap_or(0) + range.len() * 1024;
        stretch.bytes.reserve(capacity);
        stretch.made.entries.reserve(range.len());
        for index in range {
            let entry = &self.entries[index];
            self.header(entry, &mut stretch.bytes)?;
            let mut content = ContentDigest::of(b"");
            if let Kind::File { size, .. } = entry.kind {
                let start = stretch.bytes.len();
                self.read_small(index, size, &mut stretch.bytes)?;
                let data = &stretch.bytes[start..];
                content = ContentDigest::of(data);
                if is_kept(&entry.path) {
                    stretch.made.kept.insert(entry.path.clone(), data.to_vec());
                }
                stretch.bytes.extend_from_slice(padding(size));
            }
            stretch.made.entries.push(self.done(entry, content)?);
        }
        Ok(stretch)
    }

    fn header(&self, entry: &Entry<C>, out: &mut Vec<u8>) -> Result<(), LayerError> {
        let mtime = entry.mtime.min(self.epoch.0);
        if append_header(out, TarEntry { entry, mtime }) {
            return Ok(());
        }
        let path = entry.path.clone();
        Err(LayerError::Device { path })
    }

    fn read_small(&self, index: usize, size: u64, out: &mut Vec<u8>) -> Result<(), LayerError> {
        let path = &self.entries[index].path;
        let failed = |source| LayerError::ReadFile {
            path: path.clone(),
            source,
        };
        if size == 0 {
            // Also files that cannot be opened are fine if nothing is in them.
            return Ok(());
        }
        let changed = || LayerError::Changed { path: path.clone() };
        let wanted = usize::try_from(size).map_err(|_| changed())?;
        let mut reader = self.contents.open(index, path).map_err(failed)?;
        let start = out.len();
        // One byte more than wanted: a file that grew shows it by filling that too.
        out.resize(start + wanted + 1, 0);
        let mut read = 0;
        while read < wanted {
            match reader.read(&mut out[start + read..]) {
                Ok(0) => return Err(changed()),
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        out.truncate(start + wanted);
        if read > wanted {
            Err(changed())
        } else {
            Ok(())
        }
    }

    fn write_large(
        &self,
        index: usize,
        writer: &mut BlockWriter<'_>,
        made: &mut Made,
    ) -> Result<(), LayerError> {
        let entry = &self.entries[index];
        let path = &entry.path;
        let failed = |source| LayerError::ReadFile {
            path: path.clone(),
            source,
        };
        let changed = || LayerError::Changed { path: path.clone() };
        let mut header = Vec::with_capacity(1024);
        self.header(entry, &mut header)?;
        writer.put(&header)?;
        let mut reader = self.contents.open(index, path).map_err(failed)?;
        let size = entry.data_size();
        let mut left = size;
        let mut hasher = blake3::Hasher::new();
        while left > 0 {
            let look = |bytes: &[u8]| {
                hasher.update(bytes);
            };
            let count = writer
                .read_from(&mut reader, left, look)
                .map_err(failed)??;
            if count == 0 {
                return Err(changed());
            }
            left -= count as u64;
        }
        let more = reader
            .take(1)
            .read_to_end(&mut Vec::new())
            .map_err(failed)?;
        if more > 0 {
            return Err(changed());
        }
        writer.put(padding(size))?;
        let content = ContentDigest::from_bytes(*hasher.finalize().as_bytes());
        made.entries.push(self.done(entry, content)?);
        Ok(())
    }

    /// The entry as it is in the layer.
    fn done(&self, entry: &Entry<C>, content: ContentDigest) -> Result<Entry, LayerError> {
        if let Kind::File { content: old, .. } = entry.kind
            && old.known().is_some_and(|known| known != content)
        {
            let path = entry.path.clone();
            return Err(LayerError::Changed { path });
        }
        let mut entry = entry.clone().map_content(|_| content);
        entry.mtime = entry.mtime.min(self.epoch.0);
        // The index has what a reader of the tar finds.
        entry.xattrs.retain(|name, _| !is_windows_record(name));
        if matches!(entry.kind, Kind::Whiteout) {
            entry = Entry::whiteout(entry.path);
        }
        Ok(entry)
    }
}

impl Stretch {
    fn write(self, writer: &mut BlockWriter<'_>, made: &mut Made) -> Result<(), LayerError> {
        made.entries.extend(self.made.entries);
        made.kept.extend(self.made.kept);
        writer.put(&self.bytes)
    }
}
