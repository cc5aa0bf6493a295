//! Unpacked layers: directories that become overlay lowers.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::faces::{self, Face};
use super::file;
use super::open::Store;
use super::paths::Paths;
use super::remove;
use crate::cache::error::{StoreError, at};
use crate::digest::DiffId;

/// A directory that is being filled: the upper of an overlay, or an unpacked layer. Dropped without
/// [`Store::keep_dir`] it is removed.
#[derive(Debug)]
pub struct DirDraft {
    paths: Paths,
    /// Empty once kept.
    name: String,
    fs: PathBuf,
}

impl DirDraft {
    /// The directory to fill; empty at first, mode 0755.
    pub fn fs(&self) -> &Path {
        &self.fs
    }

    /// Makes the overlay's work directory, on the same file system. It goes with the draft.
    pub fn work(&self) -> Result<PathBuf, StoreError> {
        let path = self.paths.work(&self.name);
        let made = file::with_parent(&path, || make(&path, 0o700));
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(at!(Create, path)(error))
            }
            _ => Ok(path),
        }
    }

    /// Ends the draft: its directory stays.
    fn finish(mut self) -> (String, PathBuf) {
        (std::mem::take(&mut self.name), std::mem::take(&mut self.fs))
    }
}

impl Drop for DirDraft {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // What cannot be removed (mounted, or of other users) is in the trash and goes with the
            // next collection.
            drop(remove::discard_dir(&self.paths, &self.fs));
            drop(remove::discard_dir(
                &self.paths,
                &self.paths.work(&self.name),
            ));
        }
    }
}

impl Store {
    /// Makes a directory to fill.
    pub fn draft_dir(&self) -> Result<DirDraft, StoreError> {
        let name = self.new_dir()?;
        self.relax()?;
        let (fs, paths) = (self.paths().dir(&name), self.paths().clone());
        file::with_parent(&fs, || make(&fs, 0o755)).map_err(at!(Create, &fs))?;
        Ok(DirDraft { paths, name, fs })
    }

    /// Makes a filled directory the face of a layer. Its path does not change: a running overlay
    /// may stand on it already. If the layer has a directory, that one stays, and this one goes
    /// when the store is closed. Gives the directory to use from now on.
    ///
    /// Not synced: after a crash of the system the directory is absent (see [`Store::settle`]).
    pub fn keep_dir(&self, diff_id: &DiffId, draft: DirDraft) -> Result<PathBuf, StoreError> {
        self.pin(&diff_id.0)?;
        self.relax()?;
        let work = self.paths().work(&draft.name);
        for left in ["work", "index"] {
            // Overlay's own, empty after use; in the way of nobody if it must stay.
            drop(fs::remove_dir(work.join(left)));
        }
        drop(fs::remove_dir(&work));
        let path = self.paths().layer(diff_id);
        if let Some(winner) = faces::read(&path).dir
            && is_valid(self.paths(), &winner)
        {
            // Another builder's directory is there; this one is used until its maker is done.
            let (_, fs) = draft.finish();
            self.doom(fs);
            return Ok(self.paths().dir(&winner));
        }
        let face = Face::Dir(draft.name.clone());
        faces::append(&path, &face).map_err(at!(Create, path))?;
        let (_, fs) = draft.finish();
        Ok(fs)
    }

    /// Makes all unpacked directories of this boot durable, so that they outlive the system. Waits
    /// for the disk: for idle times, never for a build. Gives their number.
    ///
    /// # Errors
    /// [`StoreError::Sync`]: they stay what they were.
    pub fn settle(&self) -> Result<usize, StoreError> {
        self.writable()?;
        let layers = self.paths().area("layers");
        let mut unsettled = Vec::new();
        for layer in file::names(&layers) {
            let name = faces::read(&layers.join(layer)).dir;
            unsettled.extend(name.filter(|name| {
                is_valid(self.paths(), name) && !self.paths().synced(name).exists()
            }));
        }
        if unsettled.is_empty() {
            return Ok(0);
        }
        let dirs = self.paths().area("dirs");
        let handle = fs::File::open(&dirs).map_err(at!(Read, &dirs))?;
        rustix::fs::syncfs(&handle).map_err(at!(Sync, &dirs))?;
        for name in &unsettled {
            let marker = self.paths().synced(name);
            match file::create(&marker) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(at!(Create, marker)(error));
                }
                _ => {}
            }
        }
        Ok(unsettled.len())
    }
}

fn make(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    // The umask is the user's business, the mode of a root directory is the image's.
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// Whether the files of a directory can be trusted: it was made in this boot, or made durable.
pub(super) fn is_valid(paths: &Paths, name: &str) -> bool {
    is_name(name)
        && (is_of_this_boot(paths, name) || paths.synced(name).exists())
        && fs::symlink_metadata(paths.dir(name)).is_ok_and(|metadata| metadata.is_dir())
}

/// Whether a directory was made since the system started.
pub(super) fn is_of_this_boot(paths: &Paths, name: &str) -> bool {
    name.split('-').next() == Some(paths.boot())
}

/// Names come from a file: none leads out of `dirs`.
fn is_name(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}
