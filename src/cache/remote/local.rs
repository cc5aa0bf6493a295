//! A directory as a shared cache: `records/<key>` and `blobs/sha256/<hex>`.
//!
//! Files appear whole, are never changed, and the first writer of a name wins, so that many builders
//! may write at once (also over a network file system) and CI systems may save, merge and restore
//! the directory as they like.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::error::RemoteError;
use super::{BlobSource, Remote};
use crate::cache::key::Key;
use crate::cache::record::{BlobForm, RECORD_BYTES_MAX, Record};
use crate::cache::seal::{seal, unseal};
use crate::cache::store::file;
use crate::digest::VerifiedReader;

/// A directory that runners share.
#[derive(Debug)]
pub struct LocalRemote {
    directory: PathBuf,
}

impl LocalRemote {
    /// The cache in a directory (an absolute path), which need not be there yet.
    pub fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn record_path(&self, key: &Key) -> PathBuf {
        self.directory.join("records").join(key.to_string())
    }

    fn blob_path(&self, form: &BlobForm) -> PathBuf {
        let dir = self.directory.join("blobs/sha256");
        dir.join(form.digest.hex())
    }

    fn put_blob(&self, form: &BlobForm, blobs: &dyn BlobSource) -> Result<(), RemoteError> {
        let path = self.blob_path(form);
        let mut reader = VerifiedReader::new(blobs.open(form)?, form.digest, form.size);
        let send = |source| RemoteError::Send {
            digest: form.digest,
            place: self.name(),
            source,
        };
        // A file of the right name and the wrong size is what a crash left: it is replaced.
        put(&path, true, |file| {
            io::copy(&mut reader, file)?;
            file.as_file().sync_all()
        })
        .map_err(send)?;
        Ok(())
    }
}

impl Remote for LocalRemote {
    fn name(&self) -> String {
        format!("`{}`", self.directory.display())
    }

    fn record(&self, key: &Key) -> Result<Option<Record>, RemoteError> {
        let path = self.record_path(key);
        let mut file = match file::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = &self.directory;
                return match path.join("records").is_dir() {
                    true => Ok(None),
                    false => Err(RemoteError::Absent { path: path.clone() }),
                };
            }
            Err(source) => return Err(RemoteError::Read { path, source }),
        };
        let mut bytes = Vec::new();
        let limit = RECORD_BYTES_MAX + 1;
        let read = (&mut file).take(limit).read_to_end(&mut bytes);
        read.map_err(|source| RemoteError::Read { path, source })?;
        // Torn or flipped: as if it were not there.
        let Some(bytes) = unseal("record", bytes) else {
            return Ok(None);
        };
        let record = Record::decode(&bytes, key).map_err(|source| RemoteError::Refused {
            key: *key,
            place: self.name(),
            source,
        })?;
        Ok(Some(record))
    }

    fn publish(&self, record: &Record, blobs: &dyn BlobSource) -> Result<Record, RemoteError> {
        let key = record.key;
        if let Ok(Some(winner)) = self.record(&key) {
            return Ok(winner);
        }
        for form in record.blobs.iter().chain(&record.tree) {
            if !self.has_blob(form)? {
                self.put_blob(form, blobs)?;
            }
        }
        let path = self.record_path(&key);
        let bytes = record.encode().map_err(|error| RemoteError::Encode {
            key,
            reason: error.to_string(),
        })?;
        let bytes = seal("record", bytes);
        let write = |replace| {
            put(&path, replace, |file| file.write_all(&bytes)).map_err(|source| {
                let path = path.clone();
                RemoteError::Write { path, source }
            })
        };
        if write(false)? {
            return Ok(record.clone());
        }
        match self.record(&key) {
            Ok(Some(winner)) => Ok(winner),
            // What is there is damaged or refused.
            _ => write(true).map(|_| record.clone()),
        }
    }

    fn has_blob(&self, form: &BlobForm) -> Result<bool, RemoteError> {
        let metadata = fs::metadata(self.blob_path(form));
        Ok(metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() == form.size))
    }

    fn open_blob(&self, form: &BlobForm) -> Result<Box<dyn Read + Send>, RemoteError> {
        let path = self.blob_path(form);
        match file::open(&path) {
            Ok(file) => Ok(Box::new(file)),
            Err(source) => Err(RemoteError::Read { path, source }),
        }
    }
}

/// Writes a file that appears whole; `false` if the name is taken and is not to be replaced.
fn put(
    path: &Path,
    replace: bool,
    fill: impl FnOnce(&mut tempfile::NamedTempFile) -> io::Result<()>,
) -> io::Result<bool> {
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir)?;
    let mut temp = tempfile::Builder::new().prefix(".tmp-").tempfile_in(dir)?;
    fill(&mut temp)?;
    // Runners of one fleet may be different users.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    temp.as_file().set_permissions(mode)?;
    if replace {
        temp.persist(path).map_err(|error| error.error)?;
        return Ok(true);
    }
    match temp.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}
