//! What the executor needs from outside, from the rooms that have it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::caches::Caches;
use super::contexts::Contexts;
use super::error::PipelineError;
use super::fetch::Fetches;
use super::images::Images;
use super::request::SecretSource;
use crate::digest::DiffId;
use crate::executor::agent::Agent;
use crate::executor::{BlobStream, FileTree, Supplies};
use crate::failure::Failure;
use crate::planner::op::CopyInput;

/// The largest secret, BuildKit's limit.
const SECRET_BYTES_MAX: u64 = 500 * 1024;

/// Everything outside of the executor.
#[derive(Debug)]
pub(super) struct Outside<'a> {
    pub(super) images: &'a Images<'a>,
    pub(super) contexts: &'a Contexts<'a>,
    pub(super) caches: &'a Caches<'a>,
    pub(super) fetches: &'a Fetches<'a>,
    pub(super) secrets: &'a BTreeMap<String, SecretSource>,
    pub(super) ssh: &'a BTreeMap<String, Agent>,
}

/// Opens a regular file; anything else would block or never end.
fn open_regular(path: &Path) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

impl Supplies for Outside<'_> {
    fn context(&self, name: &str) -> Result<FileTree, Failure> {
        Ok(self.contexts.files(name))
    }

    fn fetched(&self, input: &CopyInput) -> Result<FileTree, Failure> {
        self.fetches.files(input)
    }

    fn layer(&self, diff_id: &DiffId) -> Result<Option<BlobStream>, Failure> {
        match self.images.open(diff_id)? {
            Some(stream) => Ok(Some(stream)),
            None => self.caches.open(diff_id),
        }
    }

    fn tree(&self, diff_id: &DiffId) -> Option<Vec<u8>> {
        self.caches.tree(diff_id)
    }

    fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, Failure> {
        match self.secrets.get(id) {
            None => Ok(None),
            Some(SecretSource::Value(bytes)) => Ok(Some(bytes.0.clone())),
            Some(SecretSource::File(path)) => {
                let mut bytes = Vec::new();
                let failed = |source| PipelineError::Secret {
                    id: id.to_owned(),
                    path: path.clone(),
                    source,
                };
                // A FIFO or a device must not block or be read for ever.
                let file = open_regular(path).map_err(failed)?;
                file.take(SECRET_BYTES_MAX + 1)
                    .read_to_end(&mut bytes)
                    .map_err(failed)?;
                if bytes.len() as u64 > SECRET_BYTES_MAX {
                    return Err(PipelineError::SecretSize { id: id.to_owned() }.into());
                }
                Ok(Some(bytes))
            }
        }
    }

    fn ssh(&self, id: &str) -> Option<Agent> {
        self.ssh.get(id).cloned()
    }
}
