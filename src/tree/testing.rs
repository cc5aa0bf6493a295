//! Random trees for property tests.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Entry, Kind, Tree, TreePath};
use crate::digest::ContentDigest;

/// One component: dots, spaces, bytes that are no text, and few enough that paths meet.
pub(crate) fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "a.b", "a-", "...", "x y"])
            .prop_map(|name| name.as_bytes().to_vec()),
        1 => prop::collection::vec(1_u8..=255, 1..20).prop_map(|mut name| {
            name.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'_');
            if matches!(name.as_slice(), b"." | b"..") || name.starts_with(b".wh.") {
                name.insert(0, b'n');
            }
            name
        }),
        1 => Just(vec![b'n'; 120]),
    ]
}

/// A path of up to four components, not the root.
pub(crate) fn path() -> impl Strategy<Value = TreePath> {
    prop::collection::vec(name(), 1..4).prop_map(|names| TreePath::clean(names.join(&b'/')))
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::Directory { opaque: false }),
        1 => Just(Kind::Directory { opaque: true }),
        3 => prop::collection::vec(any::<u8>(), 0..4).prop_map(|bytes| Kind::File {
            size: bytes.len() as u64,
            content: ContentDigest::of(&bytes),
        }),
        1 => path().prop_map(|path| Kind::Symlink { target: path.as_bytes().to_vec() }),
        1 => (0_u32..4096, 0_u32..1 << 20).prop_map(|(major, minor)| Kind::CharDevice { major, minor }),
        1 => (0_u32..4096, 0_u32..1 << 20).prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
        1 => Just(Kind::Fifo),
        2 => Just(Kind::Whiteout),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let xattrs = prop::collection::btree_map(
        prop::sample::select(vec![b"user.a".to_vec(), b"user.b".to_vec()]),
        prop::collection::vec(any::<u8>(), 0..12),
        0..2,
    );
    let meta = (
        0_u32..0o10000,
        any::<u32>(),
        any::<u32>(),
        any::<i32>(),
        xattrs,
    );
    (path(), kind(), meta).prop_map(|(path, kind, (mode, uid, gid, mtime, xattrs))| {
        if matches!(kind, Kind::Whiteout) {
            return Entry::whiteout(path);
        }
        Entry {
            path,
            xattrs: if matches!(kind, Kind::Symlink { .. }) {
                BTreeMap::new()
            } else {
                xattrs
            },
            kind,
            mode,
            uid,
            gid,
            mtime: i64::from(mtime),
        }
    })
}

/// Entries in any order, paths met twice.
pub(crate) fn entries() -> impl Strategy<Value = Vec<Entry>> {
    prop::collection::vec(entry(), 0..24)
}

/// A tree.
pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    entries().prop_map(|entries| Tree::new(entries, BTreeMap::new()))
}
