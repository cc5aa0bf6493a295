//! LZMA inside LZMA2 chunks (Igor Pavlov's specification; xz's `lzma2_decoder.c`).
//!
//! A chunk holds at most 64 KiB of input and makes at most 2 MiB of output, so that one chunk is
//! decoded in one go and nothing has to be suspended.

use super::Corrupt;

/// The bytes decoded last, as many as the stream's dictionary has.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    bytes: Vec<u8>,
    size: usize,
    next: usize,
}

impl Dictionary {
    pub(super) fn reset(&mut self, size: usize) {
        self.bytes.clear();
        self.size = size;
        self.next = 0;
    }

    pub(super) fn push(&mut self, byte: u8) {
        // It grows with the output: small files do not pay for large dictionaries.
        match self.bytes.get_mut(self.next) {
            Some(place) => *place = byte,
            None => self.bytes.push(byte),
        }
        self.next += 1;
        if self.next == self.size {
            self.next = 0;
        }
    }

    /// The byte `distance + 1` back.
    fn back(&self, distance: usize) -> Option<u8> {
        let back = distance.checked_add(1)?;
        let at = match self.next.checked_sub(back) {
            Some(at) => at,
            None => (self.next + self.bytes.len()).checked_sub(back)?,
        };
        // What is ahead of `next` exists only once the dictionary is full.
        let is_written = at < self.next || self.bytes.len() == self.size;
        self.bytes.get(at).copied().filter(|_| is_written)
    }
}

const STATES: usize = 12;
const POSITIONS: usize = 16;
const HALF: u16 = 1024;

/// Lengths of matches.
#[derive(Debug)]
struct Lengths {
    choice: [u16; 2],
    low: [[u16; 8]; POSITIONS],
    middle: [[u16; 8]; POSITIONS],
    high: [u16; 256],
}

impl Lengths {
    const fn new() -> Self {
        Self {
            choice: [HALF; 2],
            low: [[HALF; 8]; POSITIONS],
            middle: [[HALF; 8]; POSITIONS],
            high: [HALF; 256],
        }
    }

    fn decode(&mut self, range: &mut Coder<'_>, position: usize) -> Result<usize, Corrupt> {
        if !range.bit(&mut self.choice[0])? {
            return range.tree(&mut self.low[position], 3);
        }
        if !range.bit(&mut self.choice[1])? {
            return Ok(8 + range.tree(&mut self.middle[position], 3)?);
        }
        Ok(16 + range.tree(&mut self.high, 8)?)
    }
}

/// The state of a decoder between chunks.
#[derive(Debug)]
pub(super) struct Lzma {
    lc: u32,
    position_mask: usize,
    literal_mask: usize,
    state: usize,
    repeats: [usize; 4],
    /// Bytes since the last reset of the state's positions.
    position: usize,
    literals: Vec<[u16; 0x300]>,
    is_match: [[u16; POSITIONS]; STATES],
    is_repeat: [u16; STATES],
    is_repeat_0: [u16; STATES],
    is_repeat_1: [u16; STATES],
    is_repeat_2: [u16; STATES],
    is_long_0: [[u16; POSITIONS]; STATES],
    slots: [[u16; 64]; 4],
    special: [u16; 128],
    align: [u16; 16],
    lengths: Lengths,
    repeat_lengths: Lengths,
}

impl Lzma {
    /// A decoder with the properties byte of a chunk.
    pub(super) fn new(properties: u8) -> Result<Self, Corrupt> {
        let (lc, rest) = (u32::from(properties) % 9, u32::from(properties) / 9);
        let (lp, pb) = (rest % 5, rest / 5);
        if pb > 4 || lc + lp > 4 {
            return Err(Corrupt);
        }
        Ok(Self {
            lc,
            position_mask: (1 << pb) - 1,
            literal_mask: (1 << lp) - 1,
            state: 0,
            repeats: [0; 4],
            position: 0,
            literals: vec![[HALF; 0x300]; 1 << (lc + lp)],
            is_match: [[HALF; POSITIONS]; STATES],
            is_repeat: [HALF; STATES],
            is_repeat_0: [HALF; STATES],
            is_repeat_1: [HALF; STATES],
            is_repeat_2: [HALF; STATES],
            is_long_0: [[HALF; POSITIONS]; STATES],
            slots: [[HALF; 64]; 4],
            special: [HALF; 128],
            align: [HALF; 16],
            lengths: Lengths::new(),
            repeat_lengths: Lengths::new(),
        })
    }

