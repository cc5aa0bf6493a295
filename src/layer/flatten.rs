//! A chain of layers → one file system: `-o type=tar`, `-o type=local`.
//!
//! All that is not the content of a file comes from the view; contents are taken from the layers'
//! tars, each read once. So the tar has directories, links and devices first (in tree order), then
//! files in the order of their layers from the bottom up, then hard links.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use super::apply::{ApplyOptions, OverlayXattr, Ownership, apply};
use super::pick::pick;
use super::tar::{Limits, TarEntry, append_header, end_of_archive, padding};
use super::{LayerError, Opened};
use crate::tree::{Entry, Kind, Node, TreePath, View};

/// What to flatten.
pub struct Flatten<'a> {
    /// The merged layers.
    pub view: &'a View,
    /// Opens the plain tar of a layer, counted from the bottom. Not called for layers of which no
    /// file is left.
    pub open: &'a mut dyn FnMut(usize) -> Result<Opened<'a>, LayerError>,
    /// Bounds of the archives.
    pub limits: Limits,
}

impl std::fmt::Debug for Flatten<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = formatter.debug_struct("Flatten");
        text.field("layers", &self.view.len())
            .finish_non_exhaustive()
    }
}

/// One file under all its names.
#[derive(Default)]
struct FileNames {
    names: Vec<TreePath>,
}

impl Flatten<'_> {
    /// Writes the merged file system as one plain tar.
    pub fn write_tar(self, mut out: impl Write) -> Result<(), LayerError> {
        self.write_entries(&TreePath::root(), true, &mut out)?;
        out.write_all(&end_of_archive()).map_err(write_error)?;
        out.flush().map_err(write_error)
    }

    /// Writes the merged file system as members of a tar, each path below `prefix`, without the end
    /// of the archive: for archives that hold several. The root itself is a member only if it has a
    /// name: what unpacks the archive keeps the mode of its own directory.
    pub fn write_members(self, prefix: &TreePath, out: &mut dyn Write) -> Result<(), LayerError> {
        self.write_entries(prefix, !prefix.is_root(), out)
    }

    fn write_entries(
        self,
        prefix: &TreePath,
        with_root: bool,
        mut out: &mut dyn Write,
    ) -> Result<(), LayerError> {
        let Self { view, open, limits } = self;
        let mut layers: BTreeMap<usize, BTreeMap<TreePath, FileNames>> = BTreeMap::new();
        let mut header = Vec::new();
        let mut put = |out: &mut dyn Write, entry: &Entry| {
            put_header(out, &mut header, &below(prefix, entry))
        };
        for node in view.walk(&TreePath::root()) {
            if node.path().is_root() && !with_root {
                continue;
            }
            if matches!(node.entry.kind, Kind::File { .. }) {
                let files = layers.entry(node.layer).or_default();
                let file = files.entry(view.stored_path(&node).clone()).or_default();
                file.names.push(node.path().clone());
            } else {
                put(&mut out, &named(&node))?;
            }
        }
        let mut links = Vec::new();
        for (layer, files) in &layers {
            let wanted: BTreeSet<TreePath> = files.keys().cloned().collect();
            pick(open(*layer)?, limits, &wanted, |found, content| {
                let Some((first, others)) = files
                    .get(&found.path)
                    .and_then(|file| file.names.split_first())
                else {
                    return Ok(());
                };
                let Some(node) = view.lookup(first) else {
                    return Ok(());
                };
                let entry = named(&node);
                // A file that comes twice: the last one counts, and has this size.
                if found.data_size() != entry.data_size() {
                    return Ok(());
                }
                put(&mut out, &entry)?;
                let size = io::copy(content, &mut out).map_err(LayerError::read)?;
                out.write_all(padding(size)).map_err(write_error)?;
                links.extend(others.iter().map(|other| hardlink(&entry, first, other)));
                Ok(())
            })?;
        }
        for link in links {
            put(&mut out, &link)?;
        }
        Ok(())
    }

    /// Writes the merged file system into an empty directory, without any mark of overlays.
    pub fn write_directory(self, target: &Path, ownership: Ownership) -> Result<(), LayerError> {
        let limits = self.limits;
        let (reader, writer) = io::pipe().map_err(write_error)?;
        let unpack = move || {
            let options = ApplyOptions {
                overlay: OverlayXattr::User,
                lowers: &[],
                lower_view: &View::new(),
                ownership,
                clamp: None,
                limits,
            };
            apply(
                io::BufReader::with_capacity(1 << 17, reader),
                target,
                &options,
            )
        };
        std::thread::scope(|scope| {
            let unpacked = scope.spawn(unpack);
            let written = self.write_tar(io::BufWriter::with_capacity(1 << 17, writer));
            // If unpacking failed the pipe broke: its error is the one that explains.
            unpacked.join().map_err(|_| LayerError::Worker)??;
            written
        })
    }
}

fn write_error(source: io::Error) -> LayerError {
    LayerError::Write { source }
}

/// A node's entry under the name that it has in the view.
fn named(node: &Node<'_>) -> Entry {
    let mut entry = node.entry.clone();
    entry.path.clone_from(node.path());
    // There is nothing below to be hidden.
    if let Kind::Directory { opaque } = &mut entry.kind {
        *opaque = false;
    }
    entry
}

/// The entry with its path, and the file that it links to, below a prefix.
fn below(prefix: &TreePath, entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    entry.path = prefix.join(&entry.path);
    if let Kind::Hardlink { target } = &mut entry.kind {
        *target = prefix.join(target);
    }
    entry
}

fn hardlink(file: &Entry, target: &TreePath, path: &TreePath) -> Entry {
    Entry {
        path: path.clone(),
        kind: Kind::Hardlink {
            target: target.clone(),
        },
        ..file.clone()
    }
}

fn put_header(out: &mut dyn Write, header: &mut Vec<u8>, entry: &Entry) -> Result<(), LayerError> {
    header.clear();
    let mtime = entry.mtime;
    if !append_header(header, TarEntry { entry, mtime }) {
        let path = entry.path.clone();
        return Err(LayerError::Device { path });
    }
    out.write_all(header).map_err(write_error)
}
