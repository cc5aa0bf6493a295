//! The end of the line: blocks of a tar → its digest, its compressed form, that form's digest.
//!
//! ```text
//! tar bytes ─1 MiB blocks─┬─▶ hash thread ─────────────────────▶ diff id
//!                         └─▶ rayon: deflate ─in order─▶ writer ─▶ blob, its digest
//! ```
//!
//! A small layer is done on the caller's thread: starting threads costs more than the work.

use std::io::Write;
use std::num::NonZero;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use sha2::Digest as _;

use super::{Encoding, gzip, zstd};
use crate::digest::{DiffId, Digest, HashWriter};
use crate::image::Compression;
use crate::layer::LayerError;

/// Bytes of the blocks that travel; also gzip's.
pub(in super::super) const BLOCK: usize = gzip::BLOCK;

/// The blob that came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// How it was made.
    pub encoding: Encoding,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// What came out of a stream of tar bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Finished {
    pub(in super::super) diff_id: DiffId,
    pub(in super::super) size: u64,
    pub(in super::super) blob: Option<BlobInfo>,
}

/// Whether a stream is worth threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Effort {
    /// All on the caller's thread.
    Inline,
    /// Hashing, compressing and writing each on threads of their own.
    Threads,
}

impl Effort {
    /// For about so many bytes.
    pub(in super::super) fn of(bytes: u64) -> Self {
        if bytes < 2 * BLOCK as u64 {
            Self::Inline
        } else {
            Self::Threads
        }
    }
}

/// The workers that compress blocks: a pool of their own, because those who wait for them are often
/// workers of a pool themselves, and `rayon::spawn` would give the work to that one. `None` where no
/// thread can be had.
fn compressors() -> Option<&'static rayon::ThreadPool> {
    static POOL: OnceLock<Option<rayon::ThreadPool>> = OnceLock::new();
    let start = || {
        rayon::ThreadPoolBuilder::new()
            .thread_name(|number| format!("compress-{number}"))
            .build()
            .ok()
    };
    POOL.get_or_init(start).as_ref()
}

type Block = Arc<Vec<u8>>;
type Source<'a> = dyn FnOnce(&mut BlockWriter<'_>) -> Result<(), LayerError> + 'a;

/// Sends what `source` writes through the line. Without an encoding only the digest is made and
/// `out` gets nothing.
pub(in super::super) fn run(
    effort: Effort,
    encoding: Option<Encoding>,
    out: impl Write + Send,
    source: Box<Source<'_>>,
) -> Result<Finished, LayerError> {
    match effort {
        Effort::Inline => run_inline(encoding, out, source),
        Effort::Threads => run_threads(encoding, out, source),
    }
}

fn run_inline(
    encoding: Option<Encoding>,
    out: impl Write,
    source: Box<Source<'_>>,
) -> Result<Finished, LayerError> {
    let mut hasher = sha2::Sha256::new();
    let mut encoder = encoding
        .map(|encoding| Encoder::new(encoding, out, 1))
        .transpose()?;
    let mut size = 0;
    let mut before: Block = Arc::default();
    let mut sink = |block: Block| {
        hasher.update(block.as_slice());
        size += block.len() as u64;
        if let Some(encoder) = &mut encoder {
            encoder.take(&block, compressed(encoding, &before, &block)?)?;
        }
        before = block;
        Ok(())
    };
    let mut writer = BlockWriter::new(&mut sink);
    source(&mut writer)?;
    writer.finish()?;
    Ok(Finished {
        diff_id: DiffId(Digest::from_bytes(hasher.finalize().into())),
        size,
        blob: encoder.map(Encoder::finish).transpose()?,
    })
}

/// A block and where its compressed form will come from, if it has one.
type Job = (Block, Option<Receiver<Option<Vec<u8>>>>);

