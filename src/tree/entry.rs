//! One entry of a tree.

use std::collections::BTreeMap;

use super::TreePath;
use crate::digest::ContentDigest;

/// One entry of a layer or of a context: a path and all that a tar header can say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-id and sticky bits included (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: i64,
    /// Extended attributes that belong in an image, by full name (`security.capability`, `user.x`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory; `opaque` hides what lower layers have in it.
    Directory {
        /// Whether lower content is hidden.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// The digest of its content.
        content: ContentDigest,
    },
    /// A symbolic link; the target is kept byte for byte.
    Symlink {
        /// The target as written.
        target: Vec<u8>,
    },
    /// Another name of a file of the same tree. The first name in tree order is the file.
    Hardlink {
        /// The path of the file.
        target: TreePath,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// The path of a lower layer is deleted (`.wh.<name>` in the tar). Mode, ids and time mean
    /// nothing here.
    Whiteout,
}

impl Entry {
    /// A directory of root's, mode 0755, at a time.
    pub fn directory(path: TreePath, mtime: i64) -> Self {
        let kind = Kind::Directory { opaque: false };
        Self {
            path,
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime,
            xattrs: BTreeMap::new(),
        }
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory { .. })
    }
}
