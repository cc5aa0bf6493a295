//! Unpacking the sound, the strange and the hostile, beside canaries.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::layer::testing::{Archive, directory, file, hardlink, symlink};
use crate::tree::{Tree, testing as trees};

/// A store with one directory to unpack into, between canaries.
struct Store {
    ground: tempfile::TempDir,
}

impl Store {
    fn new() -> Self {
        let ground = tempfile::tempdir().unwrap();
        for name in ["dest", "dest-evil", "outside"] {
            std::fs::create_dir(ground.path().join(name)).unwrap();
        }
        for canary in ["canary", "dest-evil/canary", "outside/canary"] {
            std::fs::write(ground.path().join(canary), "canary").unwrap();
        }
        Self { ground }
    }

    fn dest(&self) -> PathBuf {
        self.ground.path().join("dest")
    }

    /// Everything outside the target.
    fn canaries(&self) -> String {
        let mut text = String::new();
        for entry in walkdir::WalkDir::new(self.ground.path()).sort_by_file_name() {
            let entry = entry.unwrap();
            if entry.path().starts_with(self.dest()) {
                continue;
            }
            let meta = entry.metadata().unwrap();
            // The time of the ground itself changes when somebody puts something there.
            let line = format!(
                "{:?} {:o} {}:{} {} {}.{}\n",
                entry.path(),
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.nlink(),
                meta.mtime(),
                meta.mtime_nsec()
            );
            text.push_str(&line);
        }
        text
    }

    fn apply(&self, tar: &[u8]) -> Result<(), LayerError> {
        self.apply_over(tar, &View::new(), &[])
    }

    fn apply_over(&self, tar: &[u8], view: &View, lowers: &[PathBuf]) -> Result<(), LayerError> {
        let options = ApplyOptions {
            overlay: OverlayXattr::User,
            lowers,
            lower_view: view,
            ownership: ownership(),
            clamp: None,
            limits: Limits::default(),
        };
        apply(tar, &self.dest(), &options)
    }
}

/// Root makes owners real; anybody else cannot.
fn ownership() -> Ownership {
    if nix::unistd::geteuid().is_root() {
        Ownership::Real
    } else {
        Ownership::Current
    }
}

fn tree_of(tar: &[u8]) -> Tree {
    crate::layer::index(tar, Limits::default(), io::sink())
        .unwrap()
        .tree
}

#[test]
fn nothing_is_made_outside() {
    let start = Archive::default;
    let evil = |name: &str| start().raw(name, b'0', "", b"evil");
    for archive in [
        evil("../x"),
        evil("/x"),
        evil("a/../../x"),
        evil("../dest-evil/x"),
        evil("../canary"),
        start()
            .raw("l", b'2', "..", b"")
            .raw("l/canary", b'0', "", b"evil"),
        start()
            .raw("l", b'2', "../dest-evil", b"")
            .raw("l/canary", b'0', "", b"evil"),
        start()
            .raw("l", b'2', "/etc", b"")
            .raw("l/passwd", b'0', "", b"evil"),
        start()
            .raw("a", b'2', "b", b"")
            .raw("b", b'2', "../..", b"")
            .raw("a/outside/canary", b'0', "", b"evil"),
        start()
            .raw("l", b'2', "../outside", b"")
            .raw("l", b'5', "", b""),
        start()
            .raw("d", b'2', "../outside", b"")
            .raw("d", b'5', "", b"")
            .raw("d/canary", b'0', "", b"evil"),
        start()
            .raw("l", b'2', "../outside/canary", b"")
            .raw("l", b'0', "", b"evil"),
        start()
            .raw("l", b'2', "..", b"")
            .raw("l/.wh.canary", b'0', "", b""),
        start()
            .raw("l", b'2', "../outside", b"")
            .raw("l/.wh..wh..opq", b'0', "", b""),
        start().raw("../.wh.canary", b'0', "", b""),
        start().raw("h", b'1', "../canary", b""),
        start().raw("h", b'1', "/etc/hostname", b""),
        start().raw("h", b'1', "Cargo.toml", b""),
        start()
            .raw("l", b'2', "../canary", b"")
            .raw("h", b'1', "l", b"")
            .raw("h", b'0', "", b"evil"),
        start()
            .raw("l", b'2', "..", b"")
            .raw("h", b'1', "l/canary", b""),
        start()
            .raw(".", b'2', "../outside", b"")
            .raw("canary", b'0', "", b"evil"),
    ] {
        let store = Store::new();
        let before = store.canaries();
        let result = store.apply(&archive.clone().end());
        assert_eq!(store.canaries(), before, "{archive:?}");
        // What was accepted is where the index says it is, and whole.
        if result.is_ok() {
            let view = View::merge(&[Arc::new(tree_of(&archive.end()))]);
            assert_eq!(listing(&store.dest()), listing_of(&view));
        }
    }
}

