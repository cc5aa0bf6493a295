//! Small builders of archives for tests.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::Contents;
use super::tar::{TarEntry, append_header, end_of_archive, padding};
use crate::digest::ContentDigest;
use crate::tree::{Entry, Kind, TreePath};

/// Contents by path.
#[derive(Debug, Default)]
pub(crate) struct Memory(pub(crate) BTreeMap<TreePath, Vec<u8>>);

impl Contents for Memory {
    fn open(&self, _index: usize, path: &TreePath) -> io::Result<Box<dyn Read + Send + '_>> {
        let content = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(content.as_slice()))
    }
}

/// A file and its content.
pub(crate) fn file(path: &str, content: &[u8]) -> Entry {
    Entry {
        kind: Kind::File {
            size: content.len() as u64,
            content: ContentDigest::of(content),
        },
        mode: 0o644,
        ..Entry::directory(TreePath::clean(path), 0)
    }
}

/// A directory.
pub(crate) fn directory(path: &str) -> Entry {
    Entry::directory(TreePath::clean(path), 0)
}

/// A symbolic link.
pub(crate) fn symlink(path: &str, target: &str) -> Entry {
    Entry {
        kind: Kind::Symlink {
            target: target.as_bytes().to_vec(),
        },
        mode: 0o777,
        ..directory(path)
    }
}

/// A hard link.
pub(crate) fn hardlink(path: &str, target: &str) -> Entry {
    Entry {
        kind: Kind::Hardlink {
            target: TreePath::clean(target),
        },
        mode: 0o644,
        ..directory(path)
    }
}

/// A tar made header by header, as no sound program would.
#[derive(Clone, Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    /// Adds an entry as our writer does.
    #[must_use]
    pub(crate) fn entry(mut self, entry: &Entry, content: &[u8]) -> Self {
        let mtime = entry.mtime;
        assert!(append_header(&mut self.bytes, TarEntry { entry, mtime }));
        self.bytes.extend_from_slice(content);
        self.bytes.extend_from_slice(padding(content.len() as u64));
        self
    }

    /// Adds a raw header: name, type, link name, size field.
    #[must_use]
    pub(crate) fn raw(self, name: &str, typeflag: u8, link: &str, data: &[u8]) -> Self {
        self.with(name, typeflag, data, |header| {
            header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        })
    }

    /// Adds a raw header changed by `change` before it is summed.
    #[must_use]
    pub(crate) fn with(
        mut self,
        name: &str,
        typeflag: u8,
        data: &[u8],
        change: impl FnOnce(&mut ::tar::Header),
    ) -> Self {
        let mut header = ::tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[156] = typeflag;
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(data.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.extend_from_slice(padding(data.len() as u64));
        self
    }

    /// Adds a PAX header.
    #[must_use]
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.pax_of(b'x', records)
    }

    /// Adds a PAX header of a type.
    #[must_use]
    pub(crate) fn pax_of(self, typeflag: u8, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length.to_string().len() + rest != length {
                length += 1;
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.raw("pax", typeflag, "", &data)
    }

    /// Adds bytes.
    #[must_use]
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// The bytes so far, without an end.
    pub(crate) fn open_end(self) -> Vec<u8> {
        self.bytes
    }

    /// The bytes with an end.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&end_of_archive());
        self.bytes
    }
}
