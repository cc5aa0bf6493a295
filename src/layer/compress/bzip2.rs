//! bzip2, read block by block, streams one after another too (what lbzip2 and pbzip2 write): the
//! crate at hand stops after the first stream and says nothing.

use std::io::{self, BufRead, Read};

/// The stream breaks its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("corrupt bzip2 stream")]
struct Corrupt;

impl From<Corrupt> for io::Error {
    fn from(corrupt: Corrupt) -> Self {
        Self::new(io::ErrorKind::InvalidData, corrupt)
    }
}

const BLOCK_MAGIC: u64 = 0x3141_5926_5359;
const END_MAGIC: u64 = 0x1772_4538_5090;

/// Symbols of a group: Huffman tables change after so many.
const GROUP: usize = 50;

/// The longest code.
const LENGTH_MAX: usize = 20;

/// Decompresses a bzip2 stream, or several one after another.
#[derive(Debug)]
pub(super) struct Bzip2Reader<R> {
    bits: Bits<R>,
    /// The largest block of this stream in bytes; 0 between streams.
    block_max: usize,
    crc: u32,
    out: Vec<u8>,
    shown: usize,
    ended: bool,
}

/// Bits of a reader, the highest of each byte first.
#[derive(Debug)]
struct Bits<R> {
    inner: R,
    held: u64,
    count: u32,
}

impl<R: BufRead> Bits<R> {
    fn take(&mut self, count: u32) -> io::Result<u64> {
        while self.count < count {
            let mut byte = [0];
            self.inner.read_exact(&mut byte)?;
            self.held = self.held << 8 | u64::from(byte[0]);
            self.count += 8;
        }
        self.count -= count;
        Ok(self.held >> self.count & ((1 << count) - 1))
    }

    fn number(&mut self, count: u32) -> io::Result<usize> {
        usize::try_from(self.take(count)?).map_err(|_| Corrupt.into())
    }

    fn flag(&mut self) -> io::Result<bool> {
        Ok(self.take(1)? == 1)
    }

    /// Drops the rest of the byte.
    fn align(&mut self) {
        self.count -= self.count % 8;
    }

    fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.count < 8 && self.inner.fill_buf()?.is_empty())
    }
}

/// A canonical Huffman code.
struct Code {
    /// For each length the first code that is longer, aligned to the length, and what to add.
    limits: [u32; LENGTH_MAX + 1],
    offsets: [i64; LENGTH_MAX + 1],
    symbols: Vec<u16>,
}

impl Code {
    fn new(lengths: &[usize]) -> Result<Self, Corrupt> {
        let mut symbols = Vec::with_capacity(lengths.len());
        let (mut limits, mut offsets) = ([0; LENGTH_MAX + 1], [0; LENGTH_MAX + 1]);
        let mut code = 0_u32;
        for length in 1..=LENGTH_MAX {
            code <<= 1;
            let before = i64::try_from(symbols.len()).map_err(|_| Corrupt)?;
            offsets[length] = before - i64::from(code);
            for (symbol, _) in lengths
                .iter()
                .enumerate()
                .filter(|(_, own)| **own == length)
            {
                symbols.push(u16::try_from(symbol).map_err(|_| Corrupt)?);
                code += 1;
            }
            if code > 1 << length {
                return Err(Corrupt);
            }
            limits[length] = code;
        }
        Ok(Self {
            limits,
            offsets,
            symbols,
        })
    }

    fn decode<R: BufRead>(&self, bits: &mut Bits<R>) -> io::Result<usize> {
        let mut code = 0_u32;
        for length in 1..=LENGTH_MAX {
            code = code << 1 | u32::from(bits.flag()?);
            if code < self.limits[length] {
                let at = usize::try_from(i64::from(code) + self.offsets[length]);
                let symbol = at.ok().and_then(|at| self.symbols.get(at));
                return symbol
                    .map(|symbol| usize::from(*symbol))
                    .ok_or(Corrupt.into());
            }
        }
        Err(Corrupt.into())
    }
}

impl<R: BufRead> Bzip2Reader<R> {
    /// Starts at the header of a stream.
    pub(super) fn new(inner: R) -> Self {
        Self {
            bits: Bits {
                inner,
                held: 0,
                count: 0,
            },
            block_max: 0,
            crc: 0,
            out: Vec::new(),
            shown: 0,
            ended: false,
        }
    }

    fn more(&mut self) -> io::Result<()> {
        self.out.clear();
        self.shown = 0;
        while self.out.is_empty() && !self.ended {
            if self.block_max == 0 {
                self.header()?;
            }
            match self.bits.take(48)? {
                BLOCK_MAGIC => self.block()?,
                END_MAGIC => self.end()?,
                _ => return Err(Corrupt.into()),
            }
        }
        Ok(())
    }

    fn header(&mut self) -> io::Result<()> {
        let magic = self.bits.take(24)?;
        let level = self.bits.number(8)?.wrapping_sub(usize::from(b'0'));
        if magic != 0x0042_5a68 || !(1..=9).contains(&level) {
            return Err(Corrupt.into());
        }
        self.block_max = level * 100_000;
        self.crc = 0;
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.bits.take(32)? != u64::from(self.crc) {
            return Err(Corrupt.into());
        }
        self.bits.align();
        self.block_max = 0;
        self.ended = self.bits.is_at_end()?;
        Ok(())
    }

    fn block(&mut self) -> io::Result<()> {
        let crc = self.bits.take(32)?;
        // Blocks with shuffled bits have not been written since 1997.
        if self.bits.flag()? {
            return Err(Corrupt.into());
        }
        let origin = self.bits.number(24)?;
        let symbols = self.symbols()?;
        let data = self.moved_to_front(symbols)?;
        self.out = expand(&transform_back(&data, origin)?);
        let actual = crc32(&self.out);
        if u64::from(actual) != crc {
            return Err(Corrupt.into());
        }
        self.crc = self.crc.rotate_left(1) ^ actual;
        Ok(())
    }