#[test]
fn a_hard_link_never_copies_a_file_of_the_host() {
    for target in [
        "/etc/hostname",
        "Cargo.toml",
        "../canary",
        "later",
        "d",
        "gone",
    ] {
        let tar = Archive::default()
            .entry(&directory("d"), b"")
            .raw(".wh.gone", b'0', "", b"")
            .raw("h", b'1', target, b"")
            .raw("later", b'0', "", b"")
            .end();
        let result = Store::new().apply(&tar);
        assert!(
            matches!(result, Err(LayerError::LinkTarget { .. })),
            "{target}: {result:?}"
        );
    }
}

/// Path, type, mode, size or target of all below a directory.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let path = entry.path().strip_prefix(root).unwrap();
        let path = TreePath::clean(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()));
        let kind = meta.file_type();
        let what = if kind.is_symlink() {
            format!("-> {:?}", std::fs::read_link(entry.path()).unwrap())
        } else if kind.is_dir() {
            format!("directory {:o}", meta.mode() & 0o7777)
        } else if kind.is_file() {
            format!("file {:o} {}", meta.mode() & 0o7777, meta.len())
        } else {
            let is = (
                kind.is_fifo(),
                kind.is_char_device(),
                kind.is_block_device(),
            );
            format!("{is:?} {:o}", meta.mode() & 0o7777)
        };
        let time = if kind.is_symlink() { 0 } else { meta.mtime() };
        lines.push((path, format!("{what} {time}")));
    }
    lines.sort();
    lines
        .into_iter()
        .map(|(path, line)| format!("{path} {line}"))
        .collect()
}

fn listing_of(view: &View) -> Vec<String> {
    let mut lines = Vec::new();
    for node in view.walk(&TreePath::root()).skip(1) {
        let (entry, mode) = (node.entry, node.entry.mode);
        let what = match &entry.kind {
            Kind::Directory { .. } => format!("directory {mode:o}"),
            Kind::File { size, .. } => format!("file {mode:o} {size}"),
            Kind::Symlink { target } => {
                let target: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(target);
                format!("-> {target:?}")
            }
            Kind::Fifo => format!("(true, false, false) {mode:o}"),
            Kind::CharDevice { .. } => format!("(false, true, false) {mode:o}"),
            Kind::BlockDevice { .. } => format!("(false, false, true) {mode:o}"),
            Kind::Hardlink { .. } | Kind::Whiteout => unreachable!("not in a view"),
        };
        let is_link = matches!(entry.kind, Kind::Symlink { .. });
        let time = if is_link { 0 } else { entry.mtime };
        lines.push(format!("{} {what} {time}", node.path()));
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_unpacked_is_what_the_index_says(entries in trees::entries()) {
        let mut archive = Archive::default();
        for mut entry in entries {
            // Owners of others and devices need root; whiteouts need a layer below.
            let is_device = matches!(entry.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. });
            if matches!(entry.kind, Kind::Whiteout) || is_device && ownership() != Ownership::Real {
                continue;
            }
            if ownership() != Ownership::Real {
                entry.mode |= 0o700;
            }
            // uid -1 means "leave as it is" to the kernel.
            (entry.uid, entry.gid) = (entry.uid & 0xffff, entry.gid & 0xffff);
            let content = vec![b'x'; usize::try_from(entry.data_size()).unwrap()];
            archive = archive.entry(&entry, &content);
        }
        let tar = archive.end();
        let store = Store::new();
        let before = store.canaries();
        let indexed = crate::layer::index(tar.as_slice(), Limits::default(), io::sink());
        match (indexed, store.apply(&tar)) {
            (Ok(indexed), Ok(())) => {
                let view = View::merge(&[Arc::new(indexed.tree)]);
                prop_assert_eq!(listing(&store.dest()), listing_of(&view));
            }
            (Err(_), Err(_)) => {}
            // An empty or endless link target is only refused by the kernel.
            (one, other) => prop_assert!(false, "{:?} {:?}", one.map(|_| ()), other),
        }
        prop_assert_eq!(store.canaries(), before);
    }
}

