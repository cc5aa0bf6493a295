//! Unpacked layers: directories that become overlay lowers.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::file;
use super::layer;
use super::open::Store;
use super::paths::Paths;
use super::remove;
use crate::cache::error::{StoreError, at};
use crate::digest::DiffId;

/// In a directory that is the face of a layer: a link that names the layer.
pub(super) const KEPT: &str = "kept";
/// In a directory whose files are known to be on the disk.
pub(super) const SYNCED: &str = "synced";

/// A directory that is being filled: the upper of an overlay, or an unpacked layer. Dropped without
/// [`Store::keep_dir`] it is removed.
#[derive(Debug)]
pub struct DirDraft {
    paths: Paths,
    /// Empty once kept.
    path: PathBuf,
    fs: PathBuf,
    work: PathBuf,
}

impl DirDraft {
    /// The directory to fill; empty at first, mode 0755.
    pub fn fs(&self) -> &Path {
        &self.fs
    }

    /// The overlay's work directory, on the same file system.
    pub fn work(&self) -> &Path {
        &self.work
    }
}

impl Drop for DirDraft {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What cannot be removed (mounted, or of other users) is in the trash and goes with the
            // next collection.
            drop(remove::discard_dir(&self.paths, &self.path));
        }
    }
}

impl Store {
    /// Makes a directory to fill.
    pub fn draft_dir(&self) -> Result<DirDraft, StoreError> {
        let path = self.new_dir()?;
        let (fs, work) = (path.join("fs"), path.join("work"));
        file::with_parent(&path, || make(&path, 0o700)).map_err(at!(Create, &path))?;
        let draft = DirDraft {
            paths: self.paths().clone(),
            path,
            fs,
            work,
        };
        make(&draft.fs, 0o755).map_err(at!(Create, &draft.fs))?;
        make(&draft.work, 0o700).map_err(at!(Create, &draft.work))?;
        Ok(draft)
    }

    /// Makes a filled directory the face of a layer. Its path does not change: a running overlay
    /// may stand on it already. If the layer has a directory, that one stays, and this one goes
    /// when the store is closed. Gives the directory to use from now on.
    ///
    /// Not synced: after a crash of the system the directory is absent (see [`Store::settle`]).
    pub fn keep_dir(&self, diff_id: &DiffId, draft: DirDraft) -> Result<PathBuf, StoreError> {
        self.pin(&diff_id.0)?;
        for left in ["work/work", "work/index", "work"] {
            // Overlay's own, empty after use; in the way of nobody if it must stay.
            drop(fs::remove_dir(draft.path.join(left)));
        }
        let kept = draft.path.join(KEPT);
        symlink(diff_id.0.hex(), &kept).map_err(at!(Create, &kept))?;
        let link = self.paths().layer(diff_id).join(layer::DIR);
        if let Some(name) = target(&link, self.paths().boot()) {
            return Ok(self.lose(draft, &name));
        }
        let name = draft.path.file_name().unwrap_or_default();
        let to = Path::new("../../dirs").join(name).join("fs");
        match file::with_parent(&link, || symlink(&to, &link)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match target(&link, self.paths().boot()) {
                    Some(name) => return Ok(self.lose(draft, &name)),
                    None => layer::set_link(&to, &link).map_err(at!(Create, &link))?,
                }
            }
            result => result.map_err(at!(Create, &link))?,
        }
        Ok(finish(draft))
    }

    /// Another builder's directory won.
    fn lose(&self, draft: DirDraft, winner: &str) -> PathBuf {
        self.doom(draft.path.clone());
        finish(draft);
        fs_of(self.paths(), winner)
    }

    /// Makes all unpacked directories of this boot durable, so that they outlive the system. Waits
    /// for the disk: for idle times, never for a build. Gives their number.
    ///
    /// # Errors
    /// [`StoreError::Sync`]: they stay what they were.
    pub fn settle(&self) -> Result<usize, StoreError> {
        self.writable()?;
        let dirs = self.paths().area("dirs");
        let prefix = format!("{}-", self.paths().boot());
        let mut unsettled: Vec<PathBuf> = file::names(&dirs)
            .into_iter()
            .filter(|name| name.starts_with(&prefix))
            .map(|name| dirs.join(name))
            .collect();
        unsettled.retain(|dir| {
            fs::symlink_metadata(dir.join(KEPT)).is_ok() && !dir.join(SYNCED).exists()
        });
        if unsettled.is_empty() {
            return Ok(0);
        }
        let handle = fs::File::open(&dirs).map_err(at!(Read, &dirs))?;
        rustix::fs::syncfs(&handle).map_err(at!(Sync, &dirs))?;
        for dir in &unsettled {
            let marker = dir.join(SYNCED);
            match fs::File::create_new(&marker) {
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

fn finish(mut draft: DirDraft) -> PathBuf {
    draft.path = PathBuf::new();
    std::mem::take(&mut draft.fs)
}

/// The name (below `dirs`) of the directory that a face's link points to, if its files can be
/// trusted: it was made in this boot, or it was made durable.
pub(super) fn target(link: &Path, boot: &str) -> Option<String> {
    let name = link_name(link)?;
    let dir = link.parent()?.parent()?.parent()?.join("dirs").join(&name);
    let in_this_boot = name.split('-').next() == Some(boot);
    if in_this_boot {
        return dir.join("fs").is_dir().then_some(name);
    }
    (dir.join(SYNCED).exists() && dir.join("fs").is_dir()).then_some(name)
}

/// The name that a face's link holds: `../../dirs/NAME/fs`.
pub(super) fn link_name(link: &Path) -> Option<String> {
    let target = fs::read_link(link).ok()?;
    let name = target.parent()?.file_name()?.to_str()?;
    Some(name.to_owned())
}

/// The unpacked files of a directory.
pub(super) fn fs_of(paths: &Paths, name: &str) -> PathBuf {
    paths.area("dirs").join(name).join("fs")
}
