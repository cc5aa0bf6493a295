//! xz, read as a stream in bounded memory ("The .xz file format", version 1.2.1).
//!
//! No crate at hand does that: they hold the whole output, twice. LZMA2 is the only filter that
//! archives use; the checks are CRC-32, CRC-64, SHA-256 or none.

mod lzma;

use std::io::{self, BufRead, Read};

use sha2::Digest as _;

use lzma::{Dictionary, Lzma};

/// Dictionaries up to this size are accepted; `xz -9` uses half.
const DICTIONARY_MAX: usize = 128 << 20;

const STREAM_MAGIC: &[u8; 6] = b"\xfd7zXZ\0";

/// The stream breaks its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt or unsupported xz stream")]
pub(super) struct Corrupt;

impl From<Corrupt> for io::Error {
    fn from(corrupt: Corrupt) -> Self {
        Self::new(io::ErrorKind::InvalidData, corrupt)
    }
}

/// Decompresses an xz stream, or several one after another.
#[derive(Debug)]
pub(super) struct XzReader<R> {
    input: Counted<R>,
    check: u8,
    /// The block being read.
    block: Option<Block>,
    /// Sizes of the blocks of this stream, for its index.
    blocks: Sizes,
    dictionary: Dictionary,
    out: Vec<u8>,
    shown: usize,
    state: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Blocks,
    End,
}

/// A reader that knows how much was read.
#[derive(Debug)]
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: BufRead> Counted<R> {
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.bytes::<1>().map(|[byte]| byte)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.count += bytes.len() as u64;
        Ok(())
    }

    /// Zeros up to a multiple of four bytes since `start`.
    fn padding(&mut self, start: u64) -> io::Result<()> {
        while !(self.count - start).is_multiple_of(4) {
            if self.byte()? != 0 {
                return Err(Corrupt.into());
            }
        }
        Ok(())
    }
}

/// A number of the format: seven bits a byte, the least first.
fn number(mut byte: impl FnMut() -> io::Result<u8>) -> io::Result<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let next = byte()?;
        number |= u64::from(next & 0x7f) << shift;
        if next < 0x80 {
            return if next == 0 && shift > 0 {
                Err(Corrupt.into())
            } else {
                Ok(number)
            };
        }
    }
    Err(Corrupt.into())
}

/// A digest over the sizes of blocks, made twice and compared.
#[derive(Clone, Debug, Default)]
struct Sizes {
    count: u64,
    hasher: crc32fast::Hasher,
}

impl Sizes {
    fn add(&mut self, unpadded: u64, unpacked: u64) {
        self.count += 1;
        self.hasher.update(&unpadded.to_le_bytes());
        self.hasher.update(&unpacked.to_le_bytes());
    }
}

/// A block on its way.
#[derive(Debug)]
struct Block {
    /// Where it and its data start.
    start: u64,
    data: u64,
    packed: Option<u64>,
    expected: Option<u64>,
    dictionary_size: usize,
    lzma: Option<Lzma>,
    needs_dictionary: bool,
    unpacked: u64,
    check: Check,
}

#[derive(Clone, Debug)]
enum Check {
    None,
    Crc32(crc32fast::Hasher),
    Crc64(u64),
    Sha256(sha2::Sha256),
}

impl Check {
    fn of(kind: u8) -> Result<Self, Corrupt> {
        Ok(match kind {
            0 => Self::None,
            1 => Self::Crc32(crc32fast::Hasher::new()),
            4 => Self::Crc64(!0),
            10 => Self::Sha256(sha2::Sha256::new()),
            _ => return Err(Corrupt),
        })
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::None => {}
            Self::Crc32(hasher) => hasher.update(bytes),
            Self::Crc64(crc) => *crc = crc64(*crc, bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Crc32(hasher) => hasher.finalize().to_le_bytes().to_vec(),
            Self::Crc64(crc) => (!crc).to_le_bytes().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
        }
    }
}

/// CRC-64 of ECMA-182, reflected.
fn crc64(crc: u64, bytes: &[u8]) -> u64 {
    const TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let mut crc = at as u64;
            let mut bit = 0;
            while bit < 8 {
                let carry = crc & 1;
                crc >>= 1;
                if carry == 1 {
                    crc ^= 0xc96c_5795_d787_0f42;
                }
                bit += 1;
            }
            table[at] = crc;
            at += 1;
        }
        table
    };
    bytes.iter().fold(crc, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        TABLE[usize::from(low ^ byte)] ^ crc >> 8
    })
}

