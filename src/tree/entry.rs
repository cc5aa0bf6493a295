//! One entry of a tree.

use std::collections::BTreeMap;

use super::TreePath;
use crate::digest::ContentDigest;

/// What is known of a file's content: its digest, or nothing yet.
pub trait Content: Copy + Send + Sync + 'static {
    /// The digest, if it is known.
    fn known(self) -> Option<ContentDigest>;
}

impl Content for ContentDigest {
    fn known(self) -> Option<ContentDigest> {
        Some(self)
    }
}

/// The content of a file that nobody has read yet: what a RUN wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread;

impl Content for Unread {
    fn known(self) -> Option<ContentDigest> {
        None
    }
}

/// One entry of a layer or of a context: a path and all that a tar header can say of it. `C` says
/// whether the contents of files are known ([`ContentDigest`]) or not read yet ([`Unread`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<C = ContentDigest> {
    /// Where it is.
    pub path: TreePath,
    /// What it is.
    pub kind: Kind<C>,
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
pub enum Kind<C = ContentDigest> {
    /// A directory; `opaque` hides what lower layers have in it.
    Directory {
        /// Whether lower content is hidden.
        opaque: bool,
    },
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// Its content.
        content: C,
    },
    /// A symbolic link; the target is kept byte for byte.
    Symlink {
        /// The target as written.
        target: Vec<u8>,
    },
    /// Another name of a file of the same layer or, rarely, of a lower one. In layers that this
    /// program writes the first name in tree order is the file.
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

impl<C> Entry<C> {
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

    /// The deletion of what lower layers have at a path.
    pub fn whiteout(path: TreePath) -> Self {
        Self {
            path,
            kind: Kind::Whiteout,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: BTreeMap::new(),
        }
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory { .. })
    }

    /// Bytes of content that follow the entry's header in a tar.
    pub fn data_size(&self) -> u64 {
        match self.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        }
    }

    /// The same entry with what is known of its content replaced.
    pub fn map_content<D>(self, content: impl FnOnce(C) -> D) -> Entry<D> {
        let kind = match self.kind {
            Kind::Directory { opaque } => Kind::Directory { opaque },
            Kind::File { size, content: old } => Kind::File {
                size,
                content: content(old),
            },
            Kind::Symlink { target } => Kind::Symlink { target },
            Kind::Hardlink { target } => Kind::Hardlink { target },
            Kind::CharDevice { major, minor } => Kind::CharDevice { major, minor },
            Kind::BlockDevice { major, minor } => Kind::BlockDevice { major, minor },
            Kind::Fifo => Kind::Fifo,
            Kind::Whiteout => Kind::Whiteout,
        };
        Entry {
            path: self.path,
            kind,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            xattrs: self.xattrs,
        }
    }
}

/// Whether an extended attribute belongs in an image: file capabilities and the user's own.
///
/// Labels of the machine (`security.selinux`, `security.ima`), what needs privileges of the host
/// (`trusted.*`), ACLs (their ids would need mapping) and the bookkeeping of overlay drivers do
/// not: they differ from machine to machine or would change how a layer is mounted.
pub fn is_image_xattr(name: &[u8]) -> bool {
    let bookkeeping: [&[u8]; 4] = [
        b"user.builder.",
        b"user.overlay.",
        b"user.fuseoverlayfs.",
        b"user.containers.",
    ];
    name == b"security.capability"
        || name.starts_with(b"user.")
            && name.len() > b"user.".len()
            && !bookkeeping.iter().any(|prefix| name.starts_with(prefix))
}