    /// Starts again with the same properties; the count of bytes goes on.
    pub(super) fn reset(&mut self) -> Result<(), Corrupt> {
        let lp = self.literal_mask.count_ones();
        let pb = self.position_mask.count_ones();
        let properties = (pb * 5 + lp) * 9 + self.lc;
        let position = self.position;
        *self = Self::new(u8::try_from(properties).map_err(|_| Corrupt)?)?;
        self.position = position;
        Ok(())
    }

    /// Notes bytes that came uncompressed, or a new dictionary.
    pub(super) fn set_position(&mut self, position: usize) {
        self.position = position;
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Decodes a whole chunk: `size` bytes are appended to `out`, all of `input` is used.
    pub(super) fn chunk(
        &mut self,
        input: &[u8],
        size: usize,
        dictionary: &mut Dictionary,
        out: &mut Vec<u8>,
    ) -> Result<(), Corrupt> {
        let mut range = Coder::new(input)?;
        let end = out.len() + size;
        while out.len() < end {
            let place = self.position & self.position_mask;
            if !range.bit(&mut self.is_match[self.state][place])? {
                let byte = self.literal(&mut range, dictionary)?;
                dictionary.push(byte);
                out.push(byte);
                self.position += 1;
                continue;
            }
            let length = self.copy_length(&mut range, place, dictionary)?;
            if length > end - out.len() {
                return Err(Corrupt);
            }
            for _ in 0..length {
                let byte = dictionary.back(self.repeats[0]).ok_or(Corrupt)?;
                dictionary.push(byte);
                out.push(byte);
            }
            self.position += length;
        }
        range.finish()
    }

    fn literal(&mut self, range: &mut Coder<'_>, dictionary: &Dictionary) -> Result<u8, Corrupt> {
        let before = usize::from(dictionary.back(0).unwrap_or(0));
        let high = (self.position & self.literal_mask) << self.lc;
        let probabilities = self
            .literals
            .get_mut(high + (before >> (8 - self.lc)))
            .ok_or(Corrupt)?;
        let mut symbol = 1;
        if self.state >= 7 {
            // After a match the byte that would have continued it is a hint.
            let mut hint = usize::from(dictionary.back(self.repeats[0]).ok_or(Corrupt)?);
            while symbol < 0x100 {
                let hinted = hint >> 7 & 1;
                hint <<= 1;
                let bit = range.bit(&mut probabilities[(1 + hinted) * 0x100 + symbol])?;
                symbol = symbol << 1 | usize::from(bit);
                if hinted != usize::from(bit) {
                    break;
                }
            }
        }
        while symbol < 0x100 {
            symbol = symbol << 1 | usize::from(range.bit(&mut probabilities[symbol])?);
        }
        self.state = match self.state {
            0..=3 => 0,
            4..=9 => self.state - 3,
            _ => self.state - 6,
        };
        u8::try_from(symbol & 0xff).map_err(|_| Corrupt)
    }

    /// The length of a match; its distance is `repeats[0]`.
    fn copy_length(
        &mut self,
        range: &mut Coder<'_>,
        place: usize,
        dictionary: &Dictionary,
    ) -> Result<usize, Corrupt> {
        let state = self.state;
        let after = |low: usize, high: usize| if state < 7 { low } else { high };
        if !range.bit(&mut self.is_repeat[state])? {
            self.repeats.rotate_right(1);
            self.state = after(7, 10);
            let length = self.lengths.decode(range, place)?;
            self.repeats[0] = self.distance(range, length)?;
            return Ok(length + 2);
        }
        if range.bit(&mut self.is_repeat_0[state])? {
            let which = if !range.bit(&mut self.is_repeat_1[state])? {
                1
            } else if !range.bit(&mut self.is_repeat_2[state])? {
                2
            } else {
                3
            };
            self.repeats[..=which].rotate_right(1);
        } else if !range.bit(&mut self.is_long_0[state][place])? {
            self.state = after(9, 11);
            dictionary.back(self.repeats[0]).ok_or(Corrupt)?;
            return Ok(1);
        }
        self.state = after(8, 11);
        Ok(self.repeat_lengths.decode(range, place)? + 2)
    }

    fn distance(&mut self, range: &mut Coder<'_>, length: usize) -> Result<usize, Corrupt> {
        let slot = range.tree(&mut self.slots[length.min(3)], 6)?;
        if slot < 4 {
            return Ok(slot);
        }
        let bits = (slot >> 1) - 1;
        let base = (2 | slot & 1) << bits;
        if slot < 14 {
            // Each of these slots has a tree of its own.
            let tree = self.special.get_mut(base - slot..).ok_or(Corrupt)?;
            return Ok(base + range.reverse_tree(tree, bits)?);
        }
        let direct = range.direct(bits - 4)? << 4;
        let distance = base + direct + range.reverse_tree(&mut self.align, 4)?;
        // The end marker of plain LZMA has no place in LZMA2.
        if u32::try_from(distance).is_ok_and(|distance| distance < u32::MAX) {
            Ok(distance)
        } else {
            Err(Corrupt)
        }
    }
}

/// The range decoder over one chunk.
struct Coder<'a> {
    input: &'a [u8],
    range: u32,
    code: u32,
}

