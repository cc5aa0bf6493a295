//! The file of a layer: one line a face, appended, never rewritten.
//!
//! ```text
//! 1c291ca3 blob gzip gzip-6-v1 <hex> 31337
//! 5e2bb2a0 blob zstd - <hex> 4711
//! 9d1c88f1 dir 0123456789ab-x7Hq2LpZ-3
//! ```
//!
//! Each line begins with the CRC-32 of the rest, so that a torn or flipped one is skipped. Lines of
//! unknown kinds are skipped too: a later builder may add a kind of face. Not synced; a layer whose
//! file is lost is absent.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use super::file;
use crate::cache::record::BlobForm;
use crate::image::Compression;

/// The longest file that is read, in bytes: some thousand faces.
const FACES_BYTES_MAX: u64 = 1 << 20;

/// What the lines say, whether or not the faces are still there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Faces {
    /// Blobs in the order in which they were added, each once.
    pub(super) blobs: Vec<BlobForm>,
    /// The name (below `dirs`) of the unpacked directory that was added last.
    pub(super) dir: Option<String>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Face {
    Blob(BlobForm),
    Dir(String),
}

/// Reads the faces of a layer; none if it is unknown.
pub(super) fn read(path: &Path) -> Faces {
    file::read(path, FACES_BYTES_MAX).map_or_else(Faces::default, |bytes| parse(&bytes))
}

/// Adds a face.
pub(super) fn append(path: &Path, face: &Face) -> io::Result<()> {
    let text = match face {
        Face::Blob(form) => format!(
            "blob {} {} {} {}",
            word(form.compression),
            form.made_by.as_deref().unwrap_or("-"),
            form.digest.hex(),
            form.size
        ),
        Face::Dir(name) => format!("dir {name}"),
    };
    // The line feed in front ends a line that was torn.
    let line = format!("\n{:08x} {text}\n", crc32fast::hash(text.as_bytes()));
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    let mut file = file::with_parent(path, || options.open(path))?;
    file.write_all(line.as_bytes())
}

fn parse(bytes: &[u8]) -> Faces {
    let mut faces = Faces::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        match parse_line(line) {
            Some(Face::Blob(form)) if !faces.blobs.contains(&form) => faces.blobs.push(form),
            Some(Face::Dir(name)) => faces.dir = Some(name),
            _ => {}
        }
    }
    faces
}

fn parse_line(line: &[u8]) -> Option<Face> {
    let (sum, text) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(text.as_bytes()) {
        return None;
    }
    let mut words = text.split(' ');
    match words.next()? {
        "blob" => {
            let compression = compression(words.next()?)?;
            let made_by = Some(words.next()?).filter(|word| *word != "-");
            Some(Face::Blob(BlobForm {
                compression,
                made_by: made_by.map(str::to_owned),
                digest: format!("sha256:{}", words.next()?).parse().ok()?,
                size: words.next()?.parse().ok()?,
            }))
        }
        "dir" => Some(Face::Dir(words.next()?.to_owned())),
        _ => None,
    }
}

const WORDS: [(&str, Compression); 3] = [
    ("tar", Compression::Uncompressed),
    ("gzip", Compression::Gzip),
    ("zstd", Compression::Zstd),
];

fn word(compression: Compression) -> &'static str {
    let known = WORDS.iter().find(|(_, known)| *known == compression);
    known.map_or("tar", |(word, _)| word)
}

fn compression(word: &str) -> Option<Compression> {
    let known = WORDS.iter().find(|(known, _)| *known == word);
    known.map(|(_, compression)| *compression)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;

    fn form(text: &str, made_by: Option<&str>) -> BlobForm {
        BlobForm {
            compression: Compression::Gzip,
            digest: Digest::of(text.as_bytes()),
            size: 7,
            made_by: made_by.map(str::to_owned),
        }
    }

    #[test]
    fn faces_are_read_as_they_were_added() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layers/x");
        let (ours, theirs) = (form("a", Some("gzip-6-v1")), form("b", None));
        assert_eq!(read(&path), Faces::default());
        for face in [
            Face::Blob(ours.clone()),
            Face::Dir("old".to_owned()),
            Face::Blob(theirs.clone()),
            Face::Blob(ours.clone()),
            Face::Dir("new".to_owned()),
        ] {
            append(&path, &face).unwrap();
        }
        let faces = read(&path);
        assert_eq!(faces.blobs, [ours, theirs]);
        assert_eq!(faces.dir.as_deref(), Some("new"));
    }

    #[test]
    fn a_torn_line_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        append(&path, &Face::Blob(form("a", None))).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in 1..bytes.len() - 1 {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert_eq!(read(&path), Faces::default(), "cut at {length}");
            append(&path, &Face::Dir("d".to_owned())).unwrap();
            assert_eq!(read(&path).dir.as_deref(), Some("d"));
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_noticed(at: prop::sample::Index, bit in 0_u8..8) {
            let text = format!("blob gzip - {} 7", Digest::of(b"a").hex());
            let line = format!("{:08x} {text}", crc32fast::hash(text.as_bytes()));
            let mut bytes = line.into_bytes();
            prop_assert!(parse_line(&bytes).is_some());
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            // The sum is read as a number: a digit may change its case.
            let same_sum = at < 8 && bytes[at].is_ascii_uppercase();
            prop_assert!(same_sum || parse(&bytes) == Faces::default());
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            parse(&bytes);
        }
    }
}
