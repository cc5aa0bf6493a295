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
    /// xz.
    Xz,
    /// bzip2.
    Bzip2,
}

impl Packing {
    /// Recognises a packing by the first bytes of a stream (six are enough).
    pub fn of_magic(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::None,
        }
    }
}

/// Decompresses a stream, recognised by its first bytes; what is not compressed passes unchanged.
///
/// Several members one after another are one stream; anything else after them is an error. The reader ends
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
        Packing::Xz => Box::new(super::xz::XzReader::new(reader)),
        Packing::Bzip2 => Box::new(super::bzip2::Bzip2Reader::new(reader)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    const XZ: &[u8] = include_bytes!("../../../testdata/layers/sample.xz");
    const BZIP2: &[u8] = include_bytes!("../../../testdata/layers/sample.bz2");

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn what_others_packed_is_unpacked() {
        for packed in [XZ, BZIP2] {
            let text = Digest::of(&unpack(packed).unwrap()).to_string();
            assert_eq!(
                text,
                include_str!("../../../testdata/layers/sample.sha256").trim()
            );
        }
        let plain = unpack(XZ).unwrap();
        assert!(unpack(&[XZ, &[0; 8], XZ].concat()).unwrap() == plain.repeat(2));
        assert!(unpack(&[BZIP2, BZIP2].concat()).unwrap() == plain.repeat(2));
    }

    #[test]
    fn members_of_gzip_are_one_stream_and_may_be_empty() {
        use std::io::Write as _;
        let member = |text: &[u8]| {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        };
        let (first, empty, last) = (member(b"one "), member(b""), member(b"two"));
        let packed = [&empty[..], &first, &empty, &last, &empty].concat();
        assert_eq!(unpack(&packed).unwrap(), b"one two");
        assert_eq!(unpack(&empty).unwrap(), b"");
        assert!(unpack(&[&first[..], b"garbage"].concat()).is_err());
    }

    #[test]
    fn broken_streams_are_refused_and_never_panic() {
        let plain = unpack(XZ).unwrap();
        for at in (0..XZ.len()).step_by(1709).chain(XZ.len() - 40..XZ.len()) {
            assert!(unpack(&XZ[..at]).is_err() || at == 0, "cut at {at}");
            let mut flipped = XZ.to_vec();
            flipped[at] ^= 0x10;
            assert!(
                unpack(&flipped).map_or(true, |out| at < 6 && out != plain),
                "bit of {at}"
            );
        }
        assert!(unpack(&[XZ, b"garbage"].concat()).is_err());
        assert!(unpack(&[XZ, &[0; 3]].concat()).is_err());
    }

    #[test]
    fn zstd_windows_are_bounded() {
        // A frame header that asks for a window of 2 GiB.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
        assert!(unpack(&frame).is_err());
    }

    #[test]
    fn errors_leak_nothing() {
        let open = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        let before = open();
        for _ in 0..200 {
            let _ = unpack(&XZ[..5000]);
            let _ = unpack(&[0x28, 0xb5, 0x2f, 0xfd, 1]);
            let _ = unpack(&[0x1f, 0x8b, 8, 0]);
        }
        // Other tests open and close files meanwhile.
        assert!(open() < before + 100);
    }
}
