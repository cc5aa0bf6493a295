//! Layers written, read, compressed and refused.

use std::collections::BTreeMap;
use std::io::{self, Read};

use proptest::prelude::*;

use super::compress::blocks::{self, BlockWriter, Effort};
use super::testing::{Archive, Memory, directory, file, hardlink, symlink};
use super::*;
use crate::clock::Epoch;
use crate::digest::{ContentDigest, Digest};
use crate::image::Compression;
use crate::tree::{Entry, Kind, Tree, TreePath, Unread, testing as trees};

const LATE: Epoch = Epoch(i64::MAX);

fn read(tar: &[u8]) -> Result<Tree, LayerError> {
    index(tar, Limits::default(), io::sink()).map(|indexed| indexed.tree)
}

fn error(tar: &[u8]) -> String {
    use std::error::Error;
    let error = read(tar).expect_err("it must be refused");
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn paths(tree: &Tree) -> Vec<String> {
    let entries = tree.entries().iter();
    entries.map(|entry| entry.path.to_string()).collect()
}

/// Entries and their contents, files of up to a few blocks.
fn layer() -> impl Strategy<Value = (Vec<Entry>, Memory)> {
    let data = (0_usize..1500, any::<u8>()).prop_map(|(size, byte)| vec![byte; size]);
    (trees::tree(), prop::collection::vec(data, 24)).prop_map(|(tree, data)| {
        let mut memory = Memory::default();
        let mut entries = tree.entries().to_vec();
        for (entry, data) in entries.iter_mut().zip(data) {
            if let Kind::File { size, content } = &mut entry.kind {
                *size = data.len() as u64;
                *content = ContentDigest::of(&data);
                memory.0.insert(entry.path.clone(), data);
            }
        }
        (entries, memory)
    })
}

fn write(entries: &[Entry], contents: &Memory, encoding: Encoding) -> (Written, Vec<u8>) {
    let mut out = Vec::new();
    let written = write_layer(entries, contents, LATE, Some(encoding), &mut out).unwrap();
    (written, out)
}

const PLAIN: Encoding = Encoding::usual(Compression::Uncompressed);

proptest! {
    #[test]
    fn what_was_written_is_read((entries, contents) in layer()) {
        let (written, tar) = write(&entries, &contents, PLAIN);
        prop_assert_eq!(written.tree.entries(), &entries);
        let indexed = index(tar.as_slice(), Limits::default(), io::sink()).unwrap();
        prop_assert_eq!(&indexed.tree, &written.tree);
        prop_assert_eq!(indexed.diff_id, written.diff_id);
        prop_assert_eq!(indexed.size, written.size);
        prop_assert_eq!(written.blob.unwrap().digest, Digest::of(&tar));
        prop_assert_eq!(written.diff_id.0, Digest::of(&tar));
    }

    #[test]
    fn unread_contents_are_digested((entries, contents) in layer()) {
        let unread: Vec<Entry<Unread>> =
            entries.iter().map(|entry| entry.clone().map_content(|_| Unread)).collect();
        let written = write_layer(&unread, &contents, LATE, None, io::sink()).unwrap();
        prop_assert_eq!(written.tree.entries(), &entries);
        prop_assert_eq!(written.blob, None);
    }

    #[test]
    fn broken_archives_never_panic(
        (entries, contents) in layer(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let (_, mut tar) = write(&entries, &contents, PLAIN);
        let at = at.index(tar.len());
        let _ = read(&tar[..at]);
        tar[at] ^= flip;
        let _ = read(&tar);
    }
}

#[test]
fn times_are_clamped_and_only_backwards() {
    let mut entries = vec![directory("a"), directory("b")];
    (entries[0].mtime, entries[1].mtime) = (5, 50);
    let written = write_layer(&entries, &Memory::default(), Epoch(10), None, io::sink()).unwrap();
    let times: Vec<i64> = written
        .tree
        .entries()
        .iter()
        .map(|entry| entry.mtime)
        .collect();
    assert_eq!(times, [5, 10]);
}

#[test]
fn files_that_changed_are_errors() {
    let entries = [file("a", b"abc")];
    for content in [&b"ab"[..], b"abcd", b"abd"] {
        let contents = Memory(BTreeMap::from([(TreePath::clean("a"), content.to_vec())]));
        let result = write_layer(&entries, &contents, LATE, None, io::sink());
        assert!(
            matches!(result, Err(LayerError::Changed { .. })),
            "{content:?}"
        );
    }
}

#[test]
fn user_databases_are_kept() {
    let passwd = b"root:x:0:0\n";
    let entries = [file("etc/group", b""), file("etc/passwd", passwd)];
    let contents = Memory(BTreeMap::from([(
        TreePath::clean("etc/passwd"),
        passwd.to_vec(),
    )]));
    let (written, tar) = write(&entries, &contents, PLAIN);
    assert_eq!(written.tree.kept()[&TreePath::clean("etc/passwd")], passwd);
    assert_eq!(read(&tar).unwrap(), written.tree);
}

/// Bytes that compress like a file system does: text, some of it repeated far back.
fn sample(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let word = state >> 52;
        bytes.extend_from_slice(format!("{word:x} {} ", word % 7).as_bytes());
    }
    bytes.truncate(size);
    bytes
}

/// A reader that hands out pieces of odd sizes.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(buffer.len()).min(self.0.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn encode(tar: &[u8], piece: usize, encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::new();
    let encoded = encode_tar(Pieces(tar, piece), encoding, &mut out).unwrap();
    assert_eq!(encoded.diff_id.0, Digest::of(tar));
    assert_eq!(encoded.blob.unwrap().digest, Digest::of(&out));
    out
}

fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    decompress(bytes)?.read_to_end(&mut out)?;
    Ok(out)
}

#[test]
fn compressed_bytes_depend_on_nothing_but_the_input() {
    let tar = sample(2 * 1024 * 1024 + 300_077);
    for encoding in [
        Encoding::usual(Compression::Gzip),
        Encoding::with_level(Compression::Gzip, 1),
        Encoding::with_level(Compression::Gzip, 9),
        Encoding::usual(Compression::Zstd),
        Encoding::usual(Compression::Uncompressed),
    ] {
        let whole = encode(&tar, usize::MAX, encoding);
        assert_eq!(encode(&tar, 4099, encoding), whole, "{encoding:?}");
        let mut inline = Vec::new();
        let source = |writer: &mut BlockWriter<'_>| writer.put(&tar);
        blocks::run(
            Effort::Inline,
            Some(encoding),
            &mut inline,
            Box::new(source),
        )
        .unwrap();
        assert!(inline == whole, "{encoding:?}");
        assert!(unpack(&whole).unwrap() == tar, "{encoding:?}");
    }
}

#[test]
fn a_step_that_runs_on_a_pool_has_its_layer_compressed_by_others() {
    let tar = sample(8 * 1024 * 1024);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    // The only worker of this pool waits: work given to its own pool would never be done.
    let gzip = Encoding::usual(Compression::Gzip);
    let blob = pool.install(|| {
        assert_eq!(Effort::of(tar.len() as u64), Effort::Threads);
        encode(&tar, usize::MAX, gzip)
    });
    assert!(unpack(&blob).unwrap() == tar);
}

#[test]
fn compressed_bytes_are_pinned() {
    // A dependency that changes these changes the digests of everybody's layers: then raise
    // `CODEC_VERSION` and say so in the changelog.
    let tar = sample(2 * 1024 * 1024 + 5);
    let mut lines = Vec::new();
    for (compression, levels) in [
        (Compression::Gzip, &[1, 5, 6, 9][..]),
        (Compression::Zstd, &[1, 3, 19]),
    ] {
        for level in levels {
            let bytes = encode(&tar, usize::MAX, Encoding::with_level(compression, *level));
            let hex = Digest::of(&bytes).hex();
            lines.push(format!("{compression:?}-{level} = \"{hex}\""));
        }
    }
    let pinned = include_str!("../../testdata/layers/compressed.toml");
    let pinned: Vec<&str> = pinned
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(pinned, lines);
}

#[test]
fn empty_and_tiny_streams_round_trip() {
    for compression in [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Uncompressed,
    ] {
        for tar in [&b""[..], b"x"] {
            let bytes = encode(tar, 1, Encoding::usual(compression));
            assert_eq!(unpack(&bytes).unwrap(), tar, "{compression:?}");
        }
    }
}

#[test]
fn streams_that_are_cut_or_followed_by_garbage_are_refused() {
    let tar = sample(300_000);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let bytes = encode(&tar, usize::MAX, Encoding::usual(compression));
        for cut in (10..bytes.len()).step_by(bytes.len() / 9) {
            assert!(unpack(&bytes[..cut]).is_err(), "{compression:?} {cut}");
        }
        let garbage = [bytes.as_slice(), b"garbage"].concat();
        assert!(unpack(&garbage).is_err(), "{compression:?}");
        let two = [bytes.as_slice(), bytes.as_slice()].concat();
        assert!(unpack(&two).unwrap() == tar.repeat(2), "{compression:?}");
    }
}

