//! The stores of older builders stay readable: `testdata/formats/v1` is one of them, kept for ever.

use std::io::Read;

use super::*;

/// Copies a directory, links as links: a test never writes into test data.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Makes the sample; run it by hand when a *new* format is born, never for an old one.
fn make_sample(root: &Path) {
    let store = Store::open(root, Access::ReadWrite).unwrap();
    let form = put_layer_unflushed(&store, b"layer of the sample");
    store
        .put_tree(
            &diff_id(b"layer of the sample"),
            b"tree of the sample".to_vec(),
        )
        .unwrap();
    store
        .commit(record("sample", b"layer of the sample"))
        .unwrap();
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{0}","size":{1}}},"layers":[]}}"#,
        form.digest, form.size
    );
    let (digest, size) = store.put_blob(manifest.as_bytes()).unwrap();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let descriptor = crate::image::Descriptor::new(media_type, digest, size);
    store
        .tag(&"sample:1".parse().unwrap(), descriptor.clone())
        .unwrap();
    let platform = "linux/amd64".parse().unwrap();
    store
        .remember(&"debian:12".parse().unwrap(), &platform, descriptor)
        .unwrap();
}

#[test]
fn a_store_of_format_1_is_still_read() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/formats/v1/store");
    let home = Home::new();
    copy(&sample, &home.root());
    let store = home.open();
    let written = record("sample", b"layer of the sample");
    assert_eq!(store.record(&written.key).as_ref(), Some(&written));
    let similar = store.similar(&written.operation.unwrap());
    assert_eq!(similar.first(), Some(&written));
    let faces = store.layer(&written.diff_id);
    assert!(faces.has_tree && faces.blobs.len() == 1, "{faces:?}");
    let mut bytes = Vec::new();
    let form = &faces.blobs[0];
    store
        .open_blob(&form.digest, form.size)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, b"layer of the sample");
    assert_eq!(store.tree(&written.diff_id).unwrap(), b"tree of the sample");
    let image = store.image(&"sample:1".parse().unwrap()).unwrap().unwrap();
    assert!(store.has_blob(&image.digest));
    let platform = "linux/amd64".parse().unwrap();
    let resolved = store
        .resolved(&"debian:12".parse().unwrap(), &platform)
        .unwrap();
    assert_eq!(resolved.descriptor.digest, image.digest);
    assert_eq!(home.open().fsck(false).unwrap(), []);
}

#[test]
fn this_builder_writes_what_the_sample_holds() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/formats/v1/store");
    let home = Home::new();
    make_sample(&home.root());
    let theirs = walkdir::WalkDir::new(&sample).into_iter().flatten();
    for entry in theirs.filter(|entry| entry.file_type().is_file()) {
        let name = relative(entry.path(), &sample);
        let now = fs::read(home.path(&name)).unwrap_or_default();
        let then = fs::read(entry.path()).unwrap();
        // A resolved name holds the time at which it was.
        assert!(name.contains("/names/") || now == then, "{name} differs");
    }
}
