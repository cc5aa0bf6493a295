//! Proof of every byte and every reference.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::super::blob::hash_file;
use super::super::faces::Face;
use super::super::open::Store;
use super::super::{faces, file, layer, name, records};
use super::inventory::{Inventory, digest_of};
use super::leftovers;
use crate::cache::error::StoreError;
use crate::cache::key::Key;
use crate::digest::Digest;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A blob's bytes are not those of its name.
    DamagedBlob,
    /// A record, tree index or resolved name does not match its seal or its name.
    DamagedFile,
    /// A record whose material has another key: it was not written by this program.
    ForgedRecord,
    /// A face of a layer is gone.
    BrokenFace,
    /// An image or a name needs a blob that is not here.
    MissingBlob {
        /// Which.
        digest: Digest,
    },
    /// `index.json` cannot be read.
    DamagedIndex {
        /// Why.
        reason: String,
    },
    /// A file that the store never makes.
    Foreign,
    /// Nothing refers to the blob.
    Loose,
    /// A killed builder left it.
    Leftover,
    /// The file of a layer says nothing: a builder was killed between making and writing it.
    Faceless,
}

impl Fault {
    /// Whether anything was lost, as opposed to space being wasted.
    pub fn is_damage(&self) -> bool {
        !matches!(
            self,
            Self::Foreign | Self::Loose | Self::Leftover | Self::Faceless
        )
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub fault: Fault,
    /// Whether it is gone now: damaged blobs are in quarantine, other damaged things removed.
    pub repaired: bool,
}

impl Store {
    /// Reads and checks everything: each blob against its name, each sealed file against its seal,
    /// each record against its material, each reference. (Stat indexes are the context room's.) Changes nothing unless `repair` is set;
    /// then damaged things are taken out of the way, which makes them misses.
    pub fn fsck(&self, repair: bool) -> Result<Vec<Problem>, StoreError> {
        if repair {
            self.writable()?;
        }
        let mut problems = self.check_blobs();
        self.check_images(&mut problems);
        self.check_layers(&mut problems);
        self.check_records(&mut problems);
        self.check_names(&mut problems);
        let left = leftovers::find(self.paths()).into_iter();
        problems.extend(left.map(|path| problem(path, Fault::Leftover)));
        if repair {
            for problem in &mut problems {
                self.repair(problem);
            }
            self.clean()?;
        }
        Ok(problems)
    }

    fn repair(&self, problem: &mut Problem) {
        problem.repaired = match problem.fault {
            Fault::DamagedBlob => {
                digest_of(&problem.path).is_some_and(|digest| self.quarantine_if_damaged(&digest))
            }
            Fault::DamagedFile | Fault::ForgedRecord => fs::remove_file(&problem.path).is_ok(),
            Fault::BrokenFace | Fault::Faceless => self.rewrite_faces(&problem.path),
            Fault::Leftover => true,
            _ => false,
        };
    }

    /// Writes the file of a layer anew with what is left of its faces, or removes it.
    fn rewrite_faces(&self, path: &Path) -> bool {
        let left = layer::present(self.paths(), path);
        if fs::remove_file(path).is_err() {
            return false;
        }
        let dir = left.dir.as_deref().and_then(Path::file_name);
        let dir = dir.map(|name| Face::Dir(name.to_string_lossy().into_owned()));
        let blobs = left.blobs.into_iter().map(Face::Blob);
        blobs
            .chain(dir)
            .all(|face| faces::append(path, &face).is_ok())
    }

    fn check_blobs(&self) -> Vec<Problem> {
        let dir = self.paths().blobs();
        let check = |name: String| {
            let path = dir.join(name);
            let Some(digest) = digest_of(&path) else {
                return Some(problem(path, Fault::Foreign));
            };
            match hash_file(&path) {
                Ok((actual, _)) if actual == digest => None,
                _ => Some(problem(path, Fault::DamagedBlob)),
            }
        };
        file::names(&dir)
            .into_par_iter()
            .filter_map(check)
            .collect()
    }

    fn check_images(&self, problems: &mut Vec<Problem>) {
        let path = self.paths().index();
        let images = match self.images() {
            Ok(images) => images,
            Err(error) => {
                let reason = std::error::Error::source(&error)
                    .map_or_else(|| error.to_string(), ToString::to_string);
                problems.push(problem(path, Fault::DamagedIndex { reason }));
                return;
            }
        };
        let inventory = Inventory::read(self, images);
        let mut needed = inventory.image_blobs();
        for digest in &needed {
            if !inventory.blobs.contains_key(digest) {
                let digest = *digest;
                problems.push(problem(path.clone(), Fault::MissingBlob { digest }));
            }
        }
        needed.extend(inventory.names.iter().flat_map(|(_, blobs)| blobs));
        needed.extend(inventory.layers.values().flat_map(|layer| &layer.blobs));
        for (digest, item) in &inventory.blobs {
            if !needed.contains(digest) {
                problems.push(problem(item.path.clone(), Fault::Loose));
            }
        }
    }

    fn check_layers(&self, problems: &mut Vec<Problem>) {
        let area = self.paths().area("layers");
        for layer_name in file::names(&area) {
            let path = area.join(&layer_name);
            if digest_of(&path).is_none() {
                problems.push(problem(path, Fault::Foreign));
                continue;
            }
            let wanted = faces::read(&path);
            let faces = layer::present(self.paths(), &path);
            if wanted == faces::Faces::default() {
                problems.push(problem(path, Fault::Faceless));
            } else if !faces.is_available() || faces.blobs.len() < wanted.blobs.len() {
                problems.push(problem(path, Fault::BrokenFace));
            }
        }
        let area = self.paths().area("trees");
        for name in file::names(&area) {
            let path = area.join(&name);
            if digest_of(&path).is_none() {
                problems.push(problem(path, Fault::Foreign));
            } else if layer::read_tree(&path).is_none() {
                problems.push(problem(path, Fault::DamagedFile));
            }
        }
    }

    fn check_records(&self, problems: &mut Vec<Problem>) {
        let area = self.paths().area("records");
        for shard in file::names(&area) {
            for name in file::names(&area.join(&shard)) {
                let path = area.join(&shard).join(&name);
                let record = name
                    .parse()
                    .ok()
                    .and_then(|key: Key| records::read(self.paths(), &key));
                match record {
                    None => problems.push(problem(path, Fault::DamagedFile)),
                    Some(record) if record.material.key() != record.key => {
                        problems.push(problem(path, Fault::ForgedRecord));
                    }
                    Some(_) => {}
                }
            }
        }
    }

    fn check_names(&self, problems: &mut Vec<Problem>) {
        for file_name in file::names(&self.paths().area("names")) {
            let path = self.paths().area("names").join(file_name);
            if name::read_descriptor(&path).is_none() {
                problems.push(problem(path, Fault::DamagedFile));
            }
        }
    }
}

fn problem(path: PathBuf, fault: Fault) -> Problem {
    Problem {
        path,
        fault,
        repaired: false,
    }
}