#[test]
fn strange_but_legal_layers_are_accepted() {
    let long = "n".repeat(255);
    let deep = vec!["d".repeat(99); 39].join("/");
    let start = Archive::default;
    let cases: Vec<(Archive, &str)> = vec![
        (
            start().raw("f", b'0', "", b"").raw("h", b'1', "/f", b""),
            "h",
        ),
        (start().raw("l", b'2', "../../../../x", b""), "l"),
        (
            start().raw("f", b'0', "", b"").raw("f", b'1', "f", b""),
            "f",
        ),
        (
            start()
                .raw("a", b'5', "", b"")
                .raw("l", b'2', "/a", b"")
                .raw("a/f", b'0', "", b"")
                .raw("h", b'1', "l/f", b""),
            "h",
        ),
        (start().raw("a/b/c", b'0', "", b""), "a/b/c"),
        (
            start().raw("./a", b'5', "", b"").raw("/a", b'5', "", b""),
            "a",
        ),
        (
            start()
                .pax(&[("path", b"\xff\xfe")])
                .raw("x", b'0', "", b""),
            "",
        ),
        (
            start()
                .pax(&[("path", long.as_bytes())])
                .raw("x", b'0', "", b""),
            &long,
        ),
        (
            start()
                .pax(&[("path", deep.as_bytes())])
                .raw("x", b'0', "", b""),
            &deep[..99],
        ),
        (
            start().pax(&[("mtime", b"-100")]).raw("x", b'0', "", b""),
            "x",
        ),
        (
            start()
                .raw("run", b'5', "", b"")
                .raw("var/run", b'2', "/run", b"")
                .raw("var/run/x", b'0', "", b""),
            "run/x",
        ),
        (start(), ""),
    ];
    for (archive, path) in cases {
        let store = Store::new();
        let shown = archive.clone();
        store
            .apply(&archive.end())
            .unwrap_or_else(|error| panic!("{error:?} {shown:?}"));
        let path = store.dest().join(path);
        assert!(path.symlink_metadata().is_ok(), "{path:?}");
    }
}

#[test]
fn overlay_marks_of_the_input_are_dropped() {
    let tar = Archive::default()
        .pax(&[
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.kept", b"1"),
        ])
        .raw("d", b'5', "", b"")
        .end();
    let store = Store::new();
    store.apply(&tar).unwrap();
    let open = std::fs::File::open(store.dest()).unwrap();
    let names = crate::sys::xattr::list_at(open.as_fd(), c"d").unwrap();
    assert!(names.is_empty() || names == [b"user.kept"], "{names:?}");
}

#[test]
fn notes_of_the_input_are_dropped() {
    let special = crate::tree::special_owner_note((0, 0));
    let tar = Archive::default()
        .pax(&[
            ("SCHILY.xattr.user.builder.owner", b"0:0"),
            ("SCHILY.xattr.user.builder.device", b"b 8:0"),
            ("SCHILY.xattr.user.builder.notes", b""),
            ("SCHILY.xattr.security.capability", &special),
        ])
        .raw("f", b'0', "", b"")
        .end();
    assert!(
        tree_of(&tar)
            .entries()
            .iter()
            .all(|entry| entry.xattrs.is_empty())
    );
    let store = Store::new();
    store.apply(&tar).unwrap();
    let open = std::fs::File::open(store.dest()).unwrap();
    let names = crate::sys::xattr::list_at(open.as_fd(), c"f").unwrap();
    assert_eq!(names, Vec::<Vec<u8>>::new());
}

/// Unpacks layers one after another, each into its own directory.
fn unpack(layers: &[Vec<u8>]) -> (Vec<Store>, View) {
    let mut view = View::new();
    let mut stores: Vec<Store> = Vec::new();
    for tar in layers {
        let lowers: Vec<PathBuf> = stores.iter().rev().map(Store::dest).collect();
        let store = Store::new();
        store.apply_over(tar, &view, &lowers).unwrap();
        view.push(Arc::new(tree_of(tar)));
        stores.push(store);
    }
    (stores, view)
}