#[test]
fn hostile_names_stay_inside_or_are_refused() {
    let content = b"x";
    for (name, expected) in [
        ("../x", "/x"),
        ("/x", "/x"),
        ("a/../../x", "/x"),
        ("./x", "/x"),
        ("//x", "/x"),
        ("a/./x", "/a/x"),
    ] {
        let tar = Archive::default().raw(name, b'0', "", content).end();
        assert_eq!(paths(&read(&tar).unwrap()), [expected], "{name}");
    }
    for (name, typeflag, link) in [
        (".", b'2', "/etc"),
        ("./.", b'0', ""),
        ("/", b'2', "x"),
        ("..", b'1', "x"),
        (".wh.", b'0', ""),
        (".wh..", b'0', ""),
        (".wh...", b'0', ""),
        ("a/.wh.x/y", b'0', ""),
        ("h", b'1', "/"),
        ("d", b'Z', ""),
    ] {
        let tar = Archive::default().raw(name, typeflag, link, b"").end();
        assert!(read(&tar).is_err(), "{name}");
    }
}

#[test]
fn links_in_the_layer_are_followed_as_data() {
    let tar = Archive::default()
        .raw("a", b'2', "b", b"")
        .raw("b", b'2', "../..", b"")
        .raw("a/x", b'0', "", b"1")
        .end();
    assert_eq!(paths(&read(&tar).unwrap()), ["/a", "/b", "/x"]);
    let tar = Archive::default()
        .raw("a", b'2', "a", b"")
        .raw("a/x", b'0', "", b"1")
        .end();
    assert!(error(&tar).contains("never end"));
    let tar = Archive::default()
        .raw("a", b'0', "", b"")
        .raw("a/x", b'0', "", b"1")
        .end();
    assert!(error(&tar).contains("not a directory"));
}

#[test]
fn later_members_replace_earlier_ones() {
    let tar = Archive::default()
        .entry(&directory("d"), b"")
        .entry(&file("d/f", b"1"), b"1")
        .entry(&symlink("d", "e"), b"")
        .entry(&file("d/g", b"2"), b"2")
        .entry(&file("f", b"1"), b"1")
        .entry(&file("f", b"22"), b"22")
        .end();
    let tree = read(&tar).unwrap();
    assert_eq!(paths(&tree), ["/d", "/e/g", "/f"]);
    assert_eq!(tree.entries()[2].data_size(), 2);
    let tar = Archive::default()
        .entry(&file("f", b"1"), b"1")
        .entry(&hardlink("g", "f"), b"")
        .entry(&file("f", b"22"), b"22")
        .end();
    assert!(error(&tar).contains("other names"));
}

#[test]
fn deletions_speak_of_lower_layers_only() {
    let kinds = |tar: Vec<u8>| -> Vec<(String, Kind)> {
        let tree = read(&tar).unwrap();
        let entries = tree.entries().iter();
        entries
            .map(|entry| (entry.path.to_string(), entry.kind.clone()))
            .collect()
    };
    let opaque = || Kind::Directory { opaque: true };
    let before = Archive::default()
        .raw("d/.wh..wh..opq", b'0', "", b"")
        .raw("d/f", b'6', "", b"");
    let after = Archive::default()
        .raw("d/f", b'6', "", b"")
        .raw("d/.wh..wh..opq", b'0', "", b"");
    assert_eq!(kinds(before.clone().end()), kinds(after.end()));
    assert_eq!(kinds(before.end())[0], ("/d".to_owned(), opaque()));
    let twice = Archive::default()
        .raw(".wh.f", b'0', "", b"")
        .raw("f", b'6', "", b"");
    assert_eq!(kinds(twice.end()), [("/f".to_owned(), Kind::Fifo)]);
    let below = Archive::default()
        .raw(".wh.d", b'0', "", b"")
        .raw("d/f", b'6', "", b"");
    assert_eq!(kinds(below.end())[0], ("/d".to_owned(), opaque()));
    let ignored = Archive::default().raw(".wh..wh.plnk", b'0', "", b"");
    assert_eq!(kinds(ignored.end()), []);
}

