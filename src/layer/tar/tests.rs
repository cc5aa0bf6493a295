//! The reader against the strange and the hostile.

use std::io::Read;

use super::*;
use crate::layer::testing::Archive;

fn members(tar: &[u8]) -> Result<Vec<(Member, Vec<u8>)>, TarError> {
    let mut reader = Reader::new(tar, Limits::default());
    let mut members = Vec::new();
    while let Some(member) = reader.next_member()? {
        let mut data = Vec::new();
        let read = reader.read_to_end(&mut data);
        read.map_err(|error| TarError::read(error, 0))?;
        assert_eq!(data.len() as u64, member.size);
        members.push((member, data));
    }
    Ok(members)
}

fn one(archive: Archive) -> (Member, Vec<u8>) {
    let mut members = members(&archive.end()).unwrap();
    assert_eq!(members.len(), 1);
    members.remove(0)
}

fn refused(archive: Archive) -> String {
    members(&archive.end()).unwrap_err().to_string()
}

#[test]
fn pax_overrides_the_header() {
    let archive = Archive::default()
        .pax(&[
            ("SCHILY.xattr.user.a", b"1\n\0\n"),
            ("gid", b"4000000000"),
            ("linkpath", b"l"),
            ("mtime", b"-1.5"),
            ("path", "\u{e9}/x".as_bytes()),
            ("size", b"3"),
            ("uid", b"7"),
        ])
        .with("short", b'0', b"abc", |header| header.set_size(0));
    let (member, data) = one(archive);
    assert_eq!(member.path, "\u{e9}/x".as_bytes());
    assert_eq!(
        (member.uid, member.gid, member.mtime),
        (7, 4_000_000_000, -2)
    );
    assert_eq!(member.xattrs[b"user.a".as_slice()], b"1\n\0\n");
    assert_eq!(data, b"abc");
}

#[test]
fn gnu_long_names_are_read() {
    let long = "d/".repeat(150) + "f";
    let archive = Archive::default()
        .raw("././@LongLink", b'L', "", format!("{long}\0").as_bytes())
        .raw("././@LongLink", b'K', "", b"target\0")
        .raw("short", b'2', "t", b"");
    let (member, _) = one(archive);
    assert_eq!(member.path, long.as_bytes());
    assert_eq!(member.link, b"target");
}

#[test]
fn base_256_numbers_are_read_and_bounded() {
    let with_uid = |uid: [u8; 8]| {
        Archive::default().with("f", b'0', b"", |header| {
            header.as_mut_bytes()[108..116].copy_from_slice(&uid);
        })
    };
    assert_eq!(
        one(with_uid([0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])).0.uid,
        u32::MAX
    );
    for uid in [
        [0x80, 0, 0, 1, 0, 0, 0, 0],
        [0xff; 8],
        *b"0000009\0",
        *b"-000001\0",
    ] {
        assert!(refused(with_uid(uid)).contains("uid"), "{uid:?}");
    }
    let before = Archive::default().with("f", b'0', b"", |header| {
        header.as_mut_bytes()[136..148].copy_from_slice(&[0xff; 12]);
    });
    assert_eq!(one(before).0.mtime, -1);
}

#[test]
fn contradictions_are_refused() {
    let file = |archive: Archive| archive.raw("f", b'0', "", b"");
    let start = Archive::default;
    for (archive, word) in [
        (
            file(start().pax(&[("path", b"a")]).pax(&[("path", b"b")])),
            "two extended headers",
        ),
        (
            file(start().pax(&[("path", b"a")]).raw("L", b'L', "", b"b\0")),
            "a PAX name and a GNU name differ",
        ),
        (
            file(
                start()
                    .raw("L", b'L', "", b"a\0")
                    .raw("L", b'L', "", b"b\0"),
            ),
            "two long names",
        ),
        (file(start().pax_of(b'g', &[("path", b"a")])), "global"),
        (file(start().pax(&[("size", b"x")])), "size"),
        (file(start().pax(&[("size", b"-1")])), "size"),
        (file(start().pax(&[("uid", b"4294967296")])), "uid"),
        (file(start().raw("p", b'x', "", b"6 a=bX")), "malformed"),
        (start().pax(&[("path", b"a")]), "cut off"),
    ] {
        let text = refused(archive);
        assert!(text.contains(word), "{text}: {word}");
    }
}

#[test]
fn what_belongs_to_no_content_is_not_skipped() {
    // The size of a link or a directory is not followed by data, whatever it says.
    for typeflag in [b'1', b'2', b'5', b'6'] {
        let archive = Archive::default()
            .with("a", typeflag, b"", |header| header.set_size(512))
            .raw("b", b'0', "", b"");
        assert_eq!(members(&archive.end()).unwrap().len(), 2);
    }
}

