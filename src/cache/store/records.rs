//! Records by key, and by operation.

use std::fs;
use std::io;
use std::path::Path;

use super::committer::PendingRecord;
use super::file;
use super::layer;
use super::lock::Lock;
use super::open::Store;
use super::paths::{FORMAT, Paths};
use crate::cache::error::{StoreError, at};
use crate::cache::key::Key;
use crate::cache::record::{RECORD_BYTES_MAX, Record};
use crate::cache::seal::{seal, unseal};

/// So many records of one operation are found again.
const SIMILAR_MAX: usize = 16;
/// Bytes of one line of an operation's list: 64 digits and a line feed.
const LINE: usize = 65;
/// A list of so many lines is cut to [`SIMILAR_MAX`].
const LINES_MAX: usize = 4 * SIMILAR_MAX;

impl Store {
    /// The record of a key, if its layer is here, as a directory or as a blob. The layer stays until
    /// the store is closed. A damaged record is absent.
    pub fn record(&self, key: &Key) -> Option<Record> {
        if let Some(record) = self.committer().record(key) {
            return Some(record);
        }
        let record = read(self.paths(), key)?;
        self.is_available(&record.diff_id).then_some(record)
    }

    /// Writes a record whose layer is in the store. The first writer wins: gives the record that
    /// stands for the key from now on, which may be another builder's.
    ///
    /// # Errors
    /// [`StoreError::ReadOnly`], and what prevents writing.
    pub fn commit(&self, record: Record) -> Result<Record, StoreError> {
        self.commit_claimed(record, None)
    }

    /// Writes a record in place of the one that stands for its key: what `--no-cache` made counts
    /// from now on.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn replace(&self, record: Record) -> Result<Record, StoreError> {
        let path = self.paths().record(&record.key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at!(Remove, &path)(error)),
            _ => self.commit(record),
        }
    }

    /// Commits, holding the claim until the record can be seen by others.
    pub(super) fn commit_claimed(
        &self,
        record: Record,
        claim: Option<Lock>,
    ) -> Result<Record, StoreError> {
        let temp = self.temp()?;
        let winner = self.record(&record.key);
        self.relax()?;
        if let Some(winner) = winner {
            return Ok(winner);
        }
        if layer::is_available(self.paths(), &record.diff_id) {
            return publish(self.paths(), &record, &temp);
        }
        let pending = PendingRecord {
            record: record.clone(),
            temp,
            claim,
        };
        match self.committer().add_record(pending)? {
            None => Ok(record),
            Some(pending) => publish(self.paths(), &pending.record, &pending.temp),
        }
    }

    /// Records of an operation with other inputs, newest first, at most 16. Costs one system call
    /// if there is none. Their layers may be gone.
    pub fn similar(&self, operation: &Key) -> Vec<Record> {
        newest(&self.paths().operation(operation))
            .iter()
            .filter_map(|key| read(self.paths(), key))
            .collect()
    }
}

/// Reads and checks a record, whether or not its layer is here.
pub(super) fn read(paths: &Paths, key: &Key) -> Option<Record> {
    let hex = key.to_string();
    let name = format!("builder/{FORMAT}/records/{}/{hex}", &hex[..2]);
    let mut file = file::open_at(paths.handle()?, name).ok()?;
    let bytes = unseal("record", file::read_all(&mut file, RECORD_BYTES_MAX)?)?;
    let record: Record = serde_json::from_slice(&bytes).ok()?;
    record.check(key).ok()?;
    Some(record)
}

/// Writes a record unless a readable one is there: gives the one that is there afterwards.
pub(super) fn publish(paths: &Paths, record: &Record, temp: &Path) -> Result<Record, StoreError> {
    let path = paths.record(&record.key);
    let encode = |source| StoreError::Encode {
        path: path.clone(),
        source,
    };
    let bytes = seal("record", record.encode().map_err(encode)?);
    match file::publish_new(temp, &path, &bytes) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let winner = read(paths, &record.key)
                .filter(|winner| layer::is_available(paths, &winner.diff_id));
            if let Some(winner) = winner {
                return Ok(winner);
            }
            // It is damaged or its layer is gone. Of two that replace it at once, either may stay.
            file::replace(temp, &path, &bytes).map_err(at!(Create, &path))?;
        }
        Err(error) => return Err(at!(Create, &path)(error)),
    }
    if let Some(operation) = &record.operation {
        // Only explanations depend on it.
        drop(append(&paths.operation(operation), &record.key, temp));
    }
    Ok(record.clone())
}

/// Adds a key to the list of an operation, and cuts the list when it has grown.
fn append(path: &Path, key: &Key, temp: &Path) -> io::Result<()> {
    let line = format!("{key}\n");
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    let mut file = file::with_parent(path, || options.open(path))?;
    io::Write::write_all(&mut file, line.as_bytes())?;
    if file.metadata()?.len() > (LINES_MAX * LINE) as u64 {
        let keys = newest(path);
        let lines: Vec<String> = keys.iter().rev().map(Key::to_string).collect();
        let text = lines.join("\n") + "\n";
        file::replace(temp, path, text.as_bytes())?;
    }
    Ok(())
}

/// The keys of a list, newest first, each once. Torn lines are skipped.
pub(super) fn newest(path: &Path) -> Vec<Key> {
    let bytes = file::read(path, 1 << 20).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut keys: Vec<Key> = Vec::new();
    for key in text.lines().rev().filter_map(|line| line.parse().ok()) {
        if keys.len() == SIMILAR_MAX {
            break;
        }
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}
