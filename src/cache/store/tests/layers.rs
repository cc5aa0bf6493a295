//! The faces of layers.

use super::*;

#[test]
fn a_blob_is_a_face_of_its_layer() {
    let home = Home::new();
    let form = put_layer(&home.open(), b"layer");
    let store = home.open();
    let faces = store.layer(&diff_id(b"layer"));
    assert_eq!(faces.blobs, [form]);
    assert!(faces.is_available() && faces.dir.is_none() && !faces.has_tree);
    assert!(!store.layer(&diff_id(b"other")).is_available());
}

#[test]
fn a_pending_blob_is_a_face_here_already() {
    let home = Home::new();
    let store = home.open();
    let form = put_layer_unflushed(&store, b"layer");
    assert_eq!(store.layer(&diff_id(b"layer")).blobs, [form]);
}

#[test]
fn forms_of_one_compression_are_told_apart() {
    let home = Home::new();
    let store = home.open();
    let layer = diff_id(b"layer");
    let mut forms = Vec::new();
    for (bytes, made_by) in [
        ("a", Some("gzip-6-v1")),
        ("b", Some("gzip-9-v1")),
        ("c", None),
        ("d", None),
    ] {
        let (digest, size) = store.put_blob(bytes.as_bytes()).unwrap();
        let form = BlobForm {
            compression: Compression::Gzip,
            digest,
            size,
            made_by: made_by.map(str::to_owned),
        };
        store.add_blob_form(&layer, form.clone()).unwrap();
        forms.push(form);
    }
    forms.sort();
    assert_eq!(store.layer(&layer).blobs, forms);
    store.flush().unwrap();
    assert_eq!(home.open().layer(&layer).blobs, forms);
}

#[test]
fn an_encoder_cannot_name_a_path() {
    let home = Home::new();
    let store = home.open();
    let mut form = put_layer(&store, b"layer");
    for bad in ["", "../x", "a/b", "A", "-", "a b", "a.b", &"x".repeat(65)] {
        form.made_by = Some(bad.to_owned());
        assert!(
            store
                .add_blob_form(&diff_id(b"layer"), form.clone())
                .is_err(),
            "{bad}"
        );
    }
}

#[test]
fn a_form_without_its_blob_is_refused_and_a_lost_blob_is_no_face() {
    let home = Home::new();
    let store = home.open();
    let mut form = put_layer(&store, b"layer");
    fs::remove_file(home.blob_path(&form.digest)).unwrap();
    assert!(!store.layer(&diff_id(b"layer")).is_available());
    form.digest = Digest::of(b"never there");
    assert!(
        store
            .add_blob_form(&diff_id(b"layer"), form)
            .unwrap_err()
            .is_missing()
    );
}

#[test]
fn a_directory_is_a_face_whose_path_never_changes() {
    let home = Home::new();
    let store = home.open();
    let draft = store.draft_dir().unwrap();
    let before = draft.fs().to_owned();
    fs::write(before.join("file"), "x").unwrap();
    let work = draft.work().unwrap();
    fs::create_dir(work.join("work")).unwrap();
    let kept = store.keep_dir(&diff_id(b"layer"), draft).unwrap();
    assert_eq!(kept, before);
    assert!(!work.exists());
    assert_eq!(home.open().layer(&diff_id(b"layer")).dir, Some(before));
}

#[test]
fn the_first_directory_of_a_layer_wins_and_the_second_lives_as_long_as_its_maker() {
    let home = Home::new();
    let (one, two) = (home.open(), home.open());
    let first = put_dir(&one, b"layer");
    let draft = two.draft_dir().unwrap();
    let second = draft.fs().to_owned();
    assert_eq!(two.keep_dir(&diff_id(b"layer"), draft).unwrap(), first);
    assert!(second.is_dir());
    drop((one, two));
    assert!(first.is_dir() && !second.exists());
}

#[test]
fn a_directory_of_another_boot_is_absent_unless_it_was_settled() {
    let home = Home::new();
    let store = home.open();
    let reboot = |layer: &[u8]| age_dir(&home, layer);
    put_dir(&store, b"settled");
    assert_eq!(store.settle().unwrap(), 1);
    assert_eq!(store.settle().unwrap(), 0);
    put_dir(&store, b"lost");
    reboot(b"settled");
    reboot(b"lost");
    assert!(store.layer(&diff_id(b"settled")).dir.is_some());
    assert_eq!(store.layer(&diff_id(b"lost")).dir, None);
    let again = put_dir(&store, b"lost");
    assert_eq!(store.layer(&diff_id(b"lost")).dir, Some(again));
}

#[test]
fn a_tree_is_kept_whole_or_not_at_all() {
    let home = Home::new();
    let store = home.open();
    let layer = diff_id(b"layer");
    assert_eq!(store.tree(&layer), None);
    store.put_tree(&layer, b"tree index".to_vec()).unwrap();
    assert_eq!(store.tree(&layer).unwrap(), b"tree index");
    assert!(store.layer(&layer).has_tree && !store.layer(&layer).is_available());
    let path = home.ours("trees").join(layer.0.hex());
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        assert_eq!(store.tree(&layer), None);
    }
}