#[test]
fn comments_for_all_are_ignored() {
    let archive = Archive::default().pax_of(b'g', &[("comment", b"0123")]);
    assert_eq!(one(archive.raw("f", b'0', "", b"x")).1, b"x");
}

#[test]
fn bounds_hold() {
    let limits = Limits {
        entries_max: 2,
        header_bytes_max: 2048,
        unpacked_bytes_max: 600,
        path_bytes_max: 50,
    };
    let refused = |archive: Archive| {
        let tar = archive.end();
        let mut reader = Reader::new(tar.as_slice(), limits);
        loop {
            match reader.next_member() {
                Ok(Some(_)) => {}
                Ok(None) => return String::new(),
                Err(error) => return error.to_string(),
            }
        }
    };
    let file = |archive: Archive| archive.raw("f", b'0', "", b"");
    let start = Archive::default;
    assert!(refused(file(file(file(start())))).contains("2 entries"));
    assert!(refused(file(start().pax(&[("x", &[b'x'; 3000])]))).contains("2048 bytes"));
    assert!(refused(start().raw("f", b'0', "", &[0; 601])).contains("600 bytes of files"));
    assert!(refused(file(start().pax(&[("path", &[b'x'; 51])]))).contains("50 bytes in a path"));
    // A header that promises more than there is reserves nothing.
    let huge = start().with("x", b'x', b"", |header| header.set_size(1 << 32));
    assert!(refused(huge).contains("2048 bytes"));
    let sparse = start()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"f"),
            ("GNU.sparse.realsize", b"9000000000000"),
        ])
        .raw("f", b'0', "", &[b"0\n".as_slice(), &[0; 510]].concat());
    assert!(refused(sparse).contains("600 bytes of files"));
}

#[test]
fn archives_end_as_in_go() {
    let file = Archive::default().raw("f", b'0', "", b"x");
    assert_eq!(members(&file.clone().open_end()).unwrap().len(), 1);
    let one_block = file.clone().bytes(&[0; 512]);
    assert_eq!(members(&one_block.clone().open_end()).unwrap().len(), 1);
    assert!(members(&one_block.raw("g", b'0', "", b"").end()).is_err());
    let mut cut = file.open_end();
    cut.truncate(700);
    assert!(matches!(members(&cut), Err(TarError::Truncated { .. })));
    assert!(matches!(members(&[1; 512]), Err(TarError::Checksum { .. })));
}

/// Eight bytes of data at 4 and 20 of 30.
const SPARSE: &[u8; 30] = b"\0\0\0\0abcd\0\0\0\0\0\0\0\0\0\0\0\0efgh\0\0\0\0\0\0";

#[test]
fn all_sparse_formats_expand_alike() {
    let v00 = Archive::default()
        .pax(&[
            ("GNU.sparse.size", b"30"),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.offset", b"4"),
            ("GNU.sparse.numbytes", b"4"),
            ("GNU.sparse.offset", b"20"),
            ("GNU.sparse.numbytes", b"4"),
        ])
        .raw("f", b'0', "", b"abcdefgh");
    let v01 = Archive::default()
        .pax(&[
            ("GNU.sparse.map", b"4,4,20,4"),
            ("GNU.sparse.name", b"f"),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.size", b"30"),
        ])
        .raw("GNUSparseFile.1/f", b'0', "", b"abcdefgh");
    let mut data = b"2\n4\n4\n20\n4\n".to_vec();
    data.resize(512, 0);
    data.extend_from_slice(b"abcdefgh");
    let v10 = Archive::default()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"f"),
            ("GNU.sparse.realsize", b"30"),
        ])
        .raw("GNUSparseFile.1/f", b'0', "", &data);
    let old = Archive::default().with("f", b'S', b"abcdefgh", |header| {
        let raw = header.as_mut_bytes();
        raw[257..265].copy_from_slice(b"ustar  \0");
        for (at, number) in [(386, 4), (398, 4), (410, 20), (422, 4), (483, 30)] {
            raw[at..at + 12].copy_from_slice(format!("{number:011o}\0").as_bytes());
        }
    });
    for archive in [v00, v01, v10, old] {
        let (member, data) = one(archive);
        assert_eq!(member.path, b"f");
        assert_eq!(data, SPARSE);
    }
}

#[test]
fn bad_sparse_maps_are_refused() {
    for map in [
        "4,4,2,4",
        "4,4,28,4",
        "4,4",
        "18446744073709551615,8",
        "4,4,20,5",
        "x,8",
    ] {
        let count = (map.split(',').count() / 2).to_string();
        let archive = Archive::default()
            .pax(&[
                ("GNU.sparse.map", map.as_bytes()),
                ("GNU.sparse.numblocks", count.as_bytes()),
                ("GNU.sparse.size", b"30"),
            ])
            .raw("f", b'0', "", b"abcdefgh");
        assert!(refused(archive).contains("sparse"), "{map}");
    }
}
