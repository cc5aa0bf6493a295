//! What others want of the layers that were made: blobs, merged file systems.

use std::io::{self, Write};
use std::path::Path;
use std::sync::PoisonError;

use super::Executor;
use super::chain::Chain;
use super::error::ExecuteError;
use crate::cache::{BlobForm, Record};
use crate::digest::DiffId;
use crate::failure::Failure;
use crate::layer::{Encoding, Flatten, LayerError, Limits, Ownership};
use crate::planner::graph::StepId;
use crate::tree::TreePath;

impl Executor<'_> {
    /// What was recorded of a step in this run.
    pub fn records_of(&self, step: StepId) -> Vec<Record> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.get(&step).cloned().unwrap_or_default()
    }

    /// A blob of a layer in an encoding; made if the store has none.
    pub fn blob(&self, diff_id: DiffId, encoding: Encoding) -> Result<BlobForm, Failure> {
        self.faces.blob(diff_id, encoding)
    }

    /// Brings a layer into the store if it is not there.
    pub fn bring(&self, diff_id: DiffId) -> Result<(), Failure> {
        self.faces.bring(diff_id).map(drop)
    }

    /// Writes the merged file system of layers, bottom first, as one tar without its end, each name
    /// below `prefix`.
    pub fn write_tar(
        &self,
        layers: &Chain,
        prefix: &str,
        out: &mut dyn Write,
    ) -> Result<(), Failure> {
        let prefix = TreePath::clean(prefix);
        self.flatten(layers, |flatten| flatten.write_members(&prefix, out))
    }

    /// Lays the merged file system of layers out below a directory, beside what is there, owned by
    /// whoever runs this.
    pub fn extract(&self, layers: &Chain, directory: &Path) -> Result<(), Failure> {
        let failed = |source| ExecuteError::MountFiles {
            path: directory.to_owned(),
            source,
        };
        let draft = tempfile::Builder::new()
            .prefix(".builder-")
            .tempdir_in(directory)
            .map_err(failed)?;
        self.flatten(layers, |flatten| {
            flatten.write_directory(draft.path(), Ownership::Current)
        })?;
        Ok(merge(draft.path(), directory).map_err(failed)?)
    }

    /// Hands the merged file system of layers, bottom first, to `write`.
    pub(crate) fn flatten(
        &self,
        chain: &Chain,
        write: impl FnOnce(Flatten<'_>) -> Result<(), LayerError>,
    ) -> Result<(), Failure> {
        let view = self.faces.view(chain)?;
        let layers = chain.diff_ids().map_err(|_| ExecuteError::Cancelled)?;
        let mut failure = None;
        let mut open = |number: usize| {
            self.faces.any_tar(layers[number]).map_err(|cause| {
                failure = Some(cause);
                LayerError::Read {
                    source: io::ErrorKind::Other.into(),
                }
            })
        };
        let result = write(Flatten {
            view: &view,
            open: &mut open,
            limits: Limits::default(),
        });
        match (failure, result) {
            (Some(cause), _) => Err(cause),
            (None, Err(source)) => {
                let diff_id = layers
                    .last()
                    .copied()
                    .unwrap_or(DiffId(crate::digest::Digest::of(b"")));
                Err(ExecuteError::Layer {
                    action: "flatten",
                    diff_id,
                    source,
                }
                .into())
            }
            (None, Ok(())) => Ok(()),
        }
    }
}

/// Moves what is in `from` into `to`: directories are merged, everything else replaced. Both are on
/// one file system, and `from` is nobody else's.
fn merge(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let is_directory = entry.file_type()?.is_dir();
        match target.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() && is_directory => {
                merge(&entry.path(), &target)?;
                continue;
            }
            Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(&target)?,
            Ok(_) if is_directory => std::fs::remove_file(&target)?,
            Ok(_) | Err(_) => {}
        }
        std::fs::rename(entry.path(), target)?;
    }
    Ok(())
}