#[test]
fn a_layer_reaches_through_links_of_lower_layers() {
    let mut etc = directory("etc");
    (etc.mode, etc.mtime) = (0o711, 77);
    let lower = Archive::default()
        .entry(&etc, b"")
        .entry(&file("etc/f", b"lower"), b"lower")
        .entry(&directory("run"), b"")
        .entry(&symlink("var/run", "/run"), b"")
        .end();
    let upper = Archive::default()
        .raw("var/run/x", b'0', "", b"x")
        .raw("etc/new", b'0', "", b"")
        .raw("etc/h", b'1', "/etc/f", b"")
        .raw("etc/.wh.nothing", b'0', "", b"")
        .raw("run/.wh.nothing", b'0', "", b"")
        .end();
    let (stores, view) = unpack(&[lower, upper]);
    let dest = stores[1].dest();
    assert_eq!(std::fs::read(dest.join("run/x")).unwrap(), b"x");
    assert!(!dest.join("var").exists());
    assert!(view.lookup(&TreePath::clean("run/x")).is_some());
    // The implied directory looks like the one below; the link has its file beside it.
    let meta = dest.join("etc").metadata().unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o711, 77));
    let (f, h) = (
        dest.join("etc/f").metadata().unwrap(),
        dest.join("etc/h").metadata().unwrap(),
    );
    assert_eq!((f.ino(), f.nlink()), (h.ino(), 2));
    assert_eq!(std::fs::read(dest.join("etc/h")).unwrap(), b"lower");
    let names: Vec<_> = std::fs::read_dir(dest.join("etc")).unwrap().collect();
    assert_eq!(names.len(), 3);
}

#[test]
fn deletions_and_opaque_directories_are_marked_for_overlay() {
    let lower = Archive::default()
        .entry(&directory("d"), b"")
        .entry(&file("d/f", b""), b"")
        .entry(&file("f", b""), b"")
        .end();
    let upper = Archive::default()
        .raw(".wh.f", b'0', "", b"")
        .raw("d/.wh..wh..opq", b'0', "", b"")
        .raw("d/g", b'0', "", b"")
        .end();
    let (stores, view) = unpack(&[lower, upper]);
    let dest = stores[1].dest();
    let whiteout = dest.join("f").symlink_metadata().unwrap();
    assert!(whiteout.file_type().is_char_device());
    assert_eq!(whiteout.rdev(), 0);
    let open = std::fs::File::open(&dest).unwrap();
    let mark = crate::sys::xattr::get_at(open.as_fd(), c"d", c"user.overlay.opaque").unwrap();
    assert_eq!(mark.as_deref(), Some(&b"y"[..]));
    let names: Vec<String> = view
        .walk(&TreePath::root())
        .map(|node| node.path().to_string())
        .collect();
    assert_eq!(names, ["/", "/d", "/d/g"]);
}

#[test]
fn attributes_are_exact() {
    let mut special = file("d/f", b"x");
    special.mode = 0o6755;
    special.mtime = -5;
    special.xattrs = BTreeMap::from([(b"user.a".to_vec(), b"\n".to_vec())]);
    if ownership() == Ownership::Real {
        (special.uid, special.gid) = (12, 34);
        let mut capability = vec![1, 0, 0, 2];
        capability.extend_from_slice(&[0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        special
            .xattrs
            .insert(b"security.capability".to_vec(), capability);
    }
    let mut parent = directory("d");
    (parent.mode, parent.mtime) = (0o2500, 99);
    let tar = Archive::default()
        .entry(&parent, b"")
        .entry(&special, b"x")
        .entry(&hardlink("d/g", "d/f"), b"")
        .end();
    let store = Store::new();
    store.apply(&tar).unwrap();
    let meta = store.dest().join("d/f").metadata().unwrap();
    assert_eq!(
        (meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()),
        (0o6755, -5, 0)
    );
    assert_eq!(meta.nlink(), 2);
    let parent = store.dest().join("d").metadata().unwrap();
    assert_eq!((parent.mode() & 0o7777, parent.mtime()), (0o2500, 99));
    let open = std::fs::File::open(store.dest().join("d")).unwrap();
    for (key, value) in &special.xattrs {
        let key = CString::new(key.as_slice()).unwrap();
        let got = crate::sys::xattr::get_at(open.as_fd(), c"f", &key).unwrap();
        assert_eq!(got.as_ref(), Some(value), "{key:?}");
    }
    if ownership() == Ownership::Real {
        assert_eq!((meta.uid(), meta.gid()), (12, 34));
    }
}
