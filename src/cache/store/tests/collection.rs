//! Sizes and collection: what goes, what stays, and what running builders keep.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::{Class, Patience, PrunePolicy, Sharing};
use super::*;
use crate::cache::StoreError;
use crate::image::Descriptor;
use crate::reference::Reference;

/// An image of one layer, named `name`.
fn put_image(store: &Store, name: &str, layer: &[u8]) -> Descriptor {
    let form = put_layer_unflushed(store, layer);
    let (config, config_size) = store
        .put_blob(format!("{{\"{name}\":1}}").as_bytes())
        .unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": {"mediaType": "c", "digest": config.to_string(), "size": config_size},
        "layers": [{"mediaType": "l", "digest": form.digest.to_string(), "size": form.size}],
    });
    let (digest, size) = store.put_blob(manifest.to_string().as_bytes()).unwrap();
    let descriptor = Descriptor::new("application/vnd.oci.image.manifest.v1+json", digest, size);
    let name: Reference = name.parse().unwrap();
    store.tag(&name, descriptor.clone()).unwrap();
    descriptor
}

fn everything() -> PrunePolicy {
    PrunePolicy::default()
}

/// Makes a layer look as if it was used so many seconds ago.
fn age(home: &Home, layer: &[u8], seconds: i64) {
    let path = home.ours("layers").join(diff_id(layer).0.hex());
    let time = rustix::fs::Timespec {
        tv_sec: crate::clock::now().0 - seconds,
        tv_nsec: 0,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(rustix::fs::CWD, &path, &times, rustix::fs::AtFlags::empty()).unwrap();
}

#[test]
fn pruning_keeps_images_and_removes_the_rest() {
    let home = Home::new();
    let store = home.open();
    let image = put_image(&store, "app", b"in the image");
    put_layer(&store, b"cached only");
    put_dir(&store, b"unpacked only");
    store.commit(record("a", b"cached only")).unwrap();
    store.commit(record("b", b"in the image")).unwrap();
    store.put_blob(b"nobody's").unwrap();
    drop(store);
    let store = home.open();
    let pruned = store.prune(&everything()).unwrap();
    assert!(
        pruned.count >= 3 && pruned.bytes > 0 && pruned.left.is_empty(),
        "{pruned:?}"
    );
    assert!(!store.layer(&diff_id(b"cached only")).is_available());
    assert!(!store.layer(&diff_id(b"unpacked only")).is_available());
    assert!(store.layer(&diff_id(b"in the image")).is_available());
    assert!(store.read_blob(&image.digest, 9999).is_ok());
    assert!(store.record(&record("b", b"").key).is_some());
    assert_eq!(fs::read_dir(home.ours("dirs")).unwrap().count(), 0);
    let problems = home.open().fsck(false).unwrap();
    assert_eq!(problems, []);
}

#[test]
fn pruning_all_removes_the_cache_of_images_and_keeps_the_images() {
    let home = Home::new();
    let image = put_image(&home.open(), "app", b"layer");
    put_dir(&home.open(), b"layer");
    home.open().commit(record("a", b"layer")).unwrap();
    let store = home.open();
    store
        .prune(&PrunePolicy {
            all: true,
            ..everything()
        })
        .unwrap();
    assert_eq!(store.record(&record("a", b"").key), None);
    assert!(!store.layer(&diff_id(b"layer")).is_available());
    assert!(store.has_blob(&image.digest) && store.has_blob(&Digest::of(b"layer")));
}

#[test]
fn what_a_running_builder_uses_stays() {
    let home = Home::new();
    let builder = home.open();
    put_layer(&home.open(), b"used blob");
    put_dir(&home.open(), b"used dir");
    put_layer(&home.open(), b"unused");
    builder.put_blob(b"{\"loose\":1}").unwrap();
    builder.flush().unwrap();
    let dir = builder.layer(&diff_id(b"used dir")).dir.unwrap();
    assert!(builder.layer(&diff_id(b"used blob")).is_available());
    builder.relax().unwrap();
    let pruned = home
        .open()
        .prune(&PrunePolicy {
            all: true,
            ..everything()
        })
        .unwrap();
    assert_eq!((pruned.count, pruned.in_use), (2, 3), "{pruned:?}");
    assert!(dir.join("file").exists());
    assert_eq!(
        builder.read_blob(&Digest::of(b"used blob"), 99).unwrap(),
        b"used blob"
    );
    assert!(builder.has_blob(&Digest::of(b"{\"loose\":1}")));
    assert!(!builder.has_blob(&Digest::of(b"unused")));
    drop(builder);
    home.open().prune(&everything()).unwrap();
    assert!(!dir.exists());
}

#[test]
fn a_builder_that_only_looks_writes_nothing_and_keeps_collections_out() {
    let home = Home::new();
    put_layer(&home.open(), b"layer");
    let written = home.open().commit(record("a", b"layer")).unwrap();
    let before = home.files();
    let builder = home.open();
    assert!(builder.record(&written.key).is_some());
    assert_eq!(home.files(), before);
    let lock = home.ours("collector.lock");
    let held = super::super::lock::try_lock(&lock, super::super::lock::Share::Exclusive);
    assert!(held.unwrap().is_none());
    builder.relax().unwrap();
    home.open().prune(&everything()).unwrap();
    assert!(
        builder.record(&written.key).is_some(),
        "it was found before"
    );
}

#[test]
fn builds_beside_endless_pruning_never_lose_what_they_found() {
    let home = Home::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (home, stop) = (&home, &stop);
        scope.spawn(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                home.open()
                    .prune(&PrunePolicy {
                        all: true,
                        ..everything()
                    })
                    .unwrap();
            }
        });
        let builders: Vec<_> = (0..2)
            .map(|builder| {
                scope.spawn(move || {
                    for round in 0..60_u8 {
                        let store = home.open();
                        let layer = [round % 7];
                        let faces = store.layer(&diff_id(&layer));
                        if let Some(dir) = &faces.dir {
                            assert_eq!(fs::read(dir.join("file")).unwrap(), layer);
                        } else {
                            put_dir(&store, &layer);
                        }
                        for form in &faces.blobs {
                            assert!(store.read_blob(&form.digest, 99).is_ok());
                        }
                        put_layer_unflushed(&store, &layer);
                        let image = put_image(&store, &format!("app{builder}"), &layer);
                        assert!(store.has_blob(&image.digest));
                    }
                })
            })
            .collect();
        let results: Vec<_> = builders
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    let damage: Vec<_> = home.open().fsck(false).unwrap();
    let damage: Vec<_> = damage
        .iter()
        .filter(|problem| problem.fault.is_damage())
        .collect();
    assert!(damage.is_empty(), "{damage:?}");
}

