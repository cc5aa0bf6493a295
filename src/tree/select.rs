//! The digest of a selection: what a COPY takes, whatever the time and place it came from.

use super::{Entry, Kind, TreePath, View};
use crate::digest::ContentDigest;

/// One thing selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected<'a> {
    /// Its name in the selection.
    pub name: TreePath,
    /// What it is; never a hard link.
    pub entry: &'a Entry,
    /// The name in the selection of an earlier thing that is the same file.
    pub same_as: Option<TreePath>,
}

/// The digest of a selection, given in the order that matters to its user: names, kinds, modes,
/// owners, xattrs, link targets and contents, never times.
pub fn selection_digest<'a>(selection: impl IntoIterator<Item = Selected<'a>>) -> ContentDigest {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = Vec::with_capacity(1 << 12);
    buffer.extend_from_slice(b"builder-selection\x01");
    for selected in selection {
        put_selected(&mut buffer, &selected);
        if buffer.len() > (1 << 16) {
            hasher.update(&buffer);
            buffer.clear();
        }
    }
    hasher.update(&buffer);
    ContentDigest::from_bytes(*hasher.finalize().as_bytes())
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_selected(out: &mut Vec<u8>, selected: &Selected<'_>) {
    let entry = selected.entry;
    put_bytes(out, selected.name.as_bytes());
    for number in [entry.mode, entry.uid, entry.gid] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    match (&selected.same_as, &entry.kind) {
        (Some(name), _) => {
            out.push(b'1');
            put_bytes(out, name.as_bytes());
        }
        (None, Kind::Directory { .. }) => out.push(b'5'),
        (None, Kind::File { size, content }) => {
            out.push(b'0');
            out.extend_from_slice(&size.to_le_bytes());
            out.extend_from_slice(content.as_bytes());
        }
        (None, Kind::Symlink { target }) => {
            out.push(b'2');
            put_bytes(out, target);
        }
        (None, Kind::Hardlink { target }) => {
            out.push(b'h');
            put_bytes(out, target.as_bytes());
        }
        (None, Kind::CharDevice { major, minor }) => put_device(out, b'3', *major, *minor),
        (None, Kind::BlockDevice { major, minor }) => put_device(out, b'4', *major, *minor),
        (None, Kind::Fifo) => out.push(b'6'),
        (None, Kind::Whiteout) => out.push(b'w'),
    }
    out.extend_from_slice(&(entry.xattrs.len() as u64).to_le_bytes());
    for (name, value) in &entry.xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

fn put_device(out: &mut Vec<u8>, kind: u8, major: u32, minor: u32) {
    out.push(kind);
    out.extend_from_slice(&major.to_le_bytes());
    out.extend_from_slice(&minor.to_le_bytes());
}

impl View {
    /// Selects all that is at and below `base`, named relative to it: the base itself has the
    /// empty name. Of several names of one file the first is the file.
    pub fn select(&self, base: &TreePath) -> Vec<Selected<'_>> {
        let nodes: Vec<_> = self.walk(base).collect();
        let mut files = std::collections::BTreeMap::new();
        // Only files that have a second name somewhere need to be remembered.
        for node in nodes.iter().filter(|node| node.link.is_some()) {
            files.insert((node.layer, &node.entry.path), None::<TreePath>);
        }
        let selected = nodes.iter().filter_map(|node| {
            let name = node.path().below(base)?;
            let mut same_as = None;
            if let Some(first) = files.get_mut(&(node.layer, &node.entry.path)) {
                same_as.clone_from(first);
                first.get_or_insert_with(|| name.clone());
            }
            Some(Selected {
                name,
                entry: node.entry,
                same_as,
            })
        });
        selected.collect()
    }
}