fn run_threads(
    encoding: Option<Encoding>,
    out: impl Write + Send,
    source: Box<Source<'_>>,
) -> Result<Finished, LayerError> {
    let in_flight = 2 * threads();
    thread::scope(|scope| {
        let (to_hash, hash_queue) = sync_channel::<Block>(in_flight);
        let hash = scope.spawn(move || hash_blocks(&hash_queue));
        let write = encoding.map(|encoding| {
            let (to_write, write_queue) = sync_channel::<Job>(in_flight);
            let writer = scope.spawn(move || write_blocks(encoding, out, &write_queue));
            (to_write, writer)
        });
        let mut before: Block = Arc::default();
        let produced = {
            let mut sink = |block: Block| {
                let lost = || LayerError::Worker;
                if let Some((to_write, _)) = &write {
                    let job = start_job(encoding, &before, &block);
                    to_write.send(job).map_err(|_| lost())?;
                }
                to_hash.send(Arc::clone(&block)).map_err(|_| lost())?;
                before = block;
                Ok(())
            };
            let mut writer = BlockWriter::new(&mut sink);
            source(&mut writer).and_then(|()| writer.finish())
        };
        drop(to_hash);
        let hashed = hash.join().map_err(|_| LayerError::Worker);
        // An error of the writer explains why the source could not go on.
        let blob = write
            .map(|(to_write, writer)| {
                drop(to_write);
                writer.join().map_err(|_| LayerError::Worker)?
            })
            .transpose();
        match produced {
            Err(LayerError::Worker) | Ok(()) => {}
            Err(error) => return Err(error),
        }
        let (blob, (digest, size)) = (blob?, hashed?);
        produced?;
        let diff_id = DiffId(digest);
        Ok(Finished {
            diff_id,
            size,
            blob,
        })
    })
}

fn hash_blocks(queue: &Receiver<Block>) -> (Digest, u64) {
    let mut hasher = sha2::Sha256::new();
    let mut size = 0;
    for block in queue {
        hasher.update(block.as_slice());
        size += block.len() as u64;
    }
    (Digest::from_bytes(hasher.finalize().into()), size)
}

fn write_blocks(
    encoding: Encoding,
    out: impl Write,
    queue: &Receiver<Job>,
) -> Result<BlobInfo, LayerError> {
    let mut encoder = Encoder::new(encoding, out, threads())?;
    for (block, compressed) in queue {
        let compressed = match compressed {
            Some(receiver) => receiver.recv().map_err(|_| LayerError::Worker)?,
            None => None,
        };
        encoder.take(&block, compressed)?;
    }
    encoder.finish()
}

/// Starts the compression of a block on the pool if it can be done apart from the others.
fn start_job(encoding: Option<Encoding>, before: &Block, block: &Block) -> Job {
    if encoding.map(|encoding| encoding.compression) != Some(Compression::Gzip) {
        return (Arc::clone(block), None);
    }
    let (sender, receiver) = sync_channel(1);
    let (before, work) = (Arc::clone(before), Arc::clone(block));
    let compress = move || {
        // Nobody waits if the writer has failed.
        let compressed = compressed(encoding, &before, &work).ok().flatten();
        let _ = sender.send(compressed);
    };
    match compressors() {
        Some(pool) => pool.spawn(compress),
        None => compress(),
    }
    (Arc::clone(block), Some(receiver))
}

/// The form of a block that can be made apart from the others.
fn compressed(
    encoding: Option<Encoding>,
    before: &[u8],
    block: &[u8],
) -> Result<Option<Vec<u8>>, LayerError> {
    match encoding {
        Some(encoding) if encoding.compression == Compression::Gzip => {
            let compressed = gzip::compress_block(before, block, encoding.level);
            compressed.map(Some).ok_or(LayerError::Worker)
        }
        _ => Ok(None),
    }
}

/// The number of threads that compress.
pub(in super::super) fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Puts compressed blocks together and hashes what comes out.
struct Encoder<W: Write> {
    encoding: Encoding,
    state: State<W>,
}

