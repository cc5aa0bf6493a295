//! Digests, and the reader and writer that compute and check them.
//!
//! OCI names bytes by SHA-256 ([`Digest`]). File contents inside keys and tree indexes are named
//! by BLAKE3 ([`ContentDigest`]), which never leaves the store. The two cannot be mixed up.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A SHA-256 digest, printed `sha256:<64 lower-case hex digits>` (OCI image-spec, descriptor.md).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a sha256 digest")]
pub struct ParseDigestError {
    /// The offending text, cut to 100 characters.
    pub text: String,
}

impl Digest {
    /// Wraps 32 bytes that are known to be a SHA-256 digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Computes the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hex digits without the algorithm: file names under `blobs/sha256`.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// The first 12 hex digits, for people.
    pub fn short(&self) -> String {
        hex(&self.0[..6])
    }
}

/// Lower-case hex digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// The 32 bytes of 64 lower-case hex digits.
fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        text.strip_prefix("sha256:")
            .and_then(parse_hex)
            .map(Self)
            .ok_or_else(|| ParseDigestError {
                text: text.chars().take(100).collect(),
            })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The digest of a layer's *uncompressed* tar (OCI image-spec, config.md `rootfs.diff_ids`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// The digest of a chain of layers (OCI image-spec, config.md "Layer ChainID").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// Computes the chain id of layers listed from the bottom up; `None` for no layer at all.
    pub fn of(diff_ids: &[DiffId]) -> Option<Self> {
        diff_ids.iter().fold(None, |chain: Option<Self>, diff_id| {
            Some(match chain {
                None => Self(diff_id.0),
                Some(below) => Self(Digest::of(format!("{} {diff_id}", below.0).as_bytes())),
            })
        })
    }
}

/// The BLAKE3 digest of one file's content. It names contents in keys and tree indexes only;
/// what OCI names is always a [`Digest`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// Wraps 32 bytes that are known to be a BLAKE3 digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Computes the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Computes the digest of all that `reader` has.
    pub fn read(reader: &mut impl Read) -> io::Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(reader)?;
        Ok(Self(*hasher.finalize().as_bytes()))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "blake3:{}", hex(&self.0))
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// A writer that hashes and counts what passes through it.
#[derive(Debug)]
pub struct HashWriter<W> {
    inner: W,
    hasher: sha2::Sha256,
    size: u64,
}

impl<W: Write> HashWriter<W> {
    /// Starts hashing what will be written to `inner`.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: sha2::Sha256::new(),
            size: 0,
        }
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Ends the stream: the inner writer, the digest and the size in bytes.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, Digest(self.hasher.finalize().into()), self.size)
    }
}

impl<W: Write> Write for HashWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A reader that fails at the end of the stream unless the bytes were exactly those promised.
///
/// It never hands out more than the promised size, and reports a short stream, a long stream and
/// a wrong digest as [`io::ErrorKind::InvalidData`] whose inner error is a [`VerifyError`].
#[derive(Debug)]
pub struct VerifiedReader<R> {
    inner: R,
    hasher: Option<sha2::Sha256>,
    expected: Digest,
    size: u64,
    left: u64,
}

/// The bytes of a blob are not those that its descriptor promised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The stream ended early.
    #[error("blob {expected} has {actual} bytes instead of {size}")]
    Short {
        /// The promised digest.
        expected: Digest,
        /// The promised size in bytes.
        size: u64,
        /// The size found.
        actual: u64,
    },
    /// The stream went on after the promised size.
    #[error("blob {expected} has more than the promised {size} bytes")]
    Long {
        /// The promised digest.
        expected: Digest,
        /// The promised size in bytes.
        size: u64,
    },
    /// The size was right, the content was not.
    #[error("blob {expected} has the content of {actual}")]
    Content {
        /// The promised digest.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
}

impl<R: Read> VerifiedReader<R> {
    /// Wraps `inner`, which must deliver exactly `size` bytes with the digest `expected`.
    pub fn new(inner: R, expected: Digest, size: u64) -> Self {
        Self {
            inner,
            hasher: Some(sha2::Sha256::new()),
            expected,
            size,
            left: size,
        }
    }

    fn end(&mut self) -> io::Result<usize> {
        let Some(hasher) = self.hasher.take() else {
            return Ok(0);
        };
        let (expected, size) = (self.expected, self.size);
        if self.left > 0 {
            return Err(invalid(VerifyError::Short {
                expected,
                size,
                actual: size - self.left,
            }));
        }
        if read_retrying(&mut self.inner, &mut [0])? > 0 {
            return Err(invalid(VerifyError::Long { expected, size }));
        }
        let actual = Digest(hasher.finalize().into());
        if actual != expected {
            return Err(invalid(VerifyError::Content { expected, actual }));
        }
        Ok(0)
    }
}

fn invalid(error: VerifyError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn read_retrying(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl<R: Read> Read for VerifiedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            return self.end();
        }
        let limit = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = read_retrying(&mut self.inner, &mut buffer[..limit])?;
        if count == 0 {
            return self.end();
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_parsed_strictly() {
        let text = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        for bad in [
            "",
            "sha256:",
            "sha512:ab",
            "sha256:../../x",
            &text[..70],
            &text.to_uppercase(),
            &format!("{text}0"),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn chain_id_of_one_layer_is_its_diff_id() {
        let diff_id = DiffId(Digest::of(b"a"));
        assert_eq!(ChainId::of(&[diff_id]), Some(ChainId(diff_id.0)));
        assert_eq!(ChainId::of(&[]), None);
        let two = ChainId::of(&[diff_id, diff_id]).unwrap();
        assert_eq!(two.0, Digest::of(format!("{diff_id} {diff_id}").as_bytes()));
    }

    #[test]
    fn verified_reader_tells_short_long_and_wrong_apart() {
        let read = |bytes: &[u8], of: &[u8], size: u64| {
            let mut out = Vec::new();
            VerifiedReader::new(bytes, Digest::of(of), size)
                .read_to_end(&mut out)
                .map(|_| out)
        };
        assert_eq!(read(b"abc", b"abc", 3).unwrap(), b"abc");
        let text = |result: io::Result<Vec<u8>>| result.unwrap_err().to_string();
        assert!(text(read(b"ab", b"abc", 3)).contains("has 2 bytes instead of 3"));
        assert!(text(read(b"abcd", b"abc", 3)).contains("more than the promised 3"));
        assert!(text(read(b"abd", b"abc", 3)).contains("has the content of"));
    }
}
