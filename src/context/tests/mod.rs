//! A small language for contexts, and what scans of them give.

mod archive;
mod dockerfile;
mod git;
mod hostile;
mod http;
mod scan;
mod stat_index;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::pattern::Glob;
use crate::tree::{Entry, Kind};

/// A directory tree under construction.
pub(super) struct Project {
    pub(super) outside: tempfile::TempDir,
    ignore: IgnoreSource,
    index: bool,
}

impl Project {
    /// An empty context, with room beside it.
    pub(super) fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("context")).unwrap();
        Self {
            outside,
            ignore: IgnoreSource::Root,
            index: false,
        }
    }

    pub(super) fn indexed(mut self) -> Self {
        self.index = true;
        self
    }

    pub(super) fn ignore(mut self, source: IgnoreSource) -> Self {
        self.ignore = source;
        self
    }

    pub(super) fn path(&self) -> PathBuf {
        self.outside.path().join("context")
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.outside.path().join("index")
    }

    fn at(&self, path: &str) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub(super) fn file(self, path: &str, content: &str) -> Self {
        self.write(path, content);
        self
    }

    pub(super) fn write(&self, path: &str, content: &str) {
        fs::write(self.at(path), content).unwrap();
        let mode = fs::Permissions::from_mode(0o644);
        fs::set_permissions(self.at(path), mode).unwrap();
    }

    pub(super) fn directory(self, path: &str) -> Self {
        fs::create_dir_all(self.at(path)).unwrap();
        self
    }

    pub(super) fn link(self, path: &str, target: impl AsRef<Path>) -> Self {
        symlink(target, self.at(path)).unwrap();
        self
    }

    pub(super) fn open(&self) -> Result<LocalContext, ContextError> {
        let index = self.index.then(|| self.index_path());
        LocalContext::open(&self.path(), self.ignore.clone(), index)
    }

    pub(super) fn scan(&self, sources: &[&str]) -> Scan {
        let wanted: Vec<_> = sources
            .iter()
            .map(|source| Wanted::Source(Glob::new(source).unwrap()))
            .collect();
        self.open().unwrap().scan(&wanted).unwrap()
    }

    /// The paths that sources select; directories end with a slash, links show their target.
    pub(super) fn selects(&self, sources: &[&str]) -> Vec<String> {
        self.scan(sources).entries.iter().map(show).collect()
    }
}

pub(super) fn show(entry: &Entry) -> String {
    let path = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
    match &entry.kind {
        Kind::Directory { .. } => format!("{path}/"),
        Kind::Symlink { target } => format!("{path} -> {}", String::from_utf8_lossy(target)),
        Kind::Hardlink { target } => format!("{path} = {}", &target.to_string()[1..]),
        Kind::Fifo => format!("{path} (fifo)"),
        _ => path,
    }
}
