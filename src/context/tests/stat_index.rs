//! What a second scan reads again, and what it must never miss.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::context::index::{Block, StatIndex};
use crate::digest::ContentDigest;

/// Makes files look old: their mtime is, but no program can set a ctime, so the tests that need a
/// settled file wait for the clock by asking it (a tick is 20 ms).
fn settle(project: &Project) {
    let newest = newest_ctime(&project.path());
    while crate::clock::now_ns() < newest + 25_000_000 {
        std::hint::spin_loop();
    }
}

fn newest_ctime(directory: &Path) -> i64 {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap())
        .map(|entry| {
            if entry.file_type().unwrap().is_dir() {
                newest_ctime(&entry.path())
            } else {
                let file = fs::File::open(entry.path()).unwrap();
                Stamp::of(&file).unwrap().ctime_ns
            }
        })
        .max()
        .unwrap_or(0)
}

#[test]
fn a_second_scan_reads_nothing_and_finds_the_same() {
    let project = Project::new()
        .indexed()
        .file("a/b", "1")
        .file("a/c", "2")
        .file("d", "3");
    settle(&project);
    let first = project.scan(&["."]);
    assert_eq!(first.hashed_files, 3);
    let second = project.scan(&["."]);
    assert_eq!(second.hashed_files, 0);
    assert_eq!(first.entries, second.entries);
}

#[test]
fn a_partial_scan_forgets_nothing() {
    let project = Project::new()
        .indexed()
        .file("a/b", "1")
        .file("a/c", "2")
        .file("d", "3");
    settle(&project);
    project.scan(&["."]);
    project.write("a/c", "changed");
    settle(&project);
    assert_eq!(project.scan(&["a/c"]).hashed_files, 1);
    assert_eq!(project.scan(&["."]).hashed_files, 0);
}

#[test]
fn a_change_of_the_same_size_and_mtime_is_seen() {
    let project = Project::new().indexed().file("file", "old!");
    let path = project.path().join("file");
    let past = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let backdate = || {
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(past).unwrap();
    };
    backdate();
    settle(&project);
    project.scan(&["."]);
    assert_eq!(project.scan(&["."]).hashed_files, 0);
    project.write("file", "new!");
    backdate();
    assert_eq!(content(&project.scan(&["."])), ContentDigest::of(b"new!"));
}

#[test]
fn rapid_changes_of_the_same_size_are_always_seen() {
    let project = Project::new().indexed().file("file", "0000");
    for number in 0..200 {
        let text = format!("{number:04}");
        project.write("file", &text);
        let seen = content(&project.scan(&["."]));
        assert_eq!(seen, ContentDigest::of(text.as_bytes()), "{text}");
    }
}

#[test]
fn a_damaged_or_foreign_index_is_ignored() {
    let project = Project::new().indexed().file("a/b", "1").file("c", "2");
    settle(&project);
    let good = project.scan(&["."]).entries;
    let bytes = fs::read(project.index_path()).unwrap();
    for cut in [0, 1, 8, 12, 15, 20, bytes.len() - 1] {
        fs::write(project.index_path(), &bytes[..cut]).unwrap();
        assert_eq!(project.scan(&["."]).entries, good);
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x41;
        fs::write(project.index_path(), &damaged).unwrap();
        assert_eq!(project.scan(&["c"]).hashed_files, 1, "byte {at}");
    }
}

#[test]
fn an_unchanged_tree_does_not_rewrite_the_index() {
    let project = Project::new().indexed().file("a", "1");
    settle(&project);
    project.scan(&["."]);
    let written = |path: PathBuf| Stamp::of(&fs::File::open(path).unwrap()).unwrap();
    let before = written(project.index_path());
    project.scan(&["."]);
    assert_eq!(written(project.index_path()), before);
}

fn content(scan: &Scan) -> ContentDigest {
    match scan.entries[0].kind {
        Kind::File { content, .. } => content,
        _ => panic!("not a file"),
    }
}

fn stamp() -> impl Strategy<Value = Stamp> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u32>());
    (numbers, any::<i64>(), any::<i64>()).prop_map(
        |((device, inode, size, mode), mtime_ns, ctime_ns)| Stamp {
            device,
            inode,
            size,
            mode,
            mtime_ns,
            ctime_ns,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        directories in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 0..6),
            prop::collection::btree_map(
                prop::collection::vec(any::<u8>(), 1..6), (stamp(), any::<[u8; 32]>()), 1..4),
            0..5),
    ) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("index");
        let visited: Vec<_> = directories
            .iter()
            .map(|(directory, files)| {
                let mut block = Block::default();
                for (name, (stamp, digest)) in files {
                    block.push(name, stamp, &ContentDigest::from_bytes(*digest));
                }
                (directory.clone(), Some(block))
            })
            .collect();
        StatIndex::default().store(&path, &visited).unwrap();
        let loaded = StatIndex::load(&path);
        for (directory, files) in &directories {
            let known = loaded.directory(directory);
            prop_assert_eq!(known.len(), files.len());
            for (known, (name, (stamp, digest))) in known.iter().zip(files) {
                prop_assert_eq!(known.name, name.as_slice());
                prop_assert_eq!(known.digest(stamp), Some(ContentDigest::from_bytes(*digest)));
                let touched = Stamp { ctime_ns: stamp.ctime_ns ^ 1, ..*stamp };
                prop_assert_eq!(known.digest(&touched), None);
            }
        }
        prop_assert!(loaded.directory(b"never there").is_empty());
    }
}
