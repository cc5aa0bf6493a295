//! Standard input or a file of the web as a context: an archive, or else a Dockerfile.
//!
//! What it is, is decided by content (dockerfile.md §5). Reading tar is not this room's business:
//! the caller hands in an [`Unpack`].

use std::fmt::Debug;
use std::io::{self, Read};
use std::path::Path;

use super::ContextError;
use super::dockerfile::DOCKERFILE_BYTES_MAX;
use crate::failure::Explain;

/// What an archive is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A tar, not compressed.
    Tar,
    /// gzip (RFC 1952)
    Gzip,
    /// bzip2
    Bzip2,
    /// xz
    Xz,
    /// zstd (RFC 8878)
    Zstd,
}

/// Bytes that are looked at: one tar header.
pub const HEADER_BYTES: usize = 512;

impl Format {
    /// Recognises an archive by its first [`HEADER_BYTES`] bytes; `None` is no archive. Anything
    /// compressed counts as an archive, as for BuildKit.
    pub fn detect(header: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], Format); 4] = [
            (&[0x1F, 0x8B, 0x08], Format::Gzip),
            (b"BZh", Format::Bzip2),
            (&[0xFD, b'7', b'z', b'X', b'Z', 0], Format::Xz),
            (&[0x28, 0xB5, 0x2F, 0xFD], Format::Zstd),
        ];
        let magic = MAGICS.iter().find(|(magic, _)| header.starts_with(magic));
        magic
            .map(|(_, format)| *format)
            .or_else(|| is_tar_header(header).then_some(Self::Tar))
    }
}

/// Whether these bytes are a tar header, by its checksum (POSIX ustar; old tars have no magic), or
/// the zeros that end an empty tar.
fn is_tar_header(header: &[u8]) -> bool {
    let Some(header) = header.get(..HEADER_BYTES) else {
        return false;
    };
    if header.iter().all(|byte| *byte == 0) {
        return true;
    }
    let field = &header[148..156];
    let digits: Vec<u8> = field
        .iter()
        .copied()
        .skip_while(|byte| *byte == b' ')
        .take_while(|byte| (b'0'..=b'7').contains(byte))
        .collect();
    let octal = |sum: u32, digit: &u8| sum * 8 + u32::from(digit - b'0');
    let stated = digits.iter().fold(0, octal);
    let counted = |sum: u32, (at, byte): (usize, &u8)| {
        let byte = if (148..156).contains(&at) {
            b' '
        } else {
            *byte
        };
        sum + u32::from(byte)
    };
    !digits.is_empty() && header.iter().enumerate().fold(0, counted) == stated
}

/// Unpacks an archive of untrusted content.
pub trait Unpack: Debug {
    /// Unpacks `archive` into `directory`, which exists and is empty, and nowhere else. Sizes are
    /// bounded by the implementation. Special files and links are made as the archive has them.
    ///
    /// # Errors
    /// The archive is damaged or hostile, or the disk cannot take it.
    fn unpack(
        &self,
        archive: &mut (dyn Read + Send),
        format: Format,
        directory: &Path,
    ) -> Result<(), Box<dyn Explain>>;
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// An archive, unpacked: the directory is the context, without ignore rules.
    Unpacked,
    /// A Dockerfile; the context is empty.
    Dockerfile(Vec<u8>),
}

/// Receives a context from standard input or a downloaded file. An archive is unpacked into
/// `directory`, which exists, is empty, and is private to the caller.
///
/// # Errors
/// The input fails, a Dockerfile is larger than [`DOCKERFILE_BYTES_MAX`], or unpacking fails.
pub fn receive(
    input: &mut (dyn Read + Send),
    directory: &Path,
    unpack: &dyn Unpack,
) -> Result<Received, ContextError> {
    let failed = |source| ContextError::Receive { source };
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let limit = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
    (&mut *input)
        .take(limit)
        .read_to_end(&mut header)
        .map_err(failed)?;
    let format = Format::detect(&header);
    let mut whole = header.as_slice().chain(input);
    if let Some(format) = format {
        unpack
            .unpack(&mut whole, format, directory)
            .map_err(|cause| ContextError::Unpack { cause })?;
        return Ok(Received::Unpacked);
    }
    let mut text = Vec::new();
    let mut limited = whole.take(DOCKERFILE_BYTES_MAX + 1);
    limited.read_to_end(&mut text).map_err(failed)?;
    if limited.limit() == 0 {
        return Err(failed(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("a Dockerfile has at most {DOCKERFILE_BYTES_MAX} bytes"),
        )));
    }
    Ok(Received::Dockerfile(text))
}
