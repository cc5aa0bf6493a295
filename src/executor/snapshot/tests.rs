//! Upper directories of real overlays, where they can be mounted, and ones made by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use rustix::mount::{MountFlags, UnmountFlags};

use super::*;
use crate::clock::Epoch;
use crate::layer::{ApplyOptions, Limits, OverlayXattr, Ownership, apply, index};
use crate::tree::{
    DEVICE_NOTE, Device, Entry, Kind, OWNER_NOTE, SPECIAL_OWNER_NOTE, TreePath, View,
    special_owner_note,
};

const EPOCH: Epoch = Epoch(1_000_000_000);

/// A stack of layer directories and the overlay on top of them.
struct Stack {
    ground: tempfile::TempDir,
    layers: Vec<PathBuf>,
    view: View,
    mounted: bool,
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.unmount();
    }
}

impl Stack {
    fn new() -> Self {
        Self {
            ground: tempfile::tempdir().unwrap(),
            layers: Vec::new(),
            view: View::new(),
            mounted: false,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.ground.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn lowers(&self) -> Vec<PathBuf> {
        self.layers.iter().rev().cloned().collect()
    }

    /// Mounts an overlay on the layers so far; `None` where that is not permitted.
    fn mount(&mut self) -> Option<PathBuf> {
        let number = self.layers.len();
        let upper = self.path(&format!("upper{number}"));
        let (work, merged) = (self.path(&format!("work{number}")), self.path("merged"));
        let mut lowers = self.lowers();
        if lowers.is_empty() {
            lowers.push(self.path("nothing"));
        }
        let lowers: Vec<String> = lowers
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},redirect_dir=off,metacopy=off,index=off",
            lowers.join(":"),
            upper.display(),
            work.display()
        );
        let options = std::ffi::CString::new(options).unwrap();
        let options = Some(options.as_c_str());
        let mounted =
            rustix::mount::mount("overlay", &merged, "overlay", MountFlags::empty(), options);
        if let Err(error) = mounted {
            crate::testing::skip(&format!("no overlay can be mounted here: {error}"));
            return None;
        }
        self.mounted = true;
        Some(merged)
    }

    fn unmount(&mut self) {
        if std::mem::take(&mut self.mounted) {
            let merged = self.ground.path().join("merged");
            let _ = rustix::mount::unmount(&merged, UnmountFlags::DETACH);
        }
    }

    /// Runs `work` in the merged root and freezes what it did: its layer as a tar and as entries.
    fn run(&mut self, work: impl FnOnce(&Path)) -> Option<(Frozen, Vec<u8>)> {
        let merged = self.mount()?;
        work(&merged);
        self.unmount();
        Some(self.commit())
    }

    fn commit(&mut self) -> (Frozen, Vec<u8>) {
        let upper = self.path(&format!("upper{}", self.layers.len()));
        let options = FreezeOptions {
            epoch: EPOCH,
            believed: Believed::default(),
        };
        let frozen = freeze(&upper, &self.lowers(), &options).unwrap();
        let mut tar = Vec::new();
        let plain = crate::layer::Encoding::usual(crate::image::Compression::Uncompressed);
        let written = frozen.write(Some(plain), &mut tar).unwrap();
        self.view.push(Arc::new(written.tree));
        self.layers.push(upper);
        (frozen, tar)
    }

    /// The same layers made of their tars alone.
    fn rebuilt(tars: &[Vec<u8>]) -> Self {
        let mut other = Self::new();
        for (number, tar) in tars.iter().enumerate() {
            let target = other.path(&format!("upper{number}"));
            let lowers = other.lowers();
            let options = ApplyOptions {
                overlay: OverlayXattr::Trusted,
                lowers: &lowers,
                lower_view: &other.view,
                ownership: Ownership::Real,
                clamp: None,
                limits: Limits::default(),
            };
            apply(tar.as_slice(), &target, &options).unwrap();
            let indexed = index(tar.as_slice(), Limits::default(), std::io::sink()).unwrap();
            other.view.push(Arc::new(indexed.tree));
            other.layers.push(target);
        }
        other
    }
}

