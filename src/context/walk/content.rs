//! Reading files.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::context::root::regular;
use crate::context::stamp::Stamp;
use crate::digest::ContentDigest;

/// Bytes that are read at a time; files of more are hashed by all threads together.
const BUFFER: usize = 1 << 20;

/// Times that a file which changes while it is read is read again.
const ATTEMPTS: usize = 3;

/// Reads an open file: digest, bytes read, stamp, and whether the file kept still meanwhile.
pub(super) fn digest_file(
    file: OwnedFd,
    buffer: &mut Vec<u8>,
) -> io::Result<(ContentDigest, u64, Stamp, bool)> {
    let (file, mut stamp) = regular(file)?;
    let mut attempt = 1;
    loop {
        let (digest, size) = digest_content(&file, stamp.size, buffer)?;
        let after = Stamp::of(&file)?;
        let calm = after == stamp && size == stamp.size;
        if calm || attempt == ATTEMPTS {
            return Ok((digest, size, after, calm));
        }
        (stamp, attempt) = (after, attempt + 1);
    }
}

fn digest_content(
    file: &File,
    expected: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<(ContentDigest, u64)> {
    // One byte more than expected, so that one read finds the end of a small file.
    let room = usize::try_from(expected.saturating_add(1)).map_or(BUFFER, |room| room.min(BUFFER));
    if buffer.len() < room {
        buffer.resize(room, 0);
    }
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    loop {
        let count = match rustix::io::pread(file, &mut buffer[..], offset) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        if count == 0 {
            break;
        }
        let bytes = &buffer[..count];
        offset += u64::try_from(count).unwrap_or(u64::MAX);
        if count == BUFFER {
            hasher.update_rayon(bytes);
        } else {
            hasher.update(bytes);
        }
        if offset == expected && count < buffer.len() {
            break;
        }
    }
    Ok((
        ContentDigest::from_bytes(*hasher.finalize().as_bytes()),
        offset,
    ))
}
