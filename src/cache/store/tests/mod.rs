//! A store in a temporary directory, and what is true of it.

mod blobs;
mod claims;
mod collection;
mod damage;
mod images;
mod layers;
mod mounts;
mod records;
mod removal;

use std::fs;
use std::path::{Path, PathBuf};

use super::{Access, Hashing, Store};
use crate::cache::record::{BlobForm, Record};
use crate::digest::{DiffId, Digest};
use crate::image::Compression;

/// A directory that goes away with the test.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Another builder.
    fn open(&self) -> Store {
        Store::open(self.root(), Access::ReadWrite).unwrap()
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root().join(below)
    }

    fn ours(&self, below: &str) -> PathBuf {
        self.root().join("builder/v1").join(below)
    }

    /// Every file of the store, relative.
    fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = walkdir::WalkDir::new(self.root())
            .into_iter()
            .flatten()
            .filter(|entry| !entry.file_type().is_dir())
            .map(|entry| relative(entry.path(), &self.root()))
            .collect();
        files.sort();
        files
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path("blobs/sha256").join(digest.hex())
    }
}

fn relative(path: &Path, root: &Path) -> String {
    let path = path.strip_prefix(root).unwrap();
    path.to_string_lossy().into_owned()
}

fn diff_id(layer: &[u8]) -> DiffId {
    DiffId(Digest::of(layer))
}

fn record(input: &str, layer: &[u8]) -> Record {
    crate::cache::record::tests::record(input, layer)
}

/// Puts a blob and makes it an uncompressed form of its layer; publishes it.
fn put_layer(store: &Store, layer: &[u8]) -> BlobForm {
    let form = put_layer_unflushed(store, layer);
    store.flush().unwrap();
    form
}

fn put_layer_unflushed(store: &Store, layer: &[u8]) -> BlobForm {
    let (digest, size) = store.put_blob(layer).unwrap();
    let form = BlobForm {
        compression: Compression::Uncompressed,
        digest,
        size,
        made_by: Some("tar-v1".to_owned()),
    };
    store.add_blob_form(&diff_id(layer), form.clone()).unwrap();
    form
}

/// Makes an unpacked directory with one file the face of a layer.
fn put_dir(store: &Store, layer: &[u8]) -> PathBuf {
    let draft = store.draft_dir().unwrap();
    fs::write(draft.fs().join("file"), layer).unwrap();
    store.keep_dir(&diff_id(layer), draft).unwrap()
}

/// Makes the directory of a layer look as if it was made before the system was started; gives it.
fn age_dir(home: &Home, layer: &[u8]) -> PathBuf {
    let path = home.ours("layers").join(diff_id(layer).0.hex());
    let name = super::faces::read(&path).dir.unwrap();
    let (_, rest) = name.split_once('-').unwrap();
    let older = format!("0123456789ab-{rest}");
    for area in ["dirs", "synced"] {
        drop(fs::rename(
            home.ours(area).join(&name),
            home.ours(area).join(&older),
        ));
    }
    super::faces::append(&path, &super::faces::Face::Dir(older.clone())).unwrap();
    home.ours("dirs").join(older)
}

#[test]
fn opening_makes_nothing() {
    let home = Home::new();
    let store = home.open();
    assert_eq!(store.record(&record("a", b"l").key), None);
    assert_eq!(store.images().unwrap(), []);
    assert!(!home.ours("records").exists());
}

#[test]
fn the_root_is_private_and_an_oci_layout() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    home.open().put_blob(b"x").unwrap();
    let mode = fs::metadata(home.root()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let layout = fs::read_to_string(home.path("oci-layout")).unwrap();
    assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
    assert!(home.path("index.json").exists());
}

#[test]
fn a_closed_store_has_no_session_and_no_temporary_files() {
    let home = Home::new();
    let store = home.open();
    put_layer(&store, b"layer");
    drop(store.blob_writer(Hashing::Here).unwrap());
    drop(store.draft_dir().unwrap());
    drop(store);
    let left: Vec<String> = home
        .files()
        .into_iter()
        .filter(|path| {
            ["tmp/", "sessions/", "dirs/", "trash/"]
                .iter()
                .any(|area| path.contains(area))
        })
        .collect();
    assert_eq!(left, Vec::<String>::new());
    assert!(!home.ours("dirs").exists() || fs::read_dir(home.ours("dirs")).unwrap().count() == 0);
}

#[test]
fn a_store_opened_for_reading_reads_and_refuses_to_write() {
    let home = Home::new();
    let form = put_layer(&home.open(), b"layer");
    let store = Store::open(home.root(), Access::ReadOnly).unwrap();
    assert_eq!(store.read_blob(&form.digest, 100).unwrap(), b"layer");
    let before = home.files();
    let error = store.put_blob(b"new").unwrap_err();
    assert!(error.to_string().ends_with("is read-only"), "{error}");
    assert!(store.draft_dir().is_err());
    assert!(store.commit(record("a", b"layer")).is_err());
    assert_eq!(home.files(), before);
}

#[test]
fn a_file_in_the_place_of_the_store_is_an_error() {
    let home = Home::new();
    fs::write(home.root(), "").unwrap();
    let error = Store::open(home.root(), Access::ReadWrite).unwrap_err();
    assert!(
        error.to_string().starts_with("failed to open the store"),
        "{error}"
    );
}
