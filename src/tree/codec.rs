//! The bytes of a tree in the store: versioned, compact, checked.
//!
//! ```text
//! "builder-tree\x01"
//! count, then per entry (numbers are LEB128 varints, bytes are length-framed):
//!   bytes shared with the previous path, rest of the path, kind byte, what the kind needs,
//!   mode, uid, gid, mtime (zigzag), number of xattrs, their names and values
//! number of kept files, their paths and contents
//! ```

use std::collections::BTreeMap;

use super::path::shared_prefix;
use super::{DecodeError, Entry, Kind, Tree, TreePath};
use crate::digest::ContentDigest;

/// The version of the encoding: the byte at the end of its magic.
pub const TREE_FORMAT: u32 = 1;

const MAGIC: &[u8] = b"builder-tree\x01";

const DIRECTORY: u8 = 0;
const OPAQUE: u8 = 1;
const FILE: u8 = 2;
const SYMLINK: u8 = 3;
const HARDLINK: u8 = 4;
const CHAR_DEVICE: u8 = 5;
const BLOCK_DEVICE: u8 = 6;
const FIFO: u8 = 7;
const WHITEOUT: u8 = 8;

impl Tree {
    /// The bytes of this tree; equal trees have equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.entries.len() * 72);
        out.extend_from_slice(MAGIC);
        put(&mut out, self.entries.len() as u64);
        let mut previous: &[u8] = b"";
        for entry in &self.entries {
            put_entry(&mut out, entry, previous);
            previous = entry.path.as_bytes();
        }
        put(&mut out, self.kept.len() as u64);
        for (path, content) in &self.kept {
            put_bytes(&mut out, path.as_bytes());
            put_bytes(&mut out, content);
        }
        out
    }

    /// Reads what [`Tree::encode`] wrote. Never trusts it: any bytes give a tree whose invariants
    /// hold, or an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(DecodeError::Format)?;
        let mut input = Input {
            rest: body,
            size: bytes.len(),
        };
        // An entry takes at least eight bytes, so the count cannot make us reserve too much.
        let count = input.count(8)?;
        let mut entries: Vec<Entry> = Vec::with_capacity(count);
        for _ in 0..count {
            let previous = entries.last().map(|entry| &entry.path);
            let entry = input.entry(previous.map_or(b"", TreePath::as_bytes))?;
            if previous.is_some_and(|previous| entry.path <= *previous) {
                return Err(input.malformed());
            }
            entries.push(entry);
        }
        let mut kept = BTreeMap::new();
        for _ in 0..input.count(2)? {
            let path = input.path(b"")?;
            kept.insert(path, input.bytes()?.to_vec());
        }
        if !input.rest.is_empty() {
            return Err(input.malformed());
        }
        Self::of_sorted(entries, kept).ok_or(input.malformed())
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry, previous: &[u8]) {
    let path = entry.path.as_bytes();
    let shared = shared_prefix(previous, path);
    put(out, shared as u64);
    put_bytes(out, &path[shared..]);
    match &entry.kind {
        Kind::Directory { opaque: false } => out.push(DIRECTORY),
        Kind::Directory { opaque: true } => out.push(OPAQUE),
        Kind::File { size, content } => {
            out.push(FILE);
            put(out, *size);
            out.extend_from_slice(content.as_bytes());
        }
        Kind::Symlink { target } => {
            out.push(SYMLINK);
            put_bytes(out, target);
        }
        Kind::Hardlink { target } => {
            out.push(HARDLINK);
            put_bytes(out, target.as_bytes());
        }
        Kind::CharDevice { major, minor } => put_device(out, CHAR_DEVICE, *major, *minor),
        Kind::BlockDevice { major, minor } => put_device(out, BLOCK_DEVICE, *major, *minor),
        Kind::Fifo => out.push(FIFO),
        Kind::Whiteout => out.push(WHITEOUT),
    }
    put(out, u64::from(entry.mode));
    put(out, u64::from(entry.uid));
    put(out, u64::from(entry.gid));
    put(out, zigzag(entry.mtime));
    put(out, entry.xattrs.len() as u64);
    for (name, value) in &entry.xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

fn put_device(out: &mut Vec<u8>, kind: u8, major: u32, minor: u32) {
    out.push(kind);
    put(out, u64::from(major));
    put(out, u64::from(minor));
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// What is left to decode.
struct Input<'a> {
    rest: &'a [u8],
    size: usize,
}

impl<'a> Input<'a> {
    fn offset(&self) -> usize {
        self.size - self.rest.len()
    }

    fn truncated(&self) -> DecodeError {
        let offset = self.offset();
        DecodeError::Truncated { offset }
    }

    fn malformed(&self) -> DecodeError {
        let offset = self.offset();
        DecodeError::Malformed { offset }
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (byte, rest) = self.rest.split_first().ok_or(self.truncated())?;
        self.rest = rest;
        Ok(*byte)
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.malformed());
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.malformed())
    }

    fn small(&mut self) -> Result<u32, DecodeError> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| self.malformed())
    }

    /// A number of things that take at least `least` bytes each.
    fn count(&mut self, least: usize) -> Result<usize, DecodeError> {
        let number = self.number()?;
        let count = usize::try_from(number).map_err(|_| self.malformed())?;
        if count > self.rest.len() / least {
            return Err(self.truncated());
        }
        Ok(count)
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(size).ok_or(self.truncated())?;
        self.rest = rest;
        Ok(bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let size = self.count(1)?;
        self.take(size)
    }

    fn path(&mut self, prefix: &[u8]) -> Result<TreePath, DecodeError> {
        let rest = self.bytes()?;
        let mut path = Vec::with_capacity(prefix.len() + rest.len());
        path.extend_from_slice(prefix);
        path.extend_from_slice(rest);
        TreePath::from_clean(path, prefix.len()).ok_or(self.malformed())
    }

    fn entry(&mut self, previous: &[u8]) -> Result<Entry, DecodeError> {
        let number = self.number()?;
        let shared = usize::try_from(number).map_err(|_| self.malformed())?;
        let prefix = previous.get(..shared).ok_or(self.malformed())?;
        let path = self.path(prefix)?;
        let kind = self.kind()?;
        let (mode, uid, gid) = (self.small()?, self.small()?, self.small()?);
        let mtime = unzigzag(self.number()?);
        let mut xattrs = BTreeMap::new();
        for _ in 0..self.count(2)? {
            let name = self.bytes()?.to_vec();
            xattrs.insert(name, self.bytes()?.to_vec());
        }
        Ok(Entry {
            path,
            kind,
            mode,
            uid,
            gid,
            mtime,
            xattrs,
        })
    }

    fn kind(&mut self) -> Result<Kind, DecodeError> {
        Ok(match self.byte()? {
            DIRECTORY => Kind::Directory { opaque: false },
            OPAQUE => Kind::Directory { opaque: true },
            FILE => {
                let size = self.number()?;
                let digest = self.take(32)?;
                let digest = digest.try_into().map_err(|_| self.malformed())?;
                let content = ContentDigest::from_bytes(digest);
                Kind::File { size, content }
            }
            SYMLINK => Kind::Symlink {
                target: self.bytes()?.to_vec(),
            },
            HARDLINK => Kind::Hardlink {
                target: self.path(b"")?,
            },
            CHAR_DEVICE => Kind::CharDevice {
                major: self.small()?,
                minor: self.small()?,
            },
            BLOCK_DEVICE => Kind::BlockDevice {
                major: self.small()?,
                minor: self.small()?,
            },
            FIFO => Kind::Fifo,
            WHITEOUT => Kind::Whiteout,
            _ => return Err(self.malformed()),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(entries in testing::entries()) {
            let kept = BTreeMap::from([(TreePath::clean("etc/passwd"), b"root".to_vec())]);
            let tree = Tree::new(entries, kept);
            prop_assert_eq!(&Tree::decode(&tree.encode()).unwrap(), &tree);
        }

        #[test]
        fn cut_or_flipped_bytes_never_panic(
            entries in testing::entries(),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..,
        ) {
            let bytes = Tree::new(entries, BTreeMap::new()).encode();
            let at = at.index(bytes.len());
            prop_assert!(Tree::decode(&bytes[..at]).is_err());
            let mut bytes = bytes;
            bytes[at] ^= flip;
            if let Ok(tree) = Tree::decode(&bytes) {
                prop_assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
            }
        }
    }

    #[test]
    fn a_promise_of_many_entries_reserves_nothing() {
        let mut bytes = MAGIC.to_vec();
        put(&mut bytes, u64::MAX);
        assert!(matches!(
            Tree::decode(&bytes),
            Err(DecodeError::Truncated { .. } | DecodeError::Malformed { .. })
        ));
        assert_eq!(Tree::decode(b"x"), Err(DecodeError::Format));
    }
}
