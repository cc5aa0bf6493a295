//! Some files out of a layer, in one pass over its tar: `COPY --from` of an image that nobody
//! unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;

use super::LayerError;
use super::assemble::{Assembly, Placed};
use super::tar::{Limits, Reader};
use crate::tree::{Entry, Kind, TreePath, Unread};

/// Shows the wanted files and their contents to `take`, in the order of the archive, and reads the
/// stream to its end.
///
/// Paths are those of the layer's own tree (for a node of a view: `View::stored_path`), and of files,
/// not of hard links to them. Of a file that comes twice the last is the one that counts, as in the
/// tree: `take` then sees both. A path that never comes is an error.
pub fn pick(
    reader: impl Read,
    limits: Limits,
    wanted: &BTreeSet<TreePath>,
    mut take: impl FnMut(&Entry<Unread>, &mut dyn Read) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let mut archive = Reader::new(reader, limits);
    let mut assembly: Assembly<'_, Unread> = Assembly::new(None);
    let mut missing: BTreeSet<&TreePath> = wanted.iter().collect();
    while let Some(member) = archive.next_member()? {
        let Placed::Entry(entry) = assembly.place(&member)? else {
            continue;
        };
        let is_file = matches!(entry.kind, Kind::File { .. });
        if is_file && wanted.contains(&entry.path) {
            missing.remove(&entry.path);
            take(&entry, &mut archive)?;
        }
        // Links decide where later members are; nothing else has to be remembered.
        let matters = matches!(entry.kind, Kind::Symlink { .. } | Kind::Directory { .. });
        if matters || assembly.get(&entry.path).is_some() {
            assembly.insert(entry)?;
        }
    }
    archive.drain()?;
    match missing.into_iter().next() {
        Some(path) => Err(LayerError::NotInLayer { path: path.clone() }),
        None => Ok(()),
    }
}

/// Files picked out of layers, one after another in one file: making an inode for each would cost
/// more than reading it twice.
#[derive(Debug)]
pub struct Spool {
    file: BufWriter<File>,
    end: u64,
    places: BTreeMap<(usize, TreePath), (u64, u64)>,
}

impl Spool {
    /// Starts empty in a file that nobody else uses, best one without a name.
    pub fn new(file: File) -> Self {
        Self {
            file: BufWriter::with_capacity(1 << 17, file),
            end: 0,
            places: BTreeMap::new(),
        }
    }

    /// Picks files of the layer `layer` (a number of the caller's) out of its plain tar.
    pub fn pick(
        &mut self,
        layer: usize,
        reader: impl Read,
        limits: Limits,
        wanted: &BTreeSet<TreePath>,
    ) -> Result<(), LayerError> {
        let spool = |source| LayerError::Write { source };
        self.file
            .seek(io::SeekFrom::Start(self.end))
            .map_err(spool)?;
        pick(reader, limits, wanted, |entry, content| {
            let mut buffer = vec![0; 1 << 15];
            let start = self.end;
            loop {
                let count = content.read(&mut buffer).map_err(LayerError::read)?;
                if count == 0 {
                    break;
                }
                self.file.write_all(&buffer[..count]).map_err(spool)?;
                self.end += count as u64;
            }
            let place = (start, self.end - start);
            self.places.insert((layer, entry.path.clone()), place);
            Ok(())
        })?;
        self.file.flush().map_err(spool)
    }

    /// The content of a file that was picked; `NotFound` if it was not.
    pub fn open(&self, layer: usize, path: &TreePath) -> io::Result<impl Read + Send + '_> {
        let place = self.places.get(&(layer, path.clone()));
        let (offset, left) = *place.ok_or(io::ErrorKind::NotFound)?;
        let file = self.file.get_ref();
        Ok(SpoolReader { file, offset, left })
    }
}

/// A stretch of a file that several threads read at once.
struct SpoolReader<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for SpoolReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..room], self.offset)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