/// All below a directory: path, type, mode, owner, time, links, content.
fn listing(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut lines = BTreeMap::new();
    let mut inodes: BTreeMap<u64, PathBuf> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name() {
        let entry = entry.unwrap();
        let meta = entry.path().symlink_metadata().unwrap();
        let path = entry.path().strip_prefix(root).unwrap().to_owned();
        let mut line = format!(
            "{:o} {}:{} {}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime()
        );
        if meta.is_file() {
            write!(line, " {:?}", std::fs::read(entry.path()).unwrap()).unwrap();
            if meta.nlink() > 1 {
                let first = inodes.entry(meta.ino()).or_insert_with(|| path.clone());
                write!(line, " {}", first.display()).unwrap();
            }
        } else if meta.is_symlink() {
            write!(line, " {:?}", std::fs::read_link(entry.path()).unwrap()).unwrap();
        }
        lines.insert(path, line);
    }
    lines
}

fn kinds(frozen: &Frozen) -> Vec<String> {
    let entries = frozen.entries().iter();
    let kind = |entry: &Entry<_>| match &entry.kind {
        Kind::Directory { opaque } => {
            format!("{} dir{}", entry.path, if *opaque { "!" } else { "" })
        }
        Kind::File { size, .. } => format!("{} file {size}", entry.path),
        Kind::Symlink { .. } => format!("{} link", entry.path),
        Kind::Hardlink { target } => format!("{} = {target}", entry.path),
        Kind::Whiteout => format!("{} gone", entry.path),
        Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {
            format!("{} special", entry.path)
        }
    };
    entries.map(kind).collect()
}

fn write(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
}

fn set_time(path: &Path, seconds: u64) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    std::fs::File::open(path)
        .unwrap()
        .set_modified(time)
        .unwrap();
}

