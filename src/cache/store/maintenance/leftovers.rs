//! What killed builders left: temporary files, drafts, trash.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::super::lock::{self, Lock, Share};
use super::super::open::Store;
use super::super::paths::Paths;
use super::super::session::{self, Sessions};
use super::super::{dir, faces, file, remove};
use super::inventory::digest_of;
use crate::cache::error::{StoreError, at};

/// How long a collection waits for another one, and for builds that cannot write their pins.
const COLLECTION_WAIT: Duration = Duration::from_mins(1);

impl Store {
    /// Whether a builder was killed that has not been cleaned up after: a quick look, for builds that have
    /// done nothing else to the store.
    pub fn has_victims(&self) -> bool {
        self.writable().is_ok() && session::has_dead(self.paths())
    }

    /// Removes what killed builders left: temporary files, unfinished directories, directories of an
    /// earlier boot. To be called when a build is done with everything else; costs a few directory
    /// listings and a look at each layer's file. Gives the number of things removed.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another collection runs for long, [`StoreError::Lock`].
    pub fn clean(&self) -> Result<usize, StoreError> {
        self.writable()?;
        if !self.paths().base().exists() {
            return Ok(0);
        }
        self.relax()?;
        let found = {
            let _lock = hold(self.paths())?;
            let found = find(self.paths());
            for path in &found {
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
    let areas = ["tmp", "work", "dirs", "synced", "sizes", "trash"].map(|area| paths.area(area));
    let [tmp, work, dirs, synced, sizes, trash] = areas.map(|area| (file::names(&area), area));
    let sessions = Sessions::read(paths);
    let mut found: Vec<PathBuf> = Vec::new();
    for (names, area) in [tmp, work] {
        let dead = names.iter().filter(|name| !sessions.owns(name));
        found.extend(dead.map(|name| area.join(name)));
    }
    let faces = faces_in_use(paths, &sessions);
    let (names, area) = dirs;
    let dead = |name: &&String| !sessions.owns(name) && !faces.contains(*name);
    found.extend(names.iter().filter(dead).map(|name| area.join(name)));
    for (names, area) in [synced, sizes] {
        // Marks of directories that are gone.
        let gone = names.iter().filter(|name| !paths.dir(name).exists());
        found.extend(gone.map(|name| area.join(name)));
    }
    let (names, area) = trash;
    found.extend(names.iter().map(|name| area.join(name)));
    found
}

/// The directories that are faces of layers, now and in this boot, or in use.
fn faces_in_use(paths: &Paths, sessions: &Sessions) -> BTreeSet<String> {
    let layers = paths.area("layers");
    let mut names = BTreeSet::new();
    for layer in file::names(&layers) {
        let path = layers.join(layer);
        let pinned = digest_of(&path).is_some_and(|digest| sessions.pins(&digest));
        let name = faces::read(&path).dir;
        names.extend(name.filter(|name| pinned || dir::is_valid(paths, name)));
    }
    names
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
