//! gzip in independent blocks that make one member (RFC 1952), as pigz does it.
//!
//! Every block is one `deflate` call with the 32 KiB before it as dictionary and a sync flush, so
//! that blocks can be made in any order and on any number of threads. The output buffer is always
//! as large as the bound: zlib-rs gives other bytes for smaller ones.

use flate2::{Compress, Compression, FlushCompress, Status};

/// Input bytes of a block. Part of what decides the bytes.
pub(super) const BLOCK: usize = 1 << 20;

/// Bytes of the window that a block sees of the one before.
const DICTIONARY: usize = 32 << 10;

/// What comes before the blocks: deflate, no name, no time, unknown system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// What comes between the blocks and the sums: an empty final block with fixed codes.
pub(super) const LAST_BLOCK: [u8; 2] = [3, 0];

/// Compresses one block; `before` is the block before it. `None` if zlib refuses, which it never
/// does.
pub(super) fn compress_block(before: &[u8], block: &[u8], level: u8) -> Option<Vec<u8>> {
    let mut deflate = Compress::new(Compression::new(u32::from(level)), false);
    let dictionary = &before[before.len().saturating_sub(DICTIONARY)..];
    if !dictionary.is_empty() {
        deflate.set_dictionary(dictionary).ok()?;
    }
    let mut out = Vec::with_capacity(block.len() + block.len() / 8 + 4096);
    let status = deflate
        .compress_vec(block, &mut out, FlushCompress::Sync)
        .ok()?;
    let is_whole = deflate.total_in() == block.len() as u64 && out.len() < out.capacity();
    (status == Status::Ok && is_whole).then_some(out)
}

/// The sums at the end: CRC-32 and size of the input, modulo 2^32.
pub(super) fn trailer(crc: u32, size: u64) -> [u8; 8] {
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&crc.to_le_bytes());
    trailer[4..].copy_from_slice(&size.to_le_bytes()[..4]);
    trailer
}
