//! Archives as contexts: known by content, unpacked within bounds.

use std::io::Read;

use super::super::archive::{Format, Received, Unpack, receive};
use super::*;
use crate::failure::Explain;

/// Writes what it gets into one file.
#[derive(Debug)]
struct Dump;

impl Unpack for Dump {
    fn unpack(
        &self,
        archive: &mut (dyn Read + Send),
        format: Format,
        directory: &Path,
    ) -> Result<(), Box<dyn Explain>> {
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).unwrap();
        fs::write(directory.join(format!("{format:?}")), bytes).unwrap();
        Ok(())
    }
}

fn tar() -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("file").unwrap();
    header.set_size(0);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(3 * 512, 0);
    bytes
}

#[test]
fn archives_are_known_by_content_and_all_else_is_a_dockerfile() {
    let mut old = tar();
    old[257..265].fill(0);
    let sum: u32 = old[..512].iter().map(|byte| u32::from(*byte)).sum::<u32>()
        - old[148..156]
            .iter()
            .map(|byte| u32::from(*byte))
            .sum::<u32>()
        + 8 * u32::from(b' ');
    old[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    for (bytes, format) in [
        (tar(), Some(Format::Tar)),
        (old, Some(Format::Tar)),
        (vec![0; 1024], Some(Format::Tar)),
        (b"\x1F\x8B\x08rest".to_vec(), Some(Format::Gzip)),
        (b"BZh9".to_vec(), Some(Format::Bzip2)),
        (b"\xFD7zXZ\0".to_vec(), Some(Format::Xz)),
        (b"\x28\xB5\x2F\xFD".to_vec(), Some(Format::Zstd)),
        (b"FROM scratch\n".to_vec(), None),
        (b"# long\n".repeat(200), None),
        (Vec::new(), None),
    ] {
        let place = tempfile::tempdir().unwrap();
        let received = receive(&mut bytes.as_slice(), place.path(), &Dump).unwrap();
        match format {
            Some(format) => {
                assert_eq!(received, Received::Unpacked);
                let dump = fs::read(place.path().join(format!("{format:?}"))).unwrap();
                assert_eq!(dump, bytes);
            }
            None => assert_eq!(received, Received::Dockerfile(bytes)),
        }
    }
}

#[test]
fn an_endless_dockerfile_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let mut endless = std::io::repeat(b'#');
    let error = receive(&mut endless, place.path(), &Dump).unwrap_err();
    assert!(matches!(error, ContextError::Receive { .. }));
}