#[test]
fn what_is_after_the_end_is_hashed_and_not_read() {
    let tar = Archive::default().raw("a", b'6', "", b"").end();
    let longer = [
        tar.as_slice(),
        &Archive::default().raw("b", b'6', "", b"").end(),
    ]
    .concat();
    let indexed = index(longer.as_slice(), Limits::default(), io::sink()).unwrap();
    assert_eq!(paths(&indexed.tree), ["/a"]);
    assert_eq!(indexed.diff_id.0, Digest::of(&longer));
    assert_eq!(indexed.size, longer.len() as u64);
    let empty = index(&b""[..], Limits::default(), io::sink()).unwrap();
    assert_eq!(empty.tree, Tree::default());
}

/// Layers as tars, and the view of them.
fn chain(layers: &[Vec<u8>]) -> crate::tree::View {
    let trees: Vec<_> = layers
        .iter()
        .map(|tar| std::sync::Arc::new(read(tar).unwrap()))
        .collect();
    crate::tree::View::merge(&trees)
}

fn two_layers() -> [Vec<u8>; 2] {
    [
        Archive::default()
            .entry(&directory("a"), b"")
            .entry(&file("a/f", b"old"), b"old")
            .entry(&file("a/g", b"kept"), b"kept")
            .entry(&hardlink("a/h", "a/g"), b"")
            .entry(&directory("run"), b"")
            .entry(&symlink("var/run", "/run"), b"")
            .end(),
        Archive::default()
            .raw("a/.wh.g", b'0', "", b"")
            .raw("a/f", b'0', "", b"new")
            .raw("var/run/x", b'0', "", b"moved")
            .end(),
    ]
}

#[test]
fn a_flattened_chain_is_its_view() {
    let layers = two_layers();
    let view = chain(&layers);
    let mut out = Vec::new();
    let mut open = |layer: usize| Ok(Box::new(layers[layer].as_slice()) as Opened<'_>);
    let flatten = Flatten {
        view: &view,
        open: &mut open,
        limits: Limits::default(),
    };
    flatten.write_tar(&mut out).unwrap();
    let flat = read(&out).unwrap();
    let names = [
        "/", "/a", "/a/f", "/a/h", "/run", "/run/x", "/var", "/var/run",
    ];
    assert_eq!(paths(&flat), names);
    let content = |path: &str| match &flat.entry(&TreePath::clean(path)).unwrap().kind {
        Kind::File { content, .. } => *content,
        other => panic!("{other:?}"),
    };
    assert_eq!(content("a/f"), ContentDigest::of(b"new"));
    assert_eq!(content("a/h"), ContentDigest::of(b"kept"));
    assert_eq!(content("run/x"), ContentDigest::of(b"moved"));

    let target = tempfile::tempdir().unwrap();
    let mut open = |layer: usize| Ok(Box::new(layers[layer].as_slice()) as Opened<'_>);
    let flatten = Flatten {
        view: &view,
        open: &mut open,
        limits: Limits::default(),
    };
    flatten
        .write_directory(target.path(), Ownership::Current)
        .unwrap();
    assert_eq!(
        std::fs::read(target.path().join("var/../run/x")).unwrap(),
        b"moved"
    );
    assert_eq!(std::fs::read(target.path().join("a/h")).unwrap(), b"kept");
}

#[test]
fn picked_files_are_read_in_any_order() {
    let layers = two_layers();
    let view = chain(&layers);
    let mut spool = Spool::new(tempfile::tempfile().unwrap());
    let nodes = ["a/f", "a/h", "run/x"].map(|path| view.lookup(&TreePath::clean(path)).unwrap());
    for (layer, tar) in layers.iter().enumerate() {
        let wanted = nodes.iter().filter(|node| node.layer == layer);
        let wanted = wanted.map(|node| view.stored_path(node).clone()).collect();
        spool
            .pick(layer, tar.as_slice(), Limits::default(), &wanted)
            .unwrap();
    }
    for (node, expected) in nodes.iter().zip(["new", "kept", "moved"]).rev() {
        let content = spool.open(node.layer, view.stored_path(node)).unwrap();
        assert_eq!(io::read_to_string(content).unwrap(), expected);
    }
    let wanted = [TreePath::clean("nowhere")].into();
    let error = spool
        .pick(0, layers[0].as_slice(), Limits::default(), &wanted)
        .unwrap_err();
    assert!(matches!(error, LayerError::NotInLayer { .. }), "{error}");
}
