//! A tar, read once: its digest, its size and its tree.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use super::LayerError;
use super::assemble::{Assembly, Placed};
use super::tar::{Limits, Reader};
use crate::digest::{ContentDigest, DiffId, HashWriter};
use crate::tree::{Entry, KEPT_BYTES_MAX, Kind, Tree, TreePath, Unread, is_kept};

/// What a pass over a tar tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// The digest of all bytes of the stream.
    pub diff_id: DiffId,
    /// Their number.
    pub size: u64,
    /// What the layer says.
    pub tree: Tree,
}

/// Reads a plain tar to the end of its stream. `tee` gets every byte (use [`io::sink`] for none).
pub fn index(reader: impl Read, limits: Limits, tee: impl Write) -> Result<Indexed, LayerError> {
    let reader = TeeReader {
        reader,
        tee: HashWriter::new(tee),
    };
    let mut archive = Reader::new(reader, limits);
    let entries = read_members(&mut archive, true)?;
    archive.drain()?;
    let (_, digest, size) = archive.into_inner().tee.finish();
    Ok(Indexed {
        diff_id: DiffId(digest),
        size,
        tree: entries,
    })
}

/// Reads a plain tar that is no layer: names that mean deletions are refused, and the stream is read
/// to the end of the archive only, whatever follows. Gives what it holds and where it ended.
pub fn index_archive(reader: impl Read, limits: Limits) -> Result<(Tree, u64), LayerError> {
    let mut archive = Reader::new(reader, limits);
    let tree = read_members(&mut archive, false)?;
    Ok((tree, archive.offset()))
}

/// Reads the members of a layer, or of another archive.
fn read_members<R: Read>(archive: &mut Reader<R>, is_layer: bool) -> Result<Tree, LayerError> {
    let mut assembly: Assembly<'_, ContentDigest> = Assembly::new(None);
    let mut kept = BTreeMap::new();
    let mut buffer = vec![0; 1 << 17];
    while let Some(member) = archive.next_member()? {
        let path = TreePath::clean(&member.path);
        if !is_layer && path.has_reserved_name() {
            return Err(LayerError::ReservedName { path });
        }
        match assembly.place(&member)? {
            Placed::Skip => {}
            Placed::Whiteout(path) => {
                let entry = Entry::whiteout(path.clone());
                assembly.whiteout(&path, entry);
            }
            Placed::Opaque(path) => {
                if !assembly.opaque(&path) {
                    return Err(LayerError::NotDirectory { path });
                }
            }
            Placed::Entry(entry) => {
                if is_link_to_itself(&entry) {
                    continue;
                }
                let entry = read_content(archive, entry, &mut buffer, &mut kept)?;
                assembly.insert(entry)?;
            }
        }
    }
    Ok(assembly.into_tree(kept))
}

/// Some archives link a file to itself to say that it is still there.
pub(super) fn is_link_to_itself<C>(entry: &Entry<C>) -> bool {
    matches!(&entry.kind, Kind::Hardlink { target } if *target == entry.path)
}

/// Hashes the content of an entry, and keeps it if it is one of the well-known files.
fn read_content(
    archive: &mut impl Read,
    entry: Entry<Unread>,
    buffer: &mut [u8],
    kept: &mut BTreeMap<TreePath, Vec<u8>>,
) -> Result<Entry, LayerError> {
    let mut keep = None;
    if is_kept(&entry.path) {
        kept.remove(&entry.path);
        keep = (entry.data_size() <= KEPT_BYTES_MAX).then(Vec::new);
    }
    let mut hasher = blake3::Hasher::new();
    loop {
        let count = archive.read(buffer).map_err(LayerError::read)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        if let Some(keep) = &mut keep {
            keep.extend_from_slice(&buffer[..count]);
        }
    }
    if let Some(content) = keep
        && matches!(entry.kind, Kind::File { .. })
    {
        kept.insert(entry.path.clone(), content);
    }
    let content = ContentDigest::from_bytes(*hasher.finalize().as_bytes());
    Ok(entry.map_content(|Unread| content))
}

/// A reader that hands every byte on.
struct TeeReader<R, W> {
    reader: R,
    tee: W,
}

impl<R: Read, W: Write> Read for TeeReader<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.tee.write_all(&buffer[..count])?;
        Ok(count)
    }
}