impl<R: BufRead> XzReader<R> {
    /// Starts at the first header of a stream.
    pub(super) fn new(inner: R) -> Self {
        Self {
            input: Counted { inner, count: 0 },
            check: 0,
            block: None,
            blocks: Sizes::default(),
            dictionary: Dictionary::default(),
            out: Vec::new(),
            shown: 0,
            state: Phase::Start,
        }
    }

    /// Decodes some more; `out` stays empty only at the end.
    fn more(&mut self) -> io::Result<()> {
        self.out.clear();
        self.shown = 0;
        while self.out.is_empty() && self.state != Phase::End {
            match (self.state, self.block.take()) {
                (_, Some(block)) => self.chunk(block)?,
                (Phase::Start, None) => self.stream_header()?,
                (_, None) => self.block_header()?,
            }
        }
        Ok(())
    }

    fn stream_header(&mut self) -> io::Result<()> {
        let magic = self.input.bytes::<6>()?;
        let flags = self.input.bytes::<2>()?;
        let crc = u32::from_le_bytes(self.input.bytes()?);
        if magic != *STREAM_MAGIC || flags[0] != 0 || crc32fast::hash(&flags) != crc {
            return Err(Corrupt.into());
        }
        self.check = flags[1];
        Check::of(self.check)?;
        self.blocks = Sizes::default();
        self.state = Phase::Blocks;
        Ok(())
    }

    fn block_header(&mut self) -> io::Result<()> {
        let start = self.input.count;
        let size = self.input.byte()?;
        if size == 0 {
            return self.index(start);
        }
        let mut header = vec![0; usize::from(size) * 4 + 4];
        header[0] = size;
        self.input.fill(&mut header[1..])?;
        let (header, crc) = header.split_last_chunk::<4>().ok_or(Corrupt)?;
        if crc32fast::hash(header) != u32::from_le_bytes(*crc) {
            return Err(Corrupt.into());
        }
        let mut rest = &header[2..];
        let flags = header[1];
        let mut next = || number(|| take(&mut rest));
        let packed = if flags & 0x40 != 0 {
            Some(next()?)
        } else {
            None
        };
        let expected = if flags & 0x80 != 0 {
            Some(next()?)
        } else {
            None
        };
        // One filter, LZMA2, with one byte of properties; then zeros.
        if flags & 0x3f != 0 || next()? != 0x21 || next()? != 1 {
            return Err(Corrupt.into());
        }
        let dictionary_size = dictionary_size(take(&mut rest)?)?;
        if rest.iter().any(|byte| *byte != 0) {
            return Err(Corrupt.into());
        }
        self.block = Some(Block {
            start,
            data: self.input.count,
            packed,
            expected,
            dictionary_size,
            lzma: None,
            needs_dictionary: true,
            unpacked: 0,
            check: Check::of(self.check)?,
        });
        Ok(())
    }

    /// Decodes one LZMA2 chunk, or ends the block.
    fn chunk(&mut self, mut block: Block) -> io::Result<()> {
        let control = self.input.byte()?;
        match control {
            0 => return self.block_end(block),
            1 | 2 => {
                if control == 1 {
                    self.reset_dictionary(&mut block);
                }
                let size = usize::from(u16::from_be_bytes(self.input.bytes()?)) + 1;
                self.out.resize(size, 0);
                self.input.fill(&mut self.out)?;
                for byte in &self.out {
                    self.dictionary.push(*byte);
                }
                if let Some(lzma) = &mut block.lzma {
                    lzma.set_position(lzma.position() + size);
                }
            }
            0x80.. => self.packed_chunk(control, &mut block)?,
            _ => return Err(Corrupt.into()),
        }
        if block.needs_dictionary {
            return Err(Corrupt.into());
        }
        block.unpacked += self.out.len() as u64;
        block.check.update(&self.out);
        self.block = Some(block);
        Ok(())
    }

    fn reset_dictionary(&mut self, block: &mut Block) {
        self.dictionary.reset(block.dictionary_size);
        block.needs_dictionary = false;
        if let Some(lzma) = &mut block.lzma {
            lzma.set_position(0);
        }
    }

