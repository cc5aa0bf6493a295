//! Images by name.

use std::process::Command;
use std::time::Duration;

use super::*;
use crate::cache::StoreError;
use crate::failure::Explain;
use crate::image::Descriptor;
use crate::reference::Reference;

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

fn image(store: &Store, text: &str) -> Descriptor {
    let (digest, size) = store.put_blob(text.as_bytes()).unwrap();
    Descriptor::new("application/vnd.oci.image.manifest.v1+json", digest, size)
}

#[test]
fn a_name_moves_to_the_newest_image() {
    let home = Home::new();
    let store = home.open();
    let (one, two) = (image(&store, "{1}"), image(&store, "{2}"));
    store.tag(&name("app"), one.clone()).unwrap();
    store.tag(&name("app:old"), one.clone()).unwrap();
    store.tag(&name("app"), two.clone()).unwrap();
    let found = |text: &str| {
        home.open()
            .image(&name(text))
            .unwrap()
            .map(|found| found.digest)
    };
    assert_eq!(found("app:latest"), Some(two.digest));
    assert_eq!(found("app:old"), Some(one.digest));
    assert_eq!(found("docker.io/library/app"), Some(two.digest));
    assert_eq!(found("none"), None);
    assert!(store.untag(&name("app")).unwrap());
    assert!(!store.untag(&name("app")).unwrap());
    assert_eq!(found("app"), None);
    assert_eq!(store.images().unwrap().len(), 1);
}

#[test]
fn blobs_are_durable_before_their_name() {
    let home = Home::new();
    let store = home.open();
    let one = image(&store, "{}");
    store.tag(&name("app"), one.clone()).unwrap();
    assert!(home.blob_path(&one.digest).exists());
}

