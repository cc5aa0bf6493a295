//! Blobs: verified in, verified out, visible when durable.

use std::io::{Read, Write};

use proptest::prelude::*;

use super::*;
use crate::cache::StoreError;

fn write(store: &Store, bytes: &[u8]) -> (Digest, u64) {
    let mut writer = store.blob_writer(Hashing::Here).unwrap();
    for chunk in bytes.chunks(3) {
        writer.write_all(chunk).unwrap();
    }
    writer.commit(None).unwrap()
}

#[test]
fn a_blob_is_at_once_readable_here_and_after_a_flush_elsewhere() {
    let home = Home::new();
    let (store, other) = (home.open(), home.open());
    let (digest, size) = write(&store, b"hello blob");
    assert_eq!((digest, size), (Digest::of(b"hello blob"), 10));
    assert_eq!(store.read_blob(&digest, 10).unwrap(), b"hello blob");
    store.flush().unwrap();
    assert_eq!(other.blob_size(&digest), Some(10));
    let mut text = String::new();
    other
        .open_blob(&digest, 10)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "hello blob");
}

#[test]
fn a_closed_store_has_published_what_it_took() {
    let home = Home::new();
    let (digest, _) = write(&home.open(), b"hello");
    assert!(home.open().has_blob(&digest));
}

#[test]
fn what_is_not_what_was_promised_is_not_stored() {
    let home = Home::new();
    let store = home.open();
    let promised = (Digest::of(b"abc"), 3);
    for (bytes, text) in [
        (b"ab".as_slice(), "has 2 bytes instead of 3"),
        (b"abcd", "more than the promised 3"),
        (b"abd", "has the content of"),
    ] {
        let mut writer = store.blob_writer(Hashing::Here).unwrap();
        writer.write_all(bytes).unwrap();
        let error = writer.commit(Some(promised)).unwrap_err();
        let StoreError::Mismatch(source) = &error else {
            panic!("{error}")
        };
        assert!(source.to_string().contains(text), "{source}");
        assert!(!store.has_blob(&promised.0));
    }
    store.flush().unwrap();
    assert!(!home.files().iter().any(|path| path.contains("tmp/")));
}

#[test]
fn the_same_bytes_are_stored_once() {
    let home = Home::new();
    let store = home.open();
    for _ in 0..3 {
        assert_eq!(write(&store, b"same"), store.put_blob(b"same").unwrap());
    }
    store.flush().unwrap();
    let blobs = home
        .files()
        .into_iter()
        .filter(|path| path.starts_with("blobs"));
    assert_eq!(blobs.count(), 1);
}

#[test]
fn a_missing_blob_is_missing() {
    let home = Home::new();
    let error = home.open().read_blob(&Digest::of(b"no"), 9).unwrap_err();
    assert!(error.is_missing() && matches!(error, StoreError::Missing { .. }));
}

#[test]
fn a_large_blob_is_not_read_into_memory() {
    let home = Home::new();
    let store = home.open();
    let (digest, _) = store.put_blob(&[7; 100]).unwrap();
    let error = store.read_blob(&digest, 99).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::TooLarge {
                size: 100,
                max: 99,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_wrong_descriptor_does_not_cost_a_good_blob() {
    let home = Home::new();
    let store = home.open();
    let (digest, _) = store.put_blob(b"good").unwrap();
    store.flush().unwrap();
    let mut reader = store.open_blob(&digest, 9).unwrap();
    assert!(reader.read_to_end(&mut Vec::new()).is_err());
    assert_eq!(store.read_blob(&digest, 10).unwrap(), b"good");
}

#[test]
fn a_truncated_blob_is_written_again() {
    let home = Home::new();
    let (digest, _) = home.open().put_blob(b"whole").unwrap();
    for length in 0..5 {
        fs::write(home.blob_path(&digest), &b"whole"[..length]).unwrap();
        home.open().put_blob(b"whole").unwrap();
        assert_eq!(fs::read(home.blob_path(&digest)).unwrap(), b"whole");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_flipped_bit_makes_a_blob_missing(bytes in proptest::collection::vec(any::<u8>(), 1..200), at: prop::sample::Index, bit in 0_u8..8) {
        let home = Home::new();
        let (digest, size) = home.open().put_blob(&bytes).unwrap();
        let mut damaged = bytes.clone();
        damaged[at.index(bytes.len())] ^= 1_u8 << bit;
        fs::write(home.blob_path(&digest), &damaged).unwrap();
        let store = home.open();
        let mut reader = store.open_blob(&digest, size).unwrap();
        prop_assert!(reader.read_to_end(&mut Vec::new()).is_err());
        prop_assert!(!store.has_blob(&digest));
        prop_assert!(home.ours("quarantine").join(digest.hex()).exists());
        store.put_blob(&bytes).unwrap();
        prop_assert_eq!(store.read_blob(&digest, 1000).unwrap(), bytes);
    }
}

#[test]
fn many_threads_and_builders_store_many_blobs() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for builder in 0..3 {
            let store = home.open();
            for thread in 0..4_u8 {
                let store = store.clone();
                scope.spawn(move || {
                    for blob in 0..25_u8 {
                        let shared = [b's', blob];
                        let own = [builder, thread, blob];
                        for bytes in [shared.as_slice(), &own] {
                            let (digest, _) = store.put_blob(bytes).unwrap();
                            assert_eq!(store.read_blob(&digest, 9).unwrap(), bytes);
                        }
                    }
                    store.flush().unwrap();
                });
            }
        }
    });
    let blobs = home
        .files()
        .into_iter()
        .filter(|path| path.starts_with("blobs"));
    assert_eq!(blobs.count(), 25 + 3 * 4 * 25);
}