enum State<W: Write> {
    Plain(HashWriter<W>),
    Gzip {
        out: HashWriter<W>,
        crc: crc32fast::Hasher,
        size: u64,
    },
    Zstd(::zstd::stream::write::Encoder<'static, HashWriter<W>>),
}

fn write_error(source: std::io::Error) -> LayerError {
    LayerError::Write { source }
}

impl<W: Write> Encoder<W> {
    fn new(encoding: Encoding, out: W, workers: usize) -> Result<Self, LayerError> {
        let mut out = HashWriter::new(out);
        let state = match encoding.compression {
            Compression::Uncompressed => State::Plain(out),
            Compression::Gzip => {
                out.write_all(&gzip::HEADER).map_err(write_error)?;
                let crc = crc32fast::Hasher::new();
                State::Gzip { out, crc, size: 0 }
            }
            Compression::Zstd => {
                let encoder = zstd::encoder(out, encoding.level, workers);
                State::Zstd(encoder.map_err(write_error)?)
            }
        };
        Ok(Self { encoding, state })
    }

    fn take(&mut self, block: &[u8], compressed: Option<Vec<u8>>) -> Result<(), LayerError> {
        match &mut self.state {
            State::Plain(out) => out.write_all(block),
            State::Gzip { out, crc, size } => {
                crc.update(block);
                *size += block.len() as u64;
                let compressed = compressed.ok_or(LayerError::Worker)?;
                out.write_all(&compressed)
            }
            State::Zstd(encoder) => encoder.write_all(block),
        }
        .map_err(write_error)
    }

    fn finish(self) -> Result<BlobInfo, LayerError> {
        let mut out = match self.state {
            State::Plain(out) => out,
            State::Gzip {
                mut out, crc, size, ..
            } => {
                out.write_all(&gzip::LAST_BLOCK).map_err(write_error)?;
                let trailer = gzip::trailer(crc.finalize(), size);
                out.write_all(&trailer).map_err(write_error)?;
                out
            }
            State::Zstd(encoder) => encoder.finish().map_err(write_error)?,
        };
        out.flush().map_err(write_error)?;
        let (_, digest, size) = out.finish();
        Ok(BlobInfo {
            encoding: self.encoding,
            digest,
            size,
        })
    }
}

type Sink<'a> = dyn FnMut(Block) -> Result<(), LayerError> + 'a;

/// Cuts what is written into blocks of a fixed size, whatever the pieces it comes in.
pub(in super::super) struct BlockWriter<'a> {
    block: Vec<u8>,
    sink: &'a mut Sink<'a>,
}

impl<'a> BlockWriter<'a> {
    fn new(sink: &'a mut Sink<'a>) -> Self {
        Self {
            block: Vec::new(),
            sink,
        }
    }

    /// Takes bytes.
    pub(in super::super) fn put(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        while !bytes.is_empty() {
            let room = BLOCK - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            self.full()?;
        }
        Ok(())
    }

    /// Reads up to `limit` bytes straight into the block; how many there were, and a look at them.
    /// Zero at the end of the reader.
    pub(in super::super) fn read_from(
        &mut self,
        reader: &mut dyn std::io::Read,
        limit: u64,
        mut look: impl FnMut(&[u8]),
    ) -> std::io::Result<Result<usize, LayerError>> {
        let start = self.block.len();
        // Not the whole block: what is prepared and not filled is wasted.
        let room = (BLOCK - start).min(BLOCK / 4);
        let room = usize::try_from(limit).unwrap_or(usize::MAX).min(room);
        self.block.resize(start + room, 0);
        let read = loop {
            match reader.read(&mut self.block[start..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.block
            .truncate(start + read.as_ref().copied().unwrap_or(0));
        let count = read?;
        look(&self.block[start..]);
        Ok(self.full().map(|()| count))
    }

    fn full(&mut self) -> Result<(), LayerError> {
        if self.block.len() < BLOCK {
            return Ok(());
        }
        let next = Vec::with_capacity(BLOCK);
        let block = std::mem::replace(&mut self.block, next);
        (self.sink)(Arc::new(block))
    }

    fn finish(&mut self) -> Result<(), LayerError> {
        let block = std::mem::take(&mut self.block);
        if block.is_empty() {
            return Ok(());
        }
        (self.sink)(Arc::new(block))
    }
}

impl std::fmt::Debug for BlockWriter<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = formatter.debug_struct("BlockWriter");
        text.field("filled", &self.block.len())
            .finish_non_exhaustive()
    }
}