/// What the first step makes.
fn base(root: &Path) {
    for directory in ["a/sub", "b", "etc"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    write(&root.join("a/f"), "f");
    write(&root.join("a/sub/g"), "g");
    write(&root.join("b/h"), "h");
    write(&root.join("etc/passwd"), "root:x:0:0\n");
    std::fs::hard_link(root.join("b/h"), root.join("b/i")).unwrap();
    symlink("../a", root.join("b/link")).unwrap();
}

#[test]
fn new_files_are_listed_and_their_times_clamped() {
    let mut stack = Stack::new();
    let upper = stack.path("upper0");
    base(&upper);
    set_time(&upper.join("a/f"), 5);
    let (frozen, _) = stack.commit();
    assert_eq!(
        kinds(&frozen),
        [
            "/a dir",
            "/a/f file 1",
            "/a/sub dir",
            "/a/sub/g file 1",
            "/b dir",
            "/b/h file 1",
            "/b/i = /b/h",
            "/b/link link",
            "/etc dir",
            "/etc/passwd file 11"
        ]
    );
    assert_eq!(upper.join("a/f").metadata().unwrap().mtime(), 5);
    let clamped = upper.join("a/sub/g").metadata().unwrap();
    assert_eq!((clamped.mtime(), clamped.mtime_nsec()), (EPOCH.0, 0));
    assert_eq!(
        upper.join("b/link").symlink_metadata().unwrap().mtime(),
        EPOCH.0
    );
    let passwd = stack.view.file_content(&TreePath::clean("etc/passwd"));
    assert_eq!(passwd, crate::tree::Kept::Content(b"root:x:0:0\n"));
}

#[test]
fn names_reserved_for_deletions_are_refused() {
    let mut stack = Stack::new();
    let upper = stack.path("upper0");
    std::fs::create_dir(upper.join("d")).unwrap();
    write(&upper.join("d/.wh.x"), "");
    let options = FreezeOptions {
        epoch: EPOCH,
        believed: Believed::default(),
    };
    let error = freeze(&upper, &[], &options).unwrap_err();
    assert!(error.to_string().contains("`/d/.wh.x`"), "{error}");
    stack.unmount();
}

#[test]
fn marks_of_the_driver_that_a_command_made_up_are_none() {
    let stack = Stack::new();
    let (upper, lower) = (stack.path("upper0"), stack.path("lower"));
    for directory in [&upper, &lower] {
        std::fs::create_dir(directory.join("d")).unwrap();
    }
    write(&lower.join("d/old"), "");
    write(&upper.join("d/new"), "");
    let flags = rustix::fs::XattrFlags::empty();
    for key in [c"user.overlay.opaque", c"user.overlay.redirect"] {
        if let Err(error) = rustix::fs::lsetxattr(upper.join("d"), key, b"y", flags) {
            crate::testing::skip(&format!("no attributes of users here: {error}"));
            return;
        }
    }
    let freeze = |devices| {
        let options = FreezeOptions {
            epoch: EPOCH,
            believed: Believed {
                owners: false,
                devices,
            },
        };
        freeze(&upper, std::slice::from_ref(&lower), &options)
    };
    let frozen = freeze(false).unwrap();
    let paths = frozen.entries().iter().map(|entry| entry.path.to_string());
    let paths: Vec<String> = paths.filter(|path| path.contains("d/")).collect();
    assert_eq!(paths, ["/d/new"]);
    // In a user namespace they are the driver's, and this one is not followed.
    assert!(freeze(true).is_err());
}

#[test]
fn notes_say_what_a_file_is_in_the_layer() {
    let stack = Stack::new();
    let upper = stack.path("upper0");
    let set = |name: &str, key: &std::ffi::CStr, value: &[u8]| {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(upper.join(name), key, value, flags)
    };
    write(&upper.join("null"), "");
    symlink("x", upper.join("link")).unwrap();
    let note = Device {
        is_block: false,
        major: 1,
        minor: 3,
    };
    if set("null", DEVICE_NOTE, &note.note()).is_err() {
        return;
    }
    set("null", OWNER_NOTE, b"7:8").unwrap();
    if rustix::process::geteuid().is_root() {
        let owner = special_owner_note((9, 10));
        set("link", SPECIAL_OWNER_NOTE, &owner).unwrap();
    }
    let options = FreezeOptions {
        epoch: EPOCH,
        believed: Believed {
            owners: true,
            devices: true,
        },
    };
    let frozen = freeze(&upper, &[], &options).unwrap();
    let [link, null] = frozen.entries() else {
        panic!("{frozen:?}");
    };
    assert_eq!((null.uid, null.gid), (7, 8));
    assert_eq!(null.kind, Kind::CharDevice { major: 1, minor: 3 });
    assert!(null.xattrs.is_empty() && link.xattrs.is_empty());
    if rustix::process::geteuid().is_root() {
        assert_eq!((link.uid, link.gid), (9, 10));
    }
    // Where the command may have written them itself, they are nothing, and not in the layer either.
    let options = FreezeOptions {
        believed: Believed::default(),
        ..options
    };
    let frozen = freeze(&upper, &[], &options).unwrap();
    let [link, null] = frozen.entries() else {
        panic!("{frozen:?}");
    };
    let own = rustix::process::geteuid().as_raw();
    assert_eq!((link.uid, null.uid), (own, own));
    assert!(matches!(null.kind, Kind::File { .. }));
    assert!(null.xattrs.is_empty() && link.xattrs.is_empty());
}

#[test]
fn only_changes_are_in_the_layer() {
    let mut stack = Stack::new();
    let Some(_) = stack.run(base) else { return };
    let work = |root: &Path| {
        // Copied up, then as before.
        let permissions = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(root.join("a/f"), permissions(0o600)).unwrap();
        std::fs::set_permissions(root.join("a/f"), permissions(0o644)).unwrap();
        // Same size, same time after clamping, another content.
        write(&root.join("a/sub/g"), "G");
        // Deleted.
        std::fs::remove_file(root.join("b/link")).unwrap();
        // Made and deleted.
        write(&root.join("b/tmp"), "");
        std::fs::remove_file(root.join("b/tmp")).unwrap();
    };
    let (frozen, _) = stack.run(work).unwrap();
    assert_eq!(kinds(&frozen), ["/a/sub/g file 1", "/b/link gone"]);
}

#[test]
fn recreated_directories_become_explicit_deletions() {
    let mut stack = Stack::new();
    let Some(_) = stack.run(base) else { return };
    let work = |root: &Path| {
        std::fs::remove_dir_all(root.join("a")).unwrap();
        std::fs::create_dir_all(root.join("a/sub")).unwrap();
        write(&root.join("a/new"), "");
        // Rename of a directory of a lower layer: copied, the old one deleted.
        std::fs::remove_dir_all(root.join("etc")).unwrap();
        write(&root.join("etc"), "a file now");
    };
    let (frozen, _) = stack.run(work).unwrap();
    assert_eq!(
        kinds(&frozen),
        [
            "/a/f gone",
            "/a/new file 0",
            "/a/sub/g gone",
            "/etc file 10"
        ]
    );
}

#[test]
fn a_new_name_of_an_old_file_brings_the_file() {
    let mut stack = Stack::new();
    let Some(_) = stack.run(base) else { return };
    let work = |root: &Path| std::fs::hard_link(root.join("a/f"), root.join("new")).unwrap();
    let (frozen, _) = stack.run(work).unwrap();
    assert_eq!(kinds(&frozen), ["/a/f file 1", "/new = /a/f"]);
}

#[test]
fn fifos_sockets_and_devices() {
    let mut stack = Stack::new();
    let Some(_) = stack.run(base) else { return };
    let work = |root: &Path| {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        let null = rustix::fs::makedev(1, 3);
        mknodat(
            CWD,
            root.join("null"),
            FileType::CharacterDevice,
            Mode::RWXU,
            null,
        )
        .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        std::fs::remove_file(root.join("b/h")).unwrap();
        let _over = std::os::unix::net::UnixListener::bind(root.join("b/h")).unwrap();
    };
    let (frozen, _) = stack.run(work).unwrap();
    assert_eq!(
        kinds(&frozen),
        ["/b/h gone", "/fifo special", "/null special"]
    );
}

/// Something that a command may do.
#[derive(Clone, Debug)]
enum Act {
    Write(PathBuf, u8),
    Directory(PathBuf),
    Remove(PathBuf),
    Link(PathBuf, PathBuf),
    Symlink(PathBuf),
    Mode(PathBuf, u32),
    Rename(PathBuf, PathBuf),
}

fn path() -> impl Strategy<Value = PathBuf> {
    let name = prop::sample::select(vec!["a", "b", "c", "a.b", "x y"]);
    prop::collection::vec(name, 1..4).prop_map(|names| names.iter().collect())
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (path(), 0_u8..3).prop_map(|(path, size)| Act::Write(path, size)),
        4 => path().prop_map(Act::Directory),
        3 => path().prop_map(Act::Remove),
        2 => (path(), path()).prop_map(|(from, to)| Act::Link(from, to)),
        1 => path().prop_map(Act::Symlink),
        1 => (path(), 0o700_u32..0o1000).prop_map(|(path, mode)| Act::Mode(path, mode)),
        1 => (path(), path()).prop_map(|(from, to)| Act::Rename(from, to)),
    ]
}