    /// The bytes that occur in the block.
    fn symbols(&mut self) -> io::Result<Vec<u8>> {
        let groups = self.bits.take(16)?;
        let mut symbols = Vec::with_capacity(256);
        for group in (0..16_u8).filter(|group| groups >> (15 - group) & 1 == 1) {
            let members = self.bits.take(16)?;
            let members = (0..16_u8).filter(|member| members >> (15 - member) & 1 == 1);
            symbols.extend(members.map(|member| group << 4 | member));
        }
        if symbols.is_empty() {
            return Err(Corrupt.into());
        }
        Ok(symbols)
    }

    fn codes(&mut self, count: usize, alphabet: usize) -> io::Result<Vec<Code>> {
        let mut codes = Vec::with_capacity(count);
        for _ in 0..count {
            let mut length = self.bits.number(5)?;
            let mut lengths = Vec::with_capacity(alphabet);
            for _ in 0..alphabet {
                while self.bits.flag()? {
                    length = if self.bits.flag()? {
                        length.wrapping_sub(1)
                    } else {
                        length + 1
                    };
                    if !(1..=LENGTH_MAX).contains(&length) {
                        return Err(Corrupt.into());
                    }
                }
                if !(1..=LENGTH_MAX).contains(&length) {
                    return Err(Corrupt.into());
                }
                lengths.push(length);
            }
            codes.push(Code::new(&lengths)?);
        }
        Ok(codes)
    }

    /// The block's bytes before the Burrows–Wheeler transform is undone.
    fn moved_to_front(&mut self, mut symbols: Vec<u8>) -> io::Result<Vec<u8>> {
        let count = self.bits.number(3)?;
        let selectors = self.selectors(count)?;
        let end = symbols.len() + 1;
        let codes = self.codes(count, end + 1)?;
        let mut data = Vec::new();
        let (mut run, mut weight) = (0_usize, 1_usize);
        let mut group = selectors.iter();
        'block: loop {
            let selector = *group.next().ok_or(Corrupt)?;
            let code = codes.get(selector).ok_or(Corrupt)?;
            for _ in 0..GROUP {
                let symbol = code.decode(&mut self.bits)?;
                if symbol < 2 {
                    // Runs of the front byte are numbers in bijective base two.
                    run += weight << symbol;
                    weight <<= 1;
                    if run > self.block_max {
                        return Err(Corrupt.into());
                    }
                    continue;
                }
                if data.len() + run + 1 > self.block_max + usize::from(symbol == end) {
                    return Err(Corrupt.into());
                }
                data.resize(data.len() + run, symbols[0]);
                (run, weight) = (0, 1);
                if symbol == end {
                    break 'block;
                }
                let front = symbols.get_mut(..symbol).ok_or(Corrupt)?;
                front.rotate_right(1);
                data.push(front[0]);
            }
        }
        Ok(data)
    }

    fn selectors(&mut self, tables: usize) -> io::Result<Vec<usize>> {
        let count = self.bits.number(15)?;
        if !(2..=6).contains(&tables) || count == 0 {
            return Err(Corrupt.into());
        }
        let mut order: Vec<usize> = (0..tables).collect();
        let mut selectors = Vec::with_capacity(count);
        for _ in 0..count {
            let mut at = 0;
            while self.bits.flag()? {
                at += 1;
            }
            let front = order.get_mut(..=at).ok_or(Corrupt)?;
            front.rotate_right(1);
            selectors.push(front[0]);
        }
        Ok(selectors)
    }
}

/// Undoes the Burrows–Wheeler transform.
fn transform_back(data: &[u8], origin: usize) -> Result<Vec<u8>, Corrupt> {
    let mut starts = [0_u32; 256];
    for byte in data {
        starts[usize::from(*byte)] += 1;
    }
    let mut sum = 0;
    for start in &mut starts {
        sum += *start;
        *start = sum - *start;
    }
    let mut next = vec![0_u32; data.len()];
    for (at, byte) in data.iter().enumerate() {
        let start = &mut starts[usize::from(*byte)];
        next[*start as usize] = u32::try_from(at).map_err(|_| Corrupt)?;
        *start += 1;
    }
    let mut at = *next.get(origin).ok_or(Corrupt)? as usize;
    let mut out = Vec::with_capacity(data.len());
    for _ in 0..data.len() {
        out.push(data[at]);
        at = next[at] as usize;
    }
    Ok(out)
}

/// Undoes the first run-length coding: after four equal bytes comes a count of more.
fn expand(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut same = 0;
    for byte in data {
        if same == 4 {
            let last = out.last().copied().unwrap_or(0);
            out.resize(out.len() + usize::from(*byte), last);
            same = 0;
            continue;
        }
        same = if out.last() == Some(byte) && same > 0 {
            same + 1
        } else {
            1
        };
        out.push(*byte);
    }
    out
}

/// CRC-32 of the same polynomial as everybody's, but the highest bit first.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0_u32;
        while at < 256 {
            let mut crc = at << 24;
            let mut bit = 0;
            while bit < 8 {
                let carry = crc >> 31;
                crc <<= 1;
                if carry == 1 {
                    crc ^= 0x04c1_1db7;
                }
                bit += 1;
            }
            table[at as usize] = crc;
            at += 1;
        }
        table
    };
    let crc = bytes.iter().fold(!0_u32, |crc, byte| {
        let [high, ..] = crc.to_be_bytes();
        TABLE[usize::from(high ^ byte)] ^ crc << 8
    });
    !crc
}

impl<R: BufRead> Read for Bzip2Reader<R> {
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
