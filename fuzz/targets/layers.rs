//! Any bytes are a layer, or an error: within the limits, and its index is read back as it was written.
#![no_main]

use builder::layer::{Limits, decompress, index};
use builder::tree::Tree;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Tree::decode(bytes);
    let Ok(plain) = decompress(bytes) else {
        return;
    };
    let limits = Limits {
        entries_max: 10_000,
        unpacked_bytes_max: 64 << 20,
        ..Limits::default()
    };
    if let Ok(indexed) = index(plain, limits, std::io::sink()) {
        let bytes = indexed.tree.encode();
        assert_eq!(
            Tree::decode(&bytes).expect("what was written is read"),
            indexed.tree
        );
    }
});
