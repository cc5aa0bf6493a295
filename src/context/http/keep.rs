//! Downloads that are kept.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::HttpError;
use crate::digest::{ContentDigest, Digest};

/// The largest record that is read, in bytes.
const RECORD_BYTES_MAX: u64 = 1 << 20;

/// What the server said of a file when it was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The digest of the address, which may hold a password.
    pub(super) address: Digest,
    /// The `ETag` header.
    pub(super) etag: Option<String>,
    /// The `Last-Modified` header.
    pub(super) last_modified: Option<String>,
    /// The content.
    pub(super) digest: Digest,
    /// Its size in bytes.
    pub(super) size: u64,
}

/// The directory of kept downloads.
#[derive(Debug)]
pub(super) struct Keep {
    directory: PathBuf,
}

/// A kept file that was read through and has the digest that it is kept under.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) content: ContentDigest,
}

impl Keep {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The record of an address, if there is a good one.
    pub(super) fn record(&self, url: &str) -> Option<Record> {
        let address = Digest::of(url.as_bytes());
        let file = fs::File::open(self.record_path(&address)).ok()?;
        let mut text = Vec::new();
        file.take(RECORD_BYTES_MAX).read_to_end(&mut text).ok()?;
        let record: Record = serde_json::from_slice(&text).ok()?;
        (record.address == address).then_some(record)
    }

    /// The body with a digest; every byte is checked, so a damaged one is no body.
    pub(super) fn body(&self, digest: &Digest) -> Option<Kept> {
        let path = self.body_path(digest);
        let mut file = fs::File::open(&path).ok()?;
        let mut hashes = Hashes::default();
        io::copy(&mut file, &mut hashes).ok()?;
        let (actual, content, size) = hashes.finish();
        (actual == *digest).then_some(Kept {
            path,
            size,
            content,
        })
    }

    /// A temporary file for a body.
    pub(super) fn begin(&self) -> Result<tempfile::NamedTempFile, HttpError> {
        let directory = self.directory.join("body");
        fs::create_dir_all(&directory)
            .and_then(|()| tempfile::NamedTempFile::new_in(&directory))
            .map_err(|source| HttpError::Keep {
                path: directory,
                source,
            })
    }

    /// Keeps a body.
    pub(super) fn commit(
        &self,
        file: tempfile::NamedTempFile,
        digest: &Digest,
    ) -> Result<PathBuf, HttpError> {
        let path = self.body_path(digest);
        match file.persist(&path) {
            Ok(_) => Ok(path),
            Err(error) => Err(HttpError::Keep {
                path,
                source: error.error,
            }),
        }
    }

    /// Keeps a record. That it cannot be written costs only the next download.
    pub(super) fn remember(&self, record: &Record) {
        let path = self.record_path(&record.address);
        let written = serde_json::to_vec(record)
            .map_err(io::Error::from)
            .and_then(|text| write_atomically(&path, &text));
        if let Err(error) = written {
            tracing::debug!(path = %path.display(), %error, "download not remembered");
        }
    }

    fn record_path(&self, address: &Digest) -> PathBuf {
        self.directory.join("url").join(address.hex())
    }

    fn body_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("body").join(digest.hex())
    }
}

fn write_atomically(path: &Path, text: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    io::Write::write_all(&mut file, text)?;
    file.persist(path)?;
    Ok(())
}

/// Both digests of a content at once.
#[derive(Default)]
pub(super) struct Hashes {
    sha256: sha2::Sha256,
    blake3: blake3::Hasher,
    size: u64,
}

impl Hashes {
    pub(super) fn finish(self) -> (Digest, ContentDigest, u64) {
        use sha2::Digest as _;
        let digest = Digest::from_bytes(self.sha256.finalize().into());
        let content = ContentDigest::from_bytes(*self.blake3.finalize().as_bytes());
        (digest, content, self.size)
    }
}

impl io::Write for Hashes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sha2::Digest::update(&mut self.sha256, bytes);
        self.blake3.update(bytes);
        self.size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
