//! Both ways of resolving give the same answers, and none leads outside.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

struct Ground {
    _directory: tempfile::TempDir,
    root: PathBuf,
}

/// `root/` with links of all kinds, and a canary outside.
fn ground() -> Ground {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    std::fs::create_dir_all(root.join("a/b")).unwrap();
    std::fs::write(directory.path().join("canary"), "outside").unwrap();
    std::fs::write(root.join("canary"), "inside").unwrap();
    std::fs::write(root.join("a/b/f"), "f").unwrap();
    for (link, target) in [
        ("absolute", "/a/b"),
        ("up", "../../../canary"),
        ("inside", "a/b"),
        ("loop", "loop"),
        ("a/b/back", "../../canary"),
        ("a/b/out", "../../../canary"),
        ("slash", "a/"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    Ground {
        _directory: directory,
        root,
    }
}

fn roots(ground: &Ground) -> [Root; 2] {
    let kernel = Root::open(&ground.root).unwrap();
    let by_hand = Root {
        resolver: Resolver::by_hand(),
        ..Root::open(&ground.root).unwrap()
    };
    [kernel, by_hand]
}

#[test]
fn both_resolvers_agree() {
    let ground = ground();
    let read = |root: &Root, path: &str, links: Links| {
        let opened = root.open_with(path.as_bytes(), links, OFlags::RDONLY);
        opened
            .map_err(|error| error.raw_os_error().unwrap())
            .map(|file| io::read_to_string(File::from(file)).unwrap_or("directory".into()))
    };
    for (path, none, beneath, in_root) in [
        ("canary", Ok("inside"), Ok("inside"), Ok("inside")),
        ("/canary", Ok("inside"), Ok("inside"), Ok("inside")),
        ("a/b/../../canary", Ok("inside"), Ok("inside"), Ok("inside")),
        (
            "../canary",
            Err(libc::EXDEV),
            Err(libc::EXDEV),
            Ok("inside"),
        ),
        ("absolute/f", Err(libc::ELOOP), Err(libc::EXDEV), Ok("f")),
        ("inside/f", Err(libc::ELOOP), Ok("f"), Ok("f")),
        ("up", Err(libc::ELOOP), Err(libc::EXDEV), Ok("inside")),
        ("a/b/back", Err(libc::ELOOP), Ok("inside"), Ok("inside")),
        ("a/b/out", Err(libc::ELOOP), Err(libc::EXDEV), Ok("inside")),
        ("loop", Err(libc::ELOOP), Err(libc::ELOOP), Err(libc::ELOOP)),
        (
            "missing",
            Err(libc::ENOENT),
            Err(libc::ENOENT),
            Err(libc::ENOENT),
        ),
        (
            "canary/x",
            Err(libc::ENOTDIR),
            Err(libc::ENOTDIR),
            Err(libc::ENOTDIR),
        ),
        ("", Ok("directory"), Ok("directory"), Ok("directory")),
        ("slash", Err(libc::ELOOP), Ok("directory"), Ok("directory")),
        ("slash/b/f", Err(libc::ELOOP), Ok("f"), Ok("f")),
    ] {
        for root in &roots(&ground) {
            for (links, expected) in [
                (Links::None, none),
                (Links::Beneath, beneath),
                (Links::InRoot, in_root),
            ] {
                let expected = expected.map(str::to_owned);
                assert_eq!(
                    read(root, path, links),
                    expected,
                    "{path} {links:?} {root:?}"
                );
            }
        }
    }
}

#[test]
fn files_are_opened_only_if_they_are_files() {
    let ground = ground();
    let fifo = ground.root.join("fifo");
    let fifo_type = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, fifo_type, Mode::RWXU, 0).unwrap();
    for root in &roots(&ground) {
        assert!(root.open_file(b"a/b/f").is_ok());
        for path in ["fifo", "a", "inside/f", "up"] {
            assert!(root.open_file(path.as_bytes()).is_err(), "{path}");
        }
    }
}

#[test]
fn making_and_removing_stay_inside() {
    let ground = ground();
    for root in &roots(&ground) {
        root.make_directories(b"up-not/../new/x").unwrap_err();
        root.make_directories(b"absolute/new/x").unwrap();
        root.create(b"absolute/new/x/file", 0o600).unwrap();
        assert!(ground.root.join("a/b/new/x/file").is_file());
        assert_eq!(
            root.read_link(b"up", Links::InRoot).unwrap(),
            b"../../../canary"
        );
        assert!(
            root.create(b"up", 0o600).is_err(),
            "a link in the way is not followed"
        );
        root.remove_all(b"absolute/new").unwrap();
        root.remove_all(b"nothing/there").unwrap();
    }
    let root = Root::open(&ground.root).unwrap();
    root.remove_all(b"up").unwrap();
    root.remove_all(b"a").unwrap();
    assert!(!ground.root.join("a").exists());
    let outside = ground.root.parent().unwrap().join("canary");
    assert_eq!(std::fs::read_to_string(outside).unwrap(), "outside");
}

#[test]
fn deep_trees_are_removed_with_few_descriptors() {
    let ground = ground();
    let root = Root::open(&ground.root).unwrap();
    let deep = "d/".repeat(500);
    root.make_directories(deep.as_bytes()).unwrap();
    root.remove_all(b"d").unwrap();
    let left = std::fs::read_dir(&ground.root).unwrap();
    let left = left.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().contains("removed") || name == "d"
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn a_component_that_is_swapped_never_leads_outside() {
    let ground = ground();
    let (a, aside) = (ground.root.join("a"), ground.root.join("aside"));
    let outside = ground.root.parent().unwrap();
    std::fs::create_dir_all(outside.join("b")).unwrap();
    std::fs::write(outside.join("b/f"), "outside").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _ = std::fs::rename(&a, &aside);
                let _ = symlink("..", &a);
                let _ = std::fs::remove_file(&a);
                let _ = std::fs::rename(&aside, &a);
            }
        });
        for root in &roots(&ground) {
            for _ in 0..17_000 {
                for links in [Links::None, Links::Beneath, Links::InRoot] {
                    let Ok(file) = root.open_with(b"a/b/f", links, OFlags::RDONLY) else {
                        continue;
                    };
                    assert_eq!(io::read_to_string(File::from(file)).unwrap(), "f");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