#[test]
fn the_longest_unused_go_first_until_the_size_is_reached() {
    let home = Home::new();
    let big = |name: u8| vec![name; 64 << 10];
    for (name, seconds) in [(1, 100), (2, 300), (3, 200)] {
        put_layer(&home.open(), &big(name));
        age(&home, &big(name), seconds);
    }
    let policy = PrunePolicy {
        max_size: Some(140 << 10),
        ..everything()
    };
    home.open().prune(&policy).unwrap();
    let left: Vec<u8> = (1..4)
        .filter(|name| home.open().layer(&diff_id(&big(*name))).is_available())
        .collect();
    assert_eq!(left, [1, 3]);
    assert_eq!(home.open().prune(&policy).unwrap().count, 0);
}

#[test]
fn what_was_used_lately_is_spared() {
    let home = Home::new();
    for (layer, seconds) in [(b"old", 7200), (b"new", 60)] {
        put_layer(&home.open(), layer);
        age(&home, layer, seconds);
    }
    let older_than = Some(Duration::from_hours(1));
    let policy = PrunePolicy {
        older_than,
        ..everything()
    };
    home.open().prune(&policy).unwrap();
    assert!(!home.open().layer(&diff_id(b"old")).is_available());
    assert!(home.open().layer(&diff_id(b"new")).is_available());
}

