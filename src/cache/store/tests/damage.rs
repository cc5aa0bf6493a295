//! Damage and crashes: found, reported, and no obstacle to the next build.

use std::io::Write;

use super::super::{Fault, Problem, PrunePolicy};
use super::*;
use crate::cache::StoreError;
use crate::failure::Explain;
use crate::testing::skip;

/// What a builder leaves that is killed in the middle: a session that nobody holds, temporary
/// files, drafts, trash.
fn killed(home: &Home) {
    let store = home.open();
    let mut writer = store.blob_writer(Hashing::Here).unwrap();
    writer.write_all(b"half a bl").unwrap();
    let draft = store.draft_dir().unwrap();
    fs::write(draft.fs().join("half"), "").unwrap();
    let copy = |area: &str| {
        let (from, to) = (home.ours(area), home.dir.path().join(area));
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten() {
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                fs::create_dir_all(to.join("half")).unwrap();
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    };
    // The living builder removes its own; put copies back that belong to nobody.
    for area in ["tmp", "dirs", "sessions"] {
        copy(area);
    }
    drop((writer, draft, store));
    for area in ["tmp", "dirs", "sessions"] {
        fs::remove_dir_all(home.ours(area)).unwrap();
        fs::rename(home.dir.path().join(area), home.ours(area)).unwrap();
    }
    fs::create_dir_all(home.ours("trash/x/y")).unwrap();
}

#[test]
fn leftovers_of_a_killed_builder_are_removed_and_those_of_a_living_one_stay() {
    let home = Home::new();
    killed(&home);
    let store = home.open();
    let mut writer = store.blob_writer(Hashing::Here).unwrap();
    writer.write_all(b"whole").unwrap();
    let draft = store.draft_dir().unwrap();
    assert_eq!(home.open().fsck(false).unwrap().len(), 3);
    assert_eq!(home.open().clean().unwrap(), 3);
    assert_eq!(home.open().fsck(false).unwrap(), []);
    assert!(draft.fs().exists());
    writer.commit(None).unwrap();
    store.keep_dir(&diff_id(b"l"), draft).unwrap();
    assert_eq!(home.open().clean().unwrap(), 0);
}

#[test]
fn a_layer_whose_builder_was_killed_before_its_first_line_is_no_damage() {
    let home = Home::new();
    let store = home.open();
    put_layer(&store, b"other");
    for text in ["", "\n9d1c88f1 di"] {
        let path = home.path("builder/v1/layers").join(diff_id(b"l").0.hex());
        fs::write(&path, text).unwrap();
        let problems = home.open().fsck(false).unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].fault, Fault::Faceless);
        assert!(!problems[0].fault.is_damage());
        assert!(home.open().fsck(true).unwrap()[0].repaired);
        assert_eq!(home.open().fsck(false).unwrap(), []);
        // It is as absent as if it had never been.
        fs::write(&path, text).unwrap();
        let draft = store.draft_dir().unwrap();
        store.keep_dir(&diff_id(b"l"), draft).unwrap();
        assert!(home.open().layer(&diff_id(b"l")).is_available());
        fs::remove_file(&path).unwrap();
        home.open().clean().unwrap();
    }
}

#[test]
fn directories_of_an_earlier_boot_are_removed() {
    let home = Home::new();
    put_dir(&home.open(), b"layer");
    let dir = age_dir(&home, b"layer");
    assert_eq!(home.open().clean().unwrap(), 1);
    assert!(!dir.exists());
}

