//! Shared caches: what is shared is found elsewhere, what is poisoned is a miss.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use super::*;
use crate::cache::record::tests::record;
use crate::digest::{DiffId, Digest};
use crate::failure::{Explain, Kind};
use crate::image::{Compression, Manifest};

/// A registry in memory.
#[derive(Default)]
struct Memory {
    manifests: Mutex<BTreeMap<String, Vec<u8>>>,
    blobs: Mutex<BTreeMap<Digest, Vec<u8>>>,
    requests: Mutex<Vec<&'static str>>,
    down: std::sync::atomic::AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("connection refused")]
struct Down;

impl Explain for Down {
    fn kind(&self) -> Kind {
        Kind::Environment
    }
}

impl Memory {
    fn asked(&self, what: &'static str) -> Result<(), Down> {
        self.requests.lock().unwrap().push(what);
        let down = self.down.load(std::sync::atomic::Ordering::Relaxed);
        if down { Err(Down) } else { Ok(()) }
    }

    fn requests(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

impl RegistryPort for Arc<Memory> {
    type Error = Down;

    fn get_manifest(&self, reference: &Reference) -> Result<Option<Vec<u8>>, Down> {
        self.asked("get manifest")?;
        Ok(self
            .manifests
            .lock()
            .unwrap()
            .get(&reference.to_string())
            .cloned())
    }

    fn put_manifest(&self, reference: &Reference, _: &str, bytes: &[u8]) -> Result<(), Down> {
        self.asked("put manifest")?;
        let manifest: Manifest = serde_json::from_slice(bytes).unwrap();
        let blobs = self.blobs.lock().unwrap();
        for descriptor in manifest.layers.iter().chain([&manifest.config]) {
            assert!(
                blobs.contains_key(&descriptor.digest),
                "a registry checks references"
            );
        }
        let mut manifests = self.manifests.lock().unwrap();
        manifests.insert(reference.to_string(), bytes.to_vec());
        Ok(())
    }

    fn has_blob(&self, _: &Reference, digest: &Digest) -> Result<bool, Down> {
        self.asked("head blob")?;
        Ok(self.blobs.lock().unwrap().contains_key(digest))
    }

    fn open_blob(
        &self,
        _: &Reference,
        digest: &Digest,
        _: u64,
    ) -> Result<Box<dyn Read + Send>, Down> {
        self.asked("get blob")?;
        let blob = self.blobs.lock().unwrap().get(digest).cloned();
        Ok(Box::new(io::Cursor::new(blob.unwrap_or_default())))
    }

    fn push_blob(
        &self,
        _: &Reference,
        blob: (&Digest, u64),
        open: &dyn Fn() -> io::Result<Box<dyn Read + Send>>,
    ) -> Result<(), Down> {
        self.asked("push blob")?;
        let mut buffer = Vec::new();
        let mut bytes = open().map_err(|_| Down)?;
        bytes.read_to_end(&mut buffer).unwrap();
        assert_eq!(
            (Digest::of(&buffer), buffer.len() as u64),
            (*blob.0, blob.1)
        );
        self.blobs.lock().unwrap().insert(*blob.0, buffer);
        Ok(())
    }
}

/// Two kinds of place, empty.
struct Places {
    memory: Arc<Memory>,
    dir: tempfile::TempDir,
}

impl Places {
    fn new() -> Self {
        let (memory, dir) = (Arc::default(), tempfile::tempdir().unwrap());
        Self { memory, dir }
    }

    fn registry(&self) -> Arc<dyn Remote> {
        let repository = "localhost:5000/cache:main".parse().unwrap();
        Arc::new(RegistryRemote::new(Arc::clone(&self.memory), &repository))
    }

    fn local(&self) -> Arc<dyn Remote> {
        Arc::new(LocalRemote::new(self.dir.path().join("cache")))
    }

    fn both(&self) -> [Arc<dyn Remote>; 2] {
        [self.registry(), self.local()]
    }
}

/// A store with a layer, and the record that names its blob.
fn step(dir: &tempfile::TempDir, input: &str, layer: &[u8]) -> (Store, Record) {
    let root = dir
        .path()
        .join(format!("store-{}", Digest::of(layer).short()));
    let store = Store::open(root, crate::cache::Access::ReadWrite).unwrap();
    let (digest, size) = store.put_blob(layer).unwrap();
    let (tree, tree_size) = store.put_blob(b"tree").unwrap();
    let form = |digest, size| BlobForm {
        compression: Compression::Zstd,
        digest,
        size,
        made_by: Some("zstd-3-v1".to_owned()),
    };
    let mut record = record(input, layer);
    record.blobs = vec![form(digest, size)];
    record.tree = Some(form(tree, tree_size));
    (store, record)
}

#[test]
fn what_one_runner_shares_another_finds() {
    let places = Places::new();
    let (store, record) = step(&places.dir, "a", b"layer");
    for place in places.both() {
        assert_eq!(place.publish(&record, &store).unwrap(), record);
        assert_eq!(place.record(&record.key).unwrap().as_ref(), Some(&record));
        assert!(place.has_blob(&record.blobs[0]).unwrap());
        let (empty, _) = step(&places.dir, "other", b"elsewhere");
        fetch_blob(place.as_ref(), &record.blobs[0], &empty).unwrap();
        assert_eq!(
            empty.read_blob(&record.blobs[0].digest, 99).unwrap(),
            b"layer"
        );
        let unknown = super::super::Material::new("x").key();
        assert_eq!(place.record(&unknown).unwrap(), None);
    }
}

#[test]
fn a_full_hit_costs_one_request_a_key_and_moves_no_blob() {
    let places = Places::new();
    let (store, record) = step(&places.dir, "a", b"layer");
    places.registry().publish(&record, &store).unwrap();
    places.memory.requests();
    let remotes = Remotes::new(vec![places.registry()]);
    let found = remotes.probe(&record.key).unwrap();
    assert_eq!(found.record, record);
    assert_eq!(
        found.remote.location().unwrap().to_string(),
        "localhost:5000/cache"
    );
    assert_eq!(places.memory.requests(), ["get manifest"]);
}

#[test]
fn blobs_that_are_there_are_not_sent_again() {
    let places = Places::new();
    let (store, one) = step(&places.dir, "a", b"layer");
    let (_, two) = step(&places.dir, "b", b"layer");
    places.registry().publish(&one, &store).unwrap();
    places.memory.requests();
    places.registry().publish(&two, &store).unwrap();
    let requests = places.memory.requests();
    assert!(!requests.contains(&"push blob"), "{requests:?}");
    assert_eq!(requests.last(), Some(&"get manifest"), "read back");
}

#[test]
fn the_first_writer_wins_and_the_others_adopt() {
    let places = Places::new();
    let (one_store, one) = step(&places.dir, "a", b"first");
    let (two_store, two) = step(&places.dir, "a", b"second");
    for place in places.both() {
        place.publish(&one, &one_store).unwrap();
        assert_eq!(place.publish(&two, &two_store).unwrap(), one);
        assert!(
            !place.has_blob(&two.blobs[0]).unwrap(),
            "the loser's layer is not sent"
        );
    }
}

#[test]
fn many_writers_of_one_directory_agree() {
    let places = Places::new();
    let steps: Vec<_> = (0..6_u8).map(|n| step(&places.dir, "a", &[n])).collect();
    let winners: Vec<Record> = std::thread::scope(|scope| {
        let threads: Vec<_> = steps
            .iter()
            .map(|(store, record)| {
                let place = places.local();
                scope.spawn(move || place.publish(record, store).unwrap())
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(winners.iter().all(|winner| *winner == winners[0]));
    let left = fs::read_dir(places.dir.path().join("cache/records")).unwrap();
    assert_eq!(left.count(), 1, "no temporary files");
}

#[test]
fn poisoned_entries_are_misses_with_a_warning_and_others_still_hit() {
    let places = Places::new();
    let (store, honest) = step(&places.dir, "a", b"layer");
    let victim = step(&places.dir, "victim", b"evil").1.key;
    for place in places.both() {
        place.publish(&honest, &store).unwrap();
    }
    let records = places.dir.path().join("cache/records");
    let forged = Record {
        key: victim,
        ..honest.clone()
    };
    let sealed = crate::cache::seal::seal("record", forged.encode().unwrap());
    fs::write(records.join(victim.to_string()), sealed).unwrap();
    {
        let mut manifests = places.memory.manifests.lock().unwrap();
        let bytes = manifests.values().next().unwrap().clone();
        manifests.insert(format!("localhost:5000/cache:{victim}"), bytes);
    }
    for (place, text) in places
        .both()
        .into_iter()
        .zip(["stands for the key", "its material has"])
    {
        let remotes = Remotes::new(vec![place]);
        assert!(remotes.probe(&victim).is_none());
        let warnings = remotes.take_warnings();
        assert!(
            warnings.len() == 1 && warnings[0].contains(text),
            "{warnings:?}"
        );
        assert!(remotes.probe(&honest.key).is_some());
        assert!(remotes.take_warnings().is_empty());
    }
}

#[test]
fn a_manifest_that_is_no_record_is_refused() {
    let places = Places::new();
    let (_, record) = step(&places.dir, "a", b"layer");
    let tag = format!("localhost:5000/cache:{}", record.key);
    for text in [
        "",
        "{}",
        "<html>",
        r#"{"schemaVersion":2,"config":{"digest":"x"}}"#,
    ] {
        let mut manifests = places.memory.manifests.lock().unwrap();
        manifests.insert(tag.clone(), text.as_bytes().to_vec());
        drop(manifests);
        let refused = places.registry().record(&record.key);
        assert!(
            matches!(refused, Err(RemoteError::Refused { .. })),
            "{text}"
        );
    }
}

#[test]
fn damaged_entries_of_a_directory_are_replaced() {
    let places = Places::new();
    let (store, record) = step(&places.dir, "a", b"layer");
    let place = places.local();
    place.publish(&record, &store).unwrap();
    let cache = places.dir.path().join("cache");
    let record_path = cache.join("records").join(record.key.to_string());
    let blob_path = cache
        .join("blobs/sha256")
        .join(record.blobs[0].digest.hex());
    fs::write(&record_path, "torn").unwrap();
    fs::write(&blob_path, "torn").unwrap();
    assert_eq!(place.record(&record.key).unwrap(), None);
    assert!(!place.has_blob(&record.blobs[0]).unwrap());
    assert_eq!(place.publish(&record, &store).unwrap(), record);
    assert_eq!(fs::read(blob_path).unwrap(), b"layer");
}

#[test]
fn a_wrong_blob_is_not_taken() {
    let places = Places::new();
    let (store, record) = step(&places.dir, "a", b"layer");
    let empty = Store::open(
        places.dir.path().join("empty"),
        crate::cache::Access::ReadWrite,
    )
    .unwrap();
    let form = &record.blobs[0];
    for place in places.both() {
        place.publish(&record, &store).unwrap();
        places
            .memory
            .blobs
            .lock()
            .unwrap()
            .insert(form.digest, b"evil!".to_vec());
        fs::write(
            places
                .dir
                .path()
                .join("cache/blobs/sha256")
                .join(form.digest.hex()),
            "evil!",
        )
        .ok();
        let error = fetch_blob(place.as_ref(), form, &empty).unwrap_err();
        assert!(
            error.line().contains("has the content of"),
            "{}",
            error.line()
        );
        assert!(!empty.has_blob(&form.digest));
    }
}

#[test]
fn a_dead_cache_is_reported_once_and_not_asked_again() {
    let places = Places::new();
    let (store, record) = step(&places.dir, "a", b"layer");
    let local = places.local();
    local.publish(&record, &store).unwrap();
    places
        .memory
        .down
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let nowhere: Arc<dyn Remote> = Arc::new(LocalRemote::new(places.dir.path().join("nowhere")));
    let remotes = Remotes::new(vec![places.registry(), nowhere, local]);
    for _ in 0..3 {
        assert!(
            remotes.probe(&record.key).is_some(),
            "the living one is asked"
        );
    }
    assert_eq!(places.memory.requests().len(), 1);
    let warnings = remotes.take_warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].ends_with("connection refused") && warnings[1].contains("no cache in"));
}

#[test]
fn many_keys_are_asked_for_at_once() {
    let places = Places::new();
    let mut keys = Vec::new();
    for input in 0..40 {
        let (store, record) = step(&places.dir, &format!("{input}"), b"layer");
        places.registry().publish(&record, &store).unwrap();
        keys.push(record.key);
        keys.push(super::super::Material::new("miss").with("n", input).key());
    }
    let found = Remotes::new(vec![places.registry()]).probe_all(&keys);
    assert_eq!(found.len(), 40);
    assert!(Remotes::default().probe_all(&keys).is_empty());
}

#[test]
fn a_failing_export_says_what_failed() {
    let places = Places::new();
    let (store, record) = step(&places.dir, "a", b"layer");
    places
        .memory
        .down
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let error = places.registry().publish(&record, &store).unwrap_err();
    assert_eq!(
        error.line(),
        "failed to read the cache `localhost:5000/cache`: connection refused"
    );
    fs::write(places.dir.path().join("cache"), "a file").unwrap();
    let error = places.local().publish(&record, &store).unwrap_err();
    assert_eq!(error.kind(), Kind::Environment);
    let mut lost = record.clone();
    lost.blobs[0].digest = DiffId(Digest::of(b"lost")).0;
    places
        .memory
        .down
        .store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(places.registry().publish(&lost, &store).is_err());
    assert!(
        places.registry().record(&record.key).unwrap().is_none(),
        "no record without its blobs"
    );
}

mod specs {
    //! The words of `--cache-from` and `--cache-to`.

    use super::*;

    fn parse(text: &str, direction: Direction) -> Result<RemoteSpec, String> {
        match RemoteSpec::parse(text, direction) {
            Ok(mut specs) if specs.len() == 1 => Ok(specs.remove(0)),
            Ok(specs) => Err(format!("{} specs", specs.len())),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn good_ones_are_read() {
        let reference = |text: &str| RemoteKind::Registry {
            reference: text.parse().unwrap(),
            insecure: false,
        };
        let local = |text: &str| RemoteKind::Local {
            directory: text.into(),
        };
        for (text, direction, kind, mode) in [
            (
                "type=registry,ref=me/app",
                Direction::Import,
                reference("me/app"),
                CacheMode::Min,
            ),
            (
                "me/app:cache",
                Direction::Import,
                reference("me/app:cache"),
                CacheMode::Min,
            ),
            (
                "type=registry,ref=h:5000/a,mode=max",
                Direction::Export,
                reference("h:5000/a"),
                CacheMode::Max,
            ),
            (
                "type=local,src=/c",
                Direction::Import,
                local("/c"),
                CacheMode::Min,
            ),
            (
                "type=local,\"dest=/a,b\",MODE=max",
                Direction::Export,
                local("/a,b"),
                CacheMode::Max,
            ),
        ] {
            let spec = parse(text, direction).unwrap();
            assert_eq!((spec.kind, spec.mode), (kind, mode), "{text}");
        }
    }

    #[test]
    fn bare_words_are_one_cache_each() {
        let specs = RemoteSpec::parse("me/a,me/b", Direction::Import).unwrap();
        assert_eq!(specs.len(), 2);
    }

    #[test]
    fn all_attributes_of_docker_are_known() {
        let spec = parse(
            "type=registry,ref=a,mode=min,image-manifest=true,oci-mediatypes=true,compression=zstd,\
             compression-level=9,force-compression=1,registry.insecure=t,ignore-error=true",
            Direction::Export,
        )
        .unwrap();
        assert!(spec.ignore_error && spec.force_compression);
        assert!(matches!(
            spec.kind,
            RemoteKind::Registry { insecure: true, .. }
        ));
        assert_eq!(spec.compression, Some(Compression::Zstd));
        assert_eq!(spec.compression_level, Some(9));
        assert_eq!(spec.without_effect, ["image-manifest", "oci-mediatypes"]);
        let spec = parse("type=local,src=c,tag=x,digest=y", Direction::Import).unwrap();
        assert_eq!(spec.without_effect, ["digest", "tag"]);
    }

    #[test]
    fn bad_ones_say_what_is_wrong() {
        for (text, message) in [
            ("", "is not a list"),
            ("type=local,", "is not a list"),
            ("type=local,\"src=x", "is not a list"),
            ("type=local,x", "is not a list"),
            ("ref=a,mode=max", "type required"),
            ("type=registry", "needs `ref=…`"),
            ("type=registry,ref=A B", "expected an image name"),
            ("type=local,dest=x", "needs `src=…`"),
            ("type=registry,ref=a,mode=mid", "expected min or max"),
            (
                "type=registry,ref=a,ignore-error=yes",
                "expected true or false",
            ),
            (
                "type=registry,ref=a,compression=xz",
                "uncompressed, gzip or zstd",
            ),
            ("type=registry,ref=a,tag=x", "no attribute `tag`"),
            ("type=ftp,ref=a", "unknown cache type `ftp`"),
            ("type=s3,bucket=b", "`s3` is not supported yet"),
            ("type=gha", "`gha` is not supported yet"),
            ("type=inline", "`inline` is not supported yet"),
            ("type=azblob,name=x", "`azblob` is not supported yet"),
        ] {
            let error = parse(text, Direction::Import).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text: String) {
            drop(RemoteSpec::parse(&text, Direction::Export));
        }
    }
}
