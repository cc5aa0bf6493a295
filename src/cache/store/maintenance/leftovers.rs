//! What killed builders left: temporary files, drafts, trash.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::dir::{self, KEPT, SYNCED};
use super::super::layer::DIR;
use super::super::lock::{self, Lock, Share};
use super::super::open::Store;
use super::super::paths::Paths;
use super::super::session::{self, Sessions};
use super::super::{file, remove};
use super::inventory::digest_of;
use crate::cache::error::{StoreError, at};

/// How long a collection waits for another one, and for builds that cannot write their pins.
const COLLECTION_WAIT: Duration = Duration::from_secs(20);

impl Store {
    /// Removes what killed builders left: temporary files, unfinished directories, directories of an
    /// earlier boot. To be called when a build is done with everything else; costs a few directory
    /// listings. Gives the number of things removed.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another collection runs for long, [`StoreError::Lock`].
    pub fn clean(&self) -> Result<usize, StoreError> {
        self.writable()?;
        if !self.paths().base().exists() {
            return Ok(0);
        }
        let found = {
            let _lock = hold(self.paths())?;
            let found = find(self.paths());
            for path in &found {
                unlink_face(self.paths(), path);
                remove::trash(self.paths(), path).map_err(at!(Remove, path))?;
            }
            found.len()
        };
        empty_trash(self.paths());
        Ok(found)
    }
}

/// Keeps builds from pinning for a moment.
pub(super) fn hold(paths: &Paths) -> Result<Lock, StoreError> {
    let path = session::collector_lock(paths);
    lock::lock(&path, Share::Exclusive, COLLECTION_WAIT)
}

/// Everything that belongs to nobody. Names are listed before sessions are read: a session is older
/// than its files.
pub(super) fn find(paths: &Paths) -> Vec<PathBuf> {
    let (temps, dirs) = (paths.area("tmp"), paths.area("dirs"));
    let (temp_names, dir_names) = (file::names(&temps), file::names(&dirs));
    let trash = file::names(&paths.area("trash"));
    let sessions = Sessions::read(paths);
    let mut found: Vec<PathBuf> = Vec::new();
    for name in temp_names.iter().filter(|name| !sessions.owns(name)) {
        found.push(temps.join(name));
    }
    for name in dir_names.iter().filter(|name| !sessions.owns(name)) {
        let path = dirs.join(name);
        if !is_face(paths, name, &path, &sessions) {
            found.push(path);
        }
    }
    found.extend(trash.iter().map(|name| paths.area("trash").join(name)));
    found
}

/// Whether a directory is the face of a layer, now and in this boot.
fn is_face(paths: &Paths, name: &str, path: &Path, sessions: &Sessions) -> bool {
    let Ok(layer) = fs::read_link(path.join(KEPT)) else {
        return false;
    };
    let Some(digest) = digest_of(&layer) else {
        return false;
    };
    if sessions.pins(&digest) {
        return true;
    }
    let in_this_boot = name.split('-').next() == Some(paths.boot());
    let link = paths.area("layers").join(digest.hex()).join(DIR);
    (in_this_boot || path.join(SYNCED).exists()) && dir::link_name(&link).as_deref() == Some(name)
}

/// Removes the link of a layer to a directory that goes.
fn unlink_face(paths: &Paths, dir: &Path) {
    let layer = fs::read_link(dir.join(KEPT)).ok();
    if let Some(digest) = layer.and_then(|layer| digest_of(&layer)) {
        let link = paths.area("layers").join(digest.hex()).join(DIR);
        if dir::link_name(&link).as_deref().map(OsStr::new) == dir.file_name() {
            file::discard(&link);
        }
    }
}

/// Removes what is in the trash; gives the first failure of each thing that stays.
pub(super) fn empty_trash(paths: &Paths) -> Vec<(PathBuf, std::io::Error)> {
    let trash = paths.area("trash");
    let remove = |name: String| {
        let result = remove::remove_tree(&trash, &name);
        result.err().map(|error| (trash.join(name), error))
    };
    file::names(&trash).into_iter().filter_map(remove).collect()
}