#[test]
fn everything_that_is_damaged_is_found_and_taken_out_of_the_way() {
    let home = Home::new();
    let store = home.open();
    let form = put_layer(&store, b"layer");
    put_layer(&store, b"good");
    store
        .put_tree(&diff_id(b"layer"), b"tree".to_vec())
        .unwrap();
    let written = store.commit(record("a", b"layer")).unwrap();
    drop(store);
    let hex = written.key.to_string();
    let damaged = [
        home.blob_path(&form.digest),
        home.ours("trees").join(diff_id(b"layer").0.hex()),
        home.ours("records").join(&hex[..2]).join(&hex),
    ];
    for path in &damaged {
        let mut bytes = fs::read(path).unwrap();
        bytes[0] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    fs::write(home.path("blobs/sha256/README"), "").unwrap();
    let paths = |problems: &[Problem]| -> Vec<(PathBuf, Fault)> {
        problems
            .iter()
            .map(|one| (one.path.clone(), one.fault.clone()))
            .collect()
    };
    let problems = paths(&home.open().fsck(false).unwrap());
    for (path, fault) in [
        (&damaged[0], Fault::DamagedBlob),
        (&damaged[1], Fault::DamagedFile),
        (&damaged[2], Fault::DamagedFile),
        (&home.path("blobs/sha256/README"), Fault::Foreign),
    ] {
        assert!(
            problems.contains(&(path.clone(), fault)),
            "{} in {problems:?}",
            path.display()
        );
    }
    assert_eq!(problems.len(), 4);
    assert_eq!(
        paths(&home.open().fsck(false).unwrap()),
        problems,
        "looking changes nothing"
    );
    let repaired = home.open().fsck(true).unwrap();
    assert_eq!(
        repaired.iter().filter(|problem| problem.repaired).count(),
        3
    );
    let left = paths(&home.open().fsck(false).unwrap());
    assert!(
        left.iter()
            .all(|(_, fault)| matches!(fault, Fault::Foreign | Fault::BrokenFace)),
        "{left:?}"
    );
    assert!(home.open().layer(&diff_id(b"good")).is_available());
}

#[test]
fn a_forged_record_is_found() {
    let home = Home::new();
    let store = home.open();
    put_layer(&store, b"layer");
    let mut forged = record("a", b"layer");
    forged.key = record("victim", b"layer").key;
    store.commit(forged).unwrap();
    let faults: Vec<Fault> = store
        .fsck(false)
        .unwrap()
        .into_iter()
        .map(|one| one.fault)
        .collect();
    assert_eq!(faults, [Fault::ForgedRecord]);
}

#[test]
fn an_image_with_a_lost_blob_is_reported() {
    let home = Home::new();
    let store = home.open();
    let digest = Digest::of(b"gone");
    let descriptor = crate::image::Descriptor::new("m", digest, 1);
    store.tag(&"app".parse().unwrap(), descriptor).unwrap();
    let problems = store.fsck(false).unwrap();
    assert_eq!(problems[0].fault, Fault::MissingBlob { digest });
    assert_eq!(store.du().unwrap().images[0].missing, 1);
}

#[test]
fn a_damaged_index_stops_collection() {
    let home = Home::new();
    put_layer(&home.open(), b"layer");
    fs::write(home.path("index.json"), "{").unwrap();
    assert!(home.open().prune(&PrunePolicy::default()).is_err());
    assert!(home.open().layer(&diff_id(b"layer")).is_available());
    let problems = home.open().fsck(true).unwrap();
    assert!(matches!(problems[0].fault, Fault::DamagedIndex { .. }));
    assert_eq!(fs::read_to_string(home.path("index.json")).unwrap(), "{");
}

#[test]
fn each_object_can_be_lost_without_failing_the_next_build() {
    let home = Home::new();
    let build = || {
        let store = home.open();
        let form = put_layer_unflushed(&store, b"layer");
        put_dir(&store, b"layer");
        store
            .put_tree(&diff_id(b"layer"), b"tree".to_vec())
            .unwrap();
        store.commit(record("a", b"layer")).unwrap();
        store.flush().unwrap();
        assert_eq!(store.read_blob(&form.digest, 99).unwrap(), b"layer");
        assert_eq!(
            home.open().record(&record("a", b"layer").key),
            Some(record("a", b"layer"))
        );
        assert!(home.open().layer(&diff_id(b"layer")).dir.is_some());
    };
    build();
    for file in home.files() {
        fs::remove_file(home.path(&file)).unwrap();
        build();
    }
    for file in home
        .files()
        .iter()
        .filter(|file| !file.ends_with("index.json"))
    {
        if home.path(file).is_symlink() || !home.path(file).exists() {
            continue;
        }
        fs::write(home.path(file), "").unwrap();
        build();
    }
}

#[test]
fn looking_for_damage_changes_nothing() {
    use std::os::unix::fs::MetadataExt;
    let home = Home::new();
    put_layer(&home.open(), b"layer");
    put_dir(&home.open(), b"dir");
    home.open().commit(record("a", b"layer")).unwrap();
    let state = || -> Vec<(String, i64, i64)> {
        let stat = |path: String| {
            let metadata = fs::symlink_metadata(home.path(&path)).unwrap();
            (path, metadata.mtime(), metadata.mtime_nsec())
        };
        home.files().into_iter().map(stat).collect()
    };
    let before = state();
    let store = Store::open(home.root(), Access::ReadOnly).unwrap();
    assert_eq!(store.fsck(false).unwrap(), []);
    assert!(store.fsck(true).is_err());
    assert!(store.du().unwrap().bytes() > 0);
    assert_eq!(state(), before);
}

/// A file system of so many bytes; `None` with a printed reason where none can be mounted.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let options = std::ffi::CString::new(format!("size={size},mode=0700")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        match rustix::mount::mount("tmpfs", at, "tmpfs", flags, Some(options.as_c_str())) {
            Ok(()) => Some(Self(at.to_owned())),
            Err(error) => {
                skip(&format!("no tmpfs can be mounted here: {error}"));
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_an_error_with_a_remedy_and_the_store_stays_sound() {
    let home = Home::new();
    let Some(_small) = Small::mount(&home.root(), "1m") else {
        return;
    };
    let store = home.open();
    put_layer(&store, b"layer");
    let written = store.commit(record("a", b"layer")).unwrap();
    let mut writer = store.blob_writer(Hashing::Here).unwrap();
    let error = loop {
        if let Err(error) = writer.write_all(&[7; 1 << 12]) {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let error = error.downcast::<StoreError>().unwrap();
    assert!(
        error.to_string().contains("after ") && error.to_string().contains("/tmp/"),
        "{error}"
    );
    assert!(error.hints()[0].contains("builder prune"));
    // While it is full: what is cached is found, and pruning works.
    let other = home.open();
    assert_eq!(other.record(&written.key), Some(written.clone()));
    drop(other);
    drop(writer);
    store.put_blob(b"there is room again").unwrap();
    store.flush().unwrap();
    drop(store);
    let problems = home.open().fsck(false).unwrap();
    assert!(
        !problems.iter().any(|problem| problem.fault.is_damage()),
        "{problems:?}"
    );
}

#[test]
fn a_store_without_inodes_can_still_be_read_and_pruned() {
    let home = Home::new();
    let Some(_small) = Small::mount(&home.root(), "1m,nr_inodes=40") else {
        return;
    };
    put_layer(&home.open(), b"layer");
    let mut fillers = 0;
    while fs::write(home.root().join(format!("filler{fillers}")), "").is_ok() {
        fillers += 1;
    }
    assert!(home.open().layer(&diff_id(b"layer")).is_available());
    assert!(home.open().put_blob(b"new").is_err());
    fs::remove_file(home.root().join("filler0")).unwrap();
    home.open().prune(&PrunePolicy::default()).unwrap();
    assert!(!home.open().layer(&diff_id(b"layer")).is_available());
}
