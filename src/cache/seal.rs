//! Small files of ours that notice when they were torn or flipped.
//!
//! A sealed file is its payload followed by one line
//! `\n#builder KIND 1 LENGTH BLAKE3\n`: length in decimal, digest in hex. The payload comes first so
//! that reading needs no copy. Anything that does not match is treated as absent by its reader, so
//! sealed files need no fsync.

use crate::digest::ContentDigest;

/// The longest seal in bytes: kinds have at most 16 letters, lengths at most 20 digits.
const SEAL_BYTES_MAX: usize = 160;

/// Appends the seal of a payload.
pub(crate) fn seal(kind: &str, mut payload: Vec<u8>) -> Vec<u8> {
    let line = line(kind, &payload);
    payload.extend_from_slice(line.as_bytes());
    payload
}

/// Checks the seal and cuts it off; `None` if anything is wrong.
pub(crate) fn unseal(kind: &str, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let end = bytes.len().checked_sub(1)?;
    let tail = end.saturating_sub(SEAL_BYTES_MAX);
    let start = tail + bytes[tail..end].iter().rposition(|byte| *byte == b'\n')?;
    let (payload, found) = bytes.split_at(start);
    if found != line(kind, payload).as_bytes() {
        return None;
    }
    bytes.truncate(start);
    Some(bytes)
}

fn line(kind: &str, payload: &[u8]) -> String {
    let digest = crate::digest::hex(ContentDigest::of(payload).as_bytes());
    format!("\n#builder {kind} 1 {} {digest}\n", payload.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_is_pinned() {
        let text = String::from_utf8(seal("record", b"{}".to_vec())).unwrap();
        assert_eq!(
            text,
            format!(
                "{{}}\n#builder record 1 2 {}\n",
                crate::digest::hex(ContentDigest::of(b"{}").as_bytes())
            )
        );
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_read(payload: Vec<u8>) {
            prop_assert_eq!(unseal("tree", seal("tree", payload.clone())), Some(payload));
        }

        #[test]
        fn torn_and_flipped_files_are_absent(payload: Vec<u8>, at: prop::sample::Index, bit in 0_u8..8) {
            let sealed = seal("tree", payload);
            let at = at.index(sealed.len());
            prop_assert_eq!(unseal("tree", sealed[..at].to_vec()), None);
            let mut flipped = sealed;
            flipped[at] ^= 1_u8 << bit;
            prop_assert_eq!(unseal("tree", flipped), None);
        }
    }

    #[test]
    fn kinds_are_not_mixed_up() {
        assert_eq!(unseal("record", seal("tree", b"x".to_vec())), None);
        assert_eq!(unseal("record", Vec::new()), None);
    }
}
