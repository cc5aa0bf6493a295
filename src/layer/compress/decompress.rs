//! Readers of compressed streams, each with bounded memory.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// zstd windows up to 128 MiB are accepted; larger ones are bombs or need `--long` anyway.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// What the first bytes of a stream say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Nothing that is known: taken as it is.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
}

impl Packing {
    /// Recognises a packing by the first bytes of a stream (six are enough).
    pub fn of_magic(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::None,
        }
    }
}

/// Decompresses a stream, recognised by its first bytes; what is not compressed passes unchanged.
///
/// gzip and zstd may have several members; anything else after them is an error. The reader ends
/// only after the checks that the format has.
pub fn decompress<'a>(reader: impl Read + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut reader = BufReader::with_capacity(1 << 17, reader);
    let start = peek(&mut reader)?;
    Ok(match Packing::of_magic(&start) {
        Packing::None => Box::new(io::Cursor::new(start).chain(reader)),
        packing => unpack(packing, io::Cursor::new(start).chain(reader))?,
    })
}

/// The first six bytes, or all there are.
fn peek(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(6);
    reader.take(6).read_to_end(&mut start)?;
    Ok(start)
}

fn unpack<'a>(
    packing: Packing,
    reader: impl BufRead + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    Ok(match packing {
        Packing::None => Box::new(reader),
        Packing::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Packing::Bzip2 => Box::new(bzip2_rs::DecoderReader::new(reader)),
    })
}