    fn packed_chunk(&mut self, control: u8, block: &mut Block) -> io::Result<()> {
        let low = u16::from_be_bytes(self.input.bytes()?);
        let size = (usize::from(control & 0x1f) << 16 | usize::from(low)) + 1;
        let packed = usize::from(u16::from_be_bytes(self.input.bytes()?)) + 1;
        let reset = control >> 5 & 3;
        if reset == 3 {
            self.reset_dictionary(block);
        }
        if reset >= 2 {
            let position = block.lzma.as_ref().map_or(0, Lzma::position);
            let mut lzma = Lzma::new(self.input.byte()?)?;
            lzma.set_position(if reset == 3 { 0 } else { position });
            block.lzma = Some(lzma);
        }
        let lzma = block.lzma.as_mut().ok_or(Corrupt)?;
        if reset == 1 {
            lzma.reset()?;
        }
        let mut input = vec![0; packed];
        self.input.fill(&mut input)?;
        lzma.chunk(&input, size, &mut self.dictionary, &mut self.out)?;
        Ok(())
    }

    fn block_end(&mut self, block: Block) -> io::Result<()> {
        let packed = self.input.count - block.data;
        let wrong = |expected: Option<u64>, actual| expected.is_some_and(|size| size != actual);
        if wrong(block.packed, packed) || wrong(block.expected, block.unpacked) {
            return Err(Corrupt.into());
        }
        self.input.padding(block.data)?;
        let check = block.check.finish();
        let mut stored = vec![0; check.len()];
        self.input.fill(&mut stored)?;
        if stored != check {
            return Err(Corrupt.into());
        }
        let unpadded = block.data - block.start + packed + check.len() as u64;
        self.blocks.add(unpadded, block.unpacked);
        Ok(())
    }

    /// The index must say of the blocks what was seen of them; after it comes the footer, and
    /// perhaps another stream.
    fn index(&mut self, start: u64) -> io::Result<()> {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&[0]);
        let mut sizes = Sizes::default();
        let mut next = || {
            number(|| {
                let byte = self.input.byte()?;
                crc.update(&[byte]);
                Ok(byte)
            })
        };
        let count = next()?;
        if count != self.blocks.count {
            return Err(Corrupt.into());
        }
        for _ in 0..count {
            let unpadded = next()?;
            sizes.add(unpadded, next()?);
        }
        let unpadded = self.input.count;
        self.input.padding(start)?;
        let padding = usize::try_from(self.input.count - unpadded).unwrap_or(0);
        crc.update(&[0; 4][..padding]);
        let size = self.input.count - start;
        let stored = u32::from_le_bytes(self.input.bytes()?);
        let same = sizes.hasher.finalize() == self.blocks.hasher.clone().finalize();
        if stored != crc.finalize() || !same {
            return Err(Corrupt.into());
        }
        self.footer(size + 4)?;
        self.next_stream()
    }

    fn footer(&mut self, index_size: u64) -> io::Result<()> {
        let crc = u32::from_le_bytes(self.input.bytes()?);
        let fields = self.input.bytes::<6>()?;
        let [a, b, c, d, zero, check] = fields;
        let backward = (u64::from(u32::from_le_bytes([a, b, c, d])) + 1) * 4;
        let is_right = crc32fast::hash(&fields) == crc
            && backward == index_size
            && (zero, check) == (0, self.check)
            && self.input.bytes::<2>()? == *b"YZ";
        if is_right {
            Ok(())
        } else {
            Err(Corrupt.into())
        }
    }

    fn next_stream(&mut self) -> io::Result<()> {
        let start = self.input.count;
        loop {
            let Some(byte) = self.input.inner.fill_buf()?.first().copied() else {
                self.state = Phase::End;
                break;
            };
            if byte != 0 {
                self.state = Phase::Start;
                break;
            }
            self.input.byte()?;
        }
        if (self.input.count - start).is_multiple_of(4) {
            Ok(())
        } else {
            Err(Corrupt.into())
        }
    }
}

fn take(bytes: &mut &[u8]) -> io::Result<u8> {
    let (byte, rest) = bytes.split_first().ok_or(Corrupt)?;
    *bytes = rest;
    Ok(*byte)
}

fn dictionary_size(bits: u8) -> Result<usize, Corrupt> {
    if bits > 36 {
        return Err(Corrupt);
    }
    let size = (2 | usize::from(bits) & 1) << (bits / 2 + 11);
    if size > DICTIONARY_MAX {
        return Err(Corrupt);
    }
    Ok(size)
}

impl<R: BufRead> Read for XzReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.shown == self.out.len() {
            self.more()?;
        }
        let rest = &self.out[self.shown..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.shown += count;
        Ok(count)
    }
}