#[test]
fn the_index_says_what_other_tools_read() {
    let home = Home::new();
    let store = home.open();
    let one = image(&store, "{}");
    store
        .tag(&name("localhost:5000/a/b:1"), one.clone())
        .unwrap();
    let text = fs::read_to_string(home.path("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(index["schemaVersion"], 2);
    let entry = &index["manifests"][0];
    assert_eq!(entry["digest"], one.digest.to_string());
    let annotations = &entry["annotations"];
    assert_eq!(
        annotations["org.opencontainers.image.ref.name"],
        "localhost:5000/a/b:1"
    );
    assert_eq!(
        annotations["io.containerd.image.name"],
        "localhost:5000/a/b:1"
    );
}

#[test]
fn tagging_again_writes_nothing() {
    use std::os::unix::fs::MetadataExt;
    let home = Home::new();
    let store = home.open();
    let one = image(&store, "{}");
    store.tag(&name("app"), one.clone()).unwrap();
    let inode = || fs::metadata(home.path("index.json")).unwrap().ino();
    let before = inode();
    store.tag(&name("app"), one).unwrap();
    assert_eq!(inode(), before);
}

#[test]
fn what_other_tools_wrote_is_kept() {
    let home = Home::new();
    let store = home.open();
    let one = image(&store, "{}");
    let digest = one.digest;
    let index = format!(
        r#"{{"schemaVersion":2,"x":1,"manifests":[
            {{"digest":"sha512:{}","size":1,"mediaType":"y"}},
            {{"digest":"{digest}","size":2,"mediaType":"z","annotations":{{"org.opencontainers.image.ref.name":"theirs"}}}}
        ]}}"#,
        "0".repeat(128)
    );
    fs::write(home.path("index.json"), index).unwrap();
    store.tag(&name("ours"), one).unwrap();
    let text = fs::read_to_string(home.path("index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(index["x"], 1);
    assert_eq!(index["manifests"].as_array().unwrap().len(), 3);
    assert_eq!(
        store.image(&name("theirs")).unwrap().unwrap().digest,
        digest
    );
}

#[test]
fn a_damaged_index_is_an_error_with_a_remedy_and_is_never_overwritten() {
    let home = Home::new();
    let store = home.open();
    let one = image(&store, "{}");
    for damaged in ["", "{", "[]", "{}", r#"{"manifests":{}}"#] {
        fs::write(home.path("index.json"), damaged).unwrap();
        let error = store.tag(&name("app"), one.clone()).unwrap_err();
        assert!(matches!(error, StoreError::Index { .. }), "{error}");
        assert!(error.hints()[0].contains("no image is lost"));
        assert_eq!(
            fs::read_to_string(home.path("index.json")).unwrap(),
            damaged
        );
    }
}

#[test]
fn a_newer_layout_is_not_written() {
    let home = Home::new();
    let store = home.open();
    let one = image(&store, "{}");
    fs::write(home.path("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    let error = store.tag(&name("app"), one).unwrap_err();
    assert!(matches!(error, StoreError::Layout { .. }), "{error}");
}

#[test]
fn builders_that_tag_at_once_lose_no_name() {
    let home = Home::new();
    std::thread::scope(|scope| {
        for builder in 0..6 {
            let store = home.open();
            scope.spawn(move || {
                for tag in 0..5 {
                    let one = image(&store, &format!("{builder} {tag}"));
                    store
                        .tag(&name(&format!("app{builder}:{tag}")), one)
                        .unwrap();
                    let one = image(&store, &format!("shared {builder}"));
                    store.tag(&name("shared"), one).unwrap();
                }
            });
        }
    });
    let images = home.open().images().unwrap();
    assert_eq!(images.len(), 6 * 5 + 1);
    let store = home.open();
    for image in images {
        assert!(store.has_blob(&image.descriptor.digest));
    }
}

#[test]
fn resolved_names_are_remembered_per_platform() {
    let home = Home::new();
    let store = home.open();
    let one = image(&store, "{}");
    let (amd64, arm64) = (
        "linux/amd64".parse().unwrap(),
        "linux/arm64".parse().unwrap(),
    );
    store
        .remember(&name("debian"), &amd64, one.clone())
        .unwrap();
    let other = home.open();
    assert_eq!(
        other.resolved(&name("debian"), &amd64).unwrap().descriptor,
        one
    );
    assert_eq!(other.resolved(&name("debian"), &arm64), None);
    assert_eq!(other.resolved(&name("debian:12"), &amd64), None);
}

#[test]
fn stat_indexes_are_kept_per_context_and_stay_young_by_use() {
    let home = Home::new();
    let store = home.open();
    let (one, two) = (Path::new("/src/one"), Path::new("/src/two"));
    let path = store.context_index_path(one);
    assert_ne!(path, store.context_index_path(two));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "index").unwrap();
    let used = || fs::metadata(&path).unwrap().modified().unwrap();
    let last_week = used() - Duration::from_hours(168);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(last_week).unwrap();
    assert_eq!(home.open().context_index_path(one), path);
    assert!(used() > last_week);
}

#[test]
fn skopeo_reads_the_store_as_a_layout() {
    let home = Home::new();
    let store = home.open();
    let layer = put_layer_unflushed(&store, &[0; 1024]);
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
    });
    let (config, config_size) = store.put_blob(config.to_string().as_bytes()).unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config, "size": config_size,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer.digest, "size": layer.size,
        }],
    });
    let one = image(&store, &manifest.to_string());
    for text in ["app", "localhost:5000/team/app:1.0"] {
        store.tag(&name(text), one.clone()).unwrap();
        let layout = format!("oci:{}:{}", home.root().display(), name(text).familiar());
        let found = Command::new("skopeo").args(["inspect", &layout]).output();
        let Ok(found) = found else {
            crate::testing::skip("skopeo is not installed");
            return;
        };
        let (out, error) = (
            String::from_utf8_lossy(&found.stdout),
            String::from_utf8_lossy(&found.stderr),
        );
        assert!(
            out.contains(&one.digest.to_string()),
            "{layout}: {out}{error}"
        );
    }
}