#[test]
fn use_is_noted_once_an_hour() {
    use std::os::unix::fs::MetadataExt;
    let home = Home::new();
    put_layer(&home.open(), b"layer");
    let path = home.ours("layers").join(diff_id(b"layer").0.hex());
    let used = || fs::metadata(&path).unwrap().mtime();
    for (seconds, noted) in [(7200, true), (1800, false)] {
        age(&home, b"layer", seconds);
        let before = used();
        home.open().layer(&diff_id(b"layer"));
        assert_eq!(used() > before, noted, "{seconds}");
    }
}

#[test]
fn only_the_chosen_classes_go() {
    let home = Home::new();
    let store = home.open();
    put_layer(&store, b"layer");
    let id = Digest::of(b"apt");
    let mount = store
        .cache_mount(&id, Sharing::Shared, |_| Patience::Cancel)
        .unwrap();
    let path = mount.path().to_owned();
    fs::write(path.join("x"), "x").unwrap();
    let index = store.context_index_path(Path::new("/c"));
    fs::create_dir_all(index.parent().unwrap()).unwrap();
    fs::write(&index, "i").unwrap();
    let classes = BTreeSet::from([Class::Mount]);
    let policy = PrunePolicy {
        classes,
        ..everything()
    };
    assert_eq!(home.open().prune(&policy).unwrap().in_use, 1);
    drop((mount, store));
    let held = home
        .open()
        .cache_mount(&id, Sharing::Shared, |_| Patience::Cancel)
        .unwrap();
    assert_eq!(home.open().prune(&policy).unwrap().in_use, 1);
    drop(held);
    assert_eq!(home.open().prune(&policy).unwrap().count, 1);
    assert!(!path.exists());
    assert!(home.open().layer(&diff_id(b"layer")).is_available());
    assert!(index.exists());
}

#[test]
fn removing_an_image_removes_what_only_it_needs() {
    let home = Home::new();
    let (one, two) = (
        put_image(&home.open(), "one", b"1"),
        put_image(&home.open(), "two", b"2"),
    );
    let store = home.open();
    let name = "one".parse().unwrap();
    let pruned = store.remove_image(&name).unwrap().unwrap();
    assert_eq!(pruned.count, 2, "manifest and config: {pruned:?}");
    assert!(!store.has_blob(&one.digest) && store.has_blob(&two.digest));
    assert!(
        store.layer(&diff_id(b"1")).is_available(),
        "the cache is left alone"
    );
    assert!(store.remove_image(&name).unwrap().is_none());
}

#[test]
fn a_newer_format_beside_ours_stops_collection() {
    let home = Home::new();
    put_layer(&home.open(), b"layer");
    fs::create_dir(home.path("builder/v2")).unwrap();
    let error = home.open().prune(&everything()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
    assert!(
        home.open().layer(&diff_id(b"layer")).is_available(),
        "building goes on"
    );
}

#[test]
fn sizes_add_up() {
    let home = Home::new();
    put_image(&home.open(), "one", b"shared layer");
    put_image(&home.open(), "two", b"shared layer");
    put_layer(&home.open(), &vec![7; 40_000]);
    put_dir(&home.open(), b"dir");
    home.open().put_blob(b"loose").unwrap();
    let usage = home.open().du().unwrap();
    let count = |class: Class| usage.classes.get(&class).map_or(0, |usage| usage.count);
    assert_eq!(
        count(Class::Image),
        5,
        "two manifests, two configs, one layer"
    );
    assert_eq!(count(Class::Loose), 1);
    assert!(usage.classes[&Class::Layer].bytes >= 40_000);
    assert!(usage.reclaimable() < usage.bytes());
    for image in &usage.images {
        assert!(
            image.unique < image.bytes && image.missing == 0,
            "{image:?}"
        );
    }
    home.open().prune(&everything()).unwrap();
    let after = home.open().du().unwrap();
    assert!(after.bytes() <= usage.bytes() - 40_000);
}
