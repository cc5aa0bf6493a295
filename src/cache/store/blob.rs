//! Blobs: bytes by digest.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::committer::PendingBlob;
use super::file;
use super::open::Store;
use crate::cache::error::{StoreError, at};
use crate::digest::{Digest, HashWriter, VerifiedReader, VerifyError};

/// Who computes the digest of a blob that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    /// The writer.
    Here,
    /// The caller, who has it anyway (an encoder that hashes what it makes, a download that is
    /// verified while it streams): [`BlobWriter::commit`] then trusts what it is given.
    ByCaller,
}

/// A blob being written. Dropped without [`BlobWriter::commit`] it leaves nothing.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    path: PathBuf,
    /// `None` once committed.
    sink: Option<Sink>,
}

#[derive(Debug)]
enum Sink {
    Hashing(HashWriter<File>),
    Plain(File, u64),
}

impl Sink {
    fn size(&self) -> u64 {
        match self {
            Self::Hashing(writer) => writer.size(),
            Self::Plain(_, size) => *size,
        }
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(sink) = &mut self.sink else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let written = sink.size();
        let result = match sink {
            Sink::Hashing(writer) => writer.write(bytes),
            Sink::Plain(file, size) => file.write(bytes).inspect(|count| *size += *count as u64),
        };
        result.map_err(|source| {
            let path = self.path.clone();
            StoreError::Write {
                path,
                written,
                source,
            }
            .into_io()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter {
    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.sink.as_ref().map_or(0, Sink::size)
    }

    /// Ends the blob: this process can use it at once, others when it is durable (soon, or at
    /// [`Store::flush`]). Gives its digest and its size in bytes.
    ///
    /// # Errors
    /// [`StoreError::Mismatch`] if it is not what was `expected`, or if nobody knows its digest.
    pub fn commit(mut self, expected: Option<(Digest, u64)>) -> Result<(Digest, u64), StoreError> {
        let (file, digest, size) = match (self.sink.take(), expected) {
            (Some(Sink::Hashing(writer)), _) => writer.finish(),
            (Some(Sink::Plain(file, size)), Some((digest, _))) => (file, digest, size),
            (Some(Sink::Plain(file, _)), None) => {
                let (digest, size) = hash_file(&self.path).map_err(at!(Read, &self.path))?;
                (file, digest, size)
            }
            (None, _) => unreachable!("only `commit` takes the sink, and it consumes the writer"),
        };
        if let Some((wanted, wanted_size)) = expected {
            compare((wanted, wanted_size), (digest, size)).map_err(StoreError::Mismatch)?;
        }
        self.store.pin(&digest)?;
        self.store.relax()?;
        if self.store.blob_size(&digest) == Some(size) {
            file::discard(&self.path);
            return Ok((digest, size));
        }
        let path = std::mem::take(&mut self.path);
        self.store.committer().add_blob(PendingBlob {
            file,
            path,
            digest,
            size,
        })?;
        Ok((digest, size))
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            file::discard(&self.path);
        }
    }
}

fn compare(wanted: (Digest, u64), actual: (Digest, u64)) -> Result<(), VerifyError> {
    let (expected, size) = wanted;
    match actual {
        (_, actual) if actual < size => Err(VerifyError::Short {
            expected,
            size,
            actual,
        }),
        (_, actual) if actual > size => Err(VerifyError::Long { expected, size }),
        (actual, _) if actual != expected => Err(VerifyError::Content { expected, actual }),
        _ => Ok(()),
    }
}

/// A blob being read: every byte is hashed, and the end is an error unless all was right
/// ([`VerifiedReader`]). A damaged blob is moved out of the way, so that it is missing next time.
#[derive(Debug)]
pub struct BlobReader {
    store: Store,
    digest: Digest,
    inner: VerifiedReader<File>,
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).inspect_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                self.store.quarantine_if_damaged(&self.digest);
            }
        })
    }
}