impl<'a> Coder<'a> {
    fn new(input: &'a [u8]) -> Result<Self, Corrupt> {
        let (start, input) = input.split_first_chunk::<5>().ok_or(Corrupt)?;
        let [0, code @ ..] = *start else {
            return Err(Corrupt);
        };
        Ok(Self {
            input,
            range: u32::MAX,
            code: u32::from_be_bytes(code),
        })
    }

    fn normalize(&mut self) -> Result<(), Corrupt> {
        if self.range < 1 << 24 {
            let (byte, rest) = self.input.split_first().ok_or(Corrupt)?;
            self.input = rest;
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(*byte);
        }
        Ok(())
    }

    fn bit(&mut self, probability: &mut u16) -> Result<bool, Corrupt> {
        let bound = (self.range >> 11) * u32::from(*probability);
        let bit = self.code >= bound;
        if bit {
            self.range -= bound;
            self.code -= bound;
            *probability -= *probability >> 5;
        } else {
            self.range = bound;
            *probability += (2048 - *probability) >> 5;
        }
        self.normalize()?;
        Ok(bit)
    }

    fn direct(&mut self, bits: usize) -> Result<usize, Corrupt> {
        let mut value = 0;
        for _ in 0..bits {
            self.range >>= 1;
            let bit = self.code >= self.range;
            if bit {
                self.code -= self.range;
            }
            value = value << 1 | usize::from(bit);
            self.normalize()?;
        }
        Ok(value)
    }

    fn tree(&mut self, probabilities: &mut [u16], bits: u32) -> Result<usize, Corrupt> {
        let mut symbol = 1;
        for _ in 0..bits {
            let probability = probabilities.get_mut(symbol).ok_or(Corrupt)?;
            symbol = symbol << 1 | usize::from(self.bit(probability)?);
        }
        Ok(symbol - (1 << bits))
    }

    fn reverse_tree(&mut self, probabilities: &mut [u16], bits: usize) -> Result<usize, Corrupt> {
        let mut node = 1;
        let mut symbol = 0;
        for at in 0..bits {
            let bit = usize::from(self.bit(probabilities.get_mut(node).ok_or(Corrupt)?)?);
            node = node << 1 | bit;
            symbol |= bit << at;
        }
        Ok(symbol)
    }

    fn finish(&self) -> Result<(), Corrupt> {
        if self.code == 0 && self.input.is_empty() {
            Ok(())
        } else {
            Err(Corrupt)
        }
    }
}