/// Does what is possible.
fn perform(root: &Path, acts: &[Act]) {
    for act in acts {
        match act {
            Act::Write(path, size) => {
                let _ = std::fs::write(root.join(path), vec![b'x'; usize::from(*size)]);
            }
            Act::Directory(path) => {
                let _ = std::fs::create_dir_all(root.join(path));
            }
            Act::Remove(path) => {
                let _ = std::fs::remove_file(root.join(path));
                let _ = std::fs::remove_dir_all(root.join(path));
            }
            Act::Link(from, to) => {
                let _ = std::fs::hard_link(root.join(from), root.join(to));
            }
            Act::Symlink(path) => {
                let _ = symlink("nowhere", root.join(path));
            }
            Act::Mode(path, mode) => {
                let mode = std::fs::Permissions::from_mode(*mode);
                if root
                    .join(path)
                    .symlink_metadata()
                    .is_ok_and(|meta| !meta.is_symlink())
                {
                    let _ = std::fs::set_permissions(root.join(path), mode);
                }
            }
            Act::Rename(from, to) => {
                let _ = std::fs::rename(root.join(from), root.join(to));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn layers_rebuild_what_the_steps_made(
        steps in prop::collection::vec(prop::collection::vec(act(), 1..12), 1..4)
    ) {
        let mut stack = Stack::new();
        let mut tars = Vec::new();
        for acts in &steps {
            let Some((_, tar)) = stack.run(|root| perform(root, acts)) else { return Ok(()) };
            tars.push(tar);
        }
        let mut rebuilt = Stack::rebuilt(&tars);
        let (Some(one), Some(other)) = (stack.mount(), rebuilt.mount()) else { return Ok(()) };
        let (one, other) = (listing(&one), listing(&other));
        prop_assert_eq!(&one, &other);
        // And the view knows the same paths.
        let paths: Vec<String> =
            stack.view.walk(&TreePath::root()).skip(1).map(|node| node.path().to_string()).collect();
        let listed: Vec<String> = {
            let mut paths: Vec<TreePath> = one
                .keys()
                .map(|path| TreePath::clean(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())))
                .collect();
            paths.sort();
            paths.iter().map(ToString::to_string).collect()
        };
        prop_assert_eq!(paths, listed);
        // Doing nothing on top of either changes nothing.
        stack.unmount();
        rebuilt.unmount();
        prop_assert_eq!(kinds(&stack.commit().0), [""; 0]);
    }
}

#[test]
fn a_name_written_as_it_was_is_a_link_as_it_was() {
    let write = |path: &str, text| Act::Write(path.into(), text);
    let steps = [
        vec![write("c", 0)],
        vec![Act::Link("c".into(), "b".into()), write("b", 1)],
        vec![write("b", 1)],
    ];
    let mut stack = Stack::new();
    let mut tars = Vec::new();
    for acts in &steps {
        // Why no overlay can be mounted was told.
        let Some((_, tar)) = stack.run(|root| perform(root, acts)) else {
            return;
        };
        tars.push(tar);
    }
    let mut rebuilt = Stack::rebuilt(&tars);
    let (Some(one), Some(other)) = (stack.mount(), rebuilt.mount()) else {
        return;
    };
    assert_eq!(listing(&one), listing(&other));
}

#[test]
fn two_listings_of_a_root_tell_what_a_step_changed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["kept", "same", "changed", "gone"] {
        std::fs::write(path(name), "old").unwrap();
    }
    std::fs::create_dir(path("hidden")).unwrap();
    std::fs::write(path("hidden/file"), "old").unwrap();
    // What is there is what the layer below has, times cut off.
    let (nothing, epoch) = (View::new(), Epoch(i64::MAX));
    let all = changes(directory.path(), &Listing::default(), &nothing, epoch);
    let (frozen, before) = all.unwrap();
    let written = frozen.write(None, std::io::sink()).unwrap();
    let below = View::merge(&[Arc::new(written.tree)]);
    before.settle(&std::env::temp_dir());

    let time = std::fs::metadata(path("same")).unwrap().modified().unwrap();
    std::fs::write(path("same"), "old").unwrap();
    let same = std::fs::File::options()
        .write(true)
        .open(path("same"))
        .unwrap();
    same.set_modified(time).unwrap();
    std::fs::write(path("changed"), "new").unwrap();
    std::fs::remove_file(path("gone")).unwrap();
    std::fs::remove_dir_all(path("hidden")).unwrap();
    std::fs::write(path("made"), "").unwrap();
    std::fs::hard_link(path("made"), path("twin")).unwrap();
    let (frozen, after) = changes(directory.path(), &before, &below, epoch).unwrap();
    let found: Vec<String> = frozen
        .entries()
        .iter()
        .map(|entry| match &entry.kind {
            Kind::Whiteout => format!("{} deleted", entry.path),
            Kind::Hardlink { target } => format!("{} link to {target}", entry.path),
            _ => format!("{} made", entry.path),
        })
        .collect();
    assert_eq!(
        found,
        [
            "/changed made",
            "/gone deleted",
            "/hidden deleted",
            "/made made",
            "/twin link to /made"
        ]
    );
    // The listing after a step is the one before the next.
    after.settle(&std::env::temp_dir());
    let (frozen, _) = changes(directory.path(), &after, &below, epoch).unwrap();
    assert_eq!(frozen.entries(), []);
}

#[test]
fn a_change_right_after_a_listing_shows() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("f");
    write(&file, "000");
    let mut listing = survey(directory.path()).unwrap();
    for number in 1..=100 {
        listing.settle(&std::env::temp_dir());
        // Same inode, same size, same modification time.
        write(&file, &format!("{number:03}"));
        let (frozen, after) = changes(directory.path(), &listing, &View::new(), Epoch(5)).unwrap();
        assert_eq!(kinds(&frozen), ["/f file 3"], "{number}");
        listing = after;
    }
}