impl Store {
    /// Starts a blob.
    pub fn blob_writer(&self, hashing: Hashing) -> Result<BlobWriter, StoreError> {
        let path = self.temp()?;
        self.relax()?;
        let file = file::create(&path).map_err(at!(Create, &path))?;
        let sink = Some(match hashing {
            Hashing::Here => Sink::Hashing(HashWriter::new(file)),
            Hashing::ByCaller => Sink::Plain(file, 0),
        });
        let store = self.clone();
        Ok(BlobWriter { store, path, sink })
    }

    /// Puts a small blob: gives its digest and its size in bytes. Costs no write if it is there.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<(Digest, u64), StoreError> {
        let expected = (Digest::of(bytes), bytes.len() as u64);
        if self.blob_size(&expected.0) == Some(expected.1) {
            return Ok(expected);
        }
        let mut writer = self.blob_writer(Hashing::ByCaller)?;
        let path = writer.path.clone();
        writer
            .write_all(bytes)
            .map_err(|error| StoreError::from_io(error, &path))?;
        writer.commit(Some(expected))
    }

    /// Whether the blob is there. It stays there until the store is closed.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_size(digest).is_some()
    }

    /// The size of the blob in bytes; `None` if it is not there. It stays there until the store is
    /// closed.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        self.pin(digest).ok()?;
        if let Some((_, size)) = self.committer().blob(digest) {
            return Some(size);
        }
        let metadata = fs::symlink_metadata(self.paths().blob(digest)).ok()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// Opens a blob of `size` bytes.
    ///
    /// # Errors
    /// [`StoreError::Missing`]; reading fails if it is damaged.
    pub fn open_blob(&self, digest: &Digest, size: u64) -> Result<BlobReader, StoreError> {
        let file = self.open_blob_file(digest)?;
        self.relax()?;
        Ok(BlobReader {
            store: self.clone(),
            digest: *digest,
            inner: VerifiedReader::new(file, *digest, size),
        })
    }

    /// Reads a blob of at most `max` bytes.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::TooLarge`], [`StoreError::Damaged`].
    pub fn read_blob(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, StoreError> {
        let digest = *digest;
        let file = self.open_blob_file(&digest)?;
        let path = || self.paths().blob(&digest);
        let size = file.metadata().map_err(at!(Read, path()))?.len();
        if size > max {
            return Err(StoreError::TooLarge { digest, size, max });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        let mut reader = VerifiedReader::new(file, digest, size);
        match reader.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) if source.kind() == io::ErrorKind::InvalidData => {
                self.quarantine_if_damaged(&digest);
                Err(StoreError::Damaged { digest, source })
            }
            Err(source) => Err(at!(Read, path())(source)),
        }
    }

    fn open_blob_file(&self, digest: &Digest) -> Result<File, StoreError> {
        self.pin(digest)?;
        let name = self.paths().blob(digest);
        let opened = match self.committer().blob(digest) {
            // It may be published between the look and the opening.
            Some((path, _)) => file::open(&path).or_else(|_| file::open(&name)),
            None => file::open(&name),
        };
        match opened {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Missing { digest: *digest })
            }
            Err(error) => Err(at!(Read, name)(error)),
        }
    }

    /// Moves a blob out of the way if its bytes are not those of its name. (The descriptor that a
    /// reader came with may have been the wrong one instead.)
    pub(super) fn quarantine_if_damaged(&self, digest: &Digest) -> bool {
        let path = self.paths().blob(digest);
        let damaged = hash_file(&path).is_ok_and(|(actual, _)| actual != *digest);
        if damaged {
            let to = self.paths().area("quarantine").join(digest.hex());
            if file::with_parent(&to, || fs::rename(&path, &to)).is_err() {
                file::discard(&path);
            }
        }
        damaged
    }
}

impl StoreError {
    /// Whether an object is not there, or no longer: whoever needs it makes it again.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Damaged { .. })
    }
}

/// Hashes a file.
pub(super) fn hash_file(path: &std::path::Path) -> io::Result<(Digest, u64)> {
    let mut file = file::open(path)?;
    let mut writer = HashWriter::new(io::sink());
    io::copy(&mut file, &mut writer)?;
    let (_, digest, size) = writer.finish();
    Ok((digest, size))
}
