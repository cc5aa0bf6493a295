//! The verbs of the store, on a store that the library filled.

use builder::cache::{Access, Store};
use builder::image::{Descriptor, MediaType};
use serde_json::json;

use super::common::Project;

/// Puts an image with one layer into the project's store and gives the ids of manifest and config.
fn put_image(project: &Project, name: &str, layer: &[u8]) -> (String, String) {
    let store = Store::open(project.store(), Access::ReadWrite).unwrap();
    let (layer_digest, layer_size) = store.put_blob(layer).unwrap();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": { "Cmd": ["sh"], "X-Unknown": 1 },
        "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
        "history": [
            { "created_by": "COPY a /a # buildkit", "created": "2020-01-01T00:00:00Z" },
            { "created_by": "CMD [\"sh\"]", "empty_layer": true },
        ],
    });
    let (config_digest, config_size) = store.put_blob(config.to_string().as_bytes()).unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OciManifest.as_str(),
        "config": Descriptor::new(MediaType::OciConfig.as_str(), config_digest, config_size),
        "layers": [Descriptor::new("application/vnd.oci.image.layer.v1.tar", layer_digest, layer_size)],
    });
    let (digest, size) = store.put_blob(manifest.to_string().as_bytes()).unwrap();
    let descriptor = Descriptor::new(MediaType::OciManifest.as_str(), digest, size);
    store.tag(&name.parse().unwrap(), descriptor).unwrap();
    (digest.to_string(), config_digest.to_string())
}

#[test]
fn an_empty_store_lists_nothing_and_is_not_made() {
    let project = Project::new();
    let root = project.path("absent");
    let flag = format!("--root={}", root.display());
    let outcome = project.builder(["images", &flag]).success();
    assert_eq!(
        outcome.stdout,
        "REPOSITORY   TAG   IMAGE ID   CREATED   SIZE\n"
    );
    project.builder(["du", &flag]).success();
    project.builder(["fsck", &flag]).success().prints("sound");
    assert!(!root.exists());
}

#[test]
fn images_are_listed_by_name() {
    let project = Project::new();
    let (_, id) = put_image(&project, "example.com/a:1", b"one");
    put_image(&project, "b", b"two");
    let table = project.builder(["images"]).success().stdout;
    let short = &id["sha256:".len()..][..12];
    assert!(
        table.contains("example.com/a") && table.contains(short),
        "{table}"
    );
    assert_eq!(table.lines().count(), 3, "{table}");
    let quiet = project
        .builder(["images", "-q", "example.com"])
        .success()
        .stdout;
    assert_eq!(quiet, format!("{short}\n"));
    let json = project.builder(["ls", "--json", "b"]).success().json();
    assert_eq!(
        (&json["name"], &json["tag"]),
        (&json!("b"), &json!("latest"))
    );
    assert_eq!(json["platforms"], json!(["linux/amd64"]));
}

#[test]
fn names_come_and_go() {
    let project = Project::new();
    let (digest, id) = put_image(&project, "a", b"one");
    project.builder(["tag", "a", "b:2"]).success();
    let short = &id["sha256:".len()..][..6];
    project.builder(["tag", short, "c"]).success();
    project.builder(["tag", &digest, "d"]).success();
    assert_eq!(
        project.builder(["images"]).success().stdout.lines().count(),
        5
    );
    let removed = project.builder(["rm", "a", "nothing", "d"]).failure(1);
    removed
        .prints("Untagged: a:latest\nUntagged: d:latest\n")
        .says("no such image: nothing");
    assert_eq!(
        project.builder(["images"]).success().stdout.lines().count(),
        3
    );
    project
        .builder(["rmi", short])
        .success()
        .prints("Untagged: b:2")
        .prints("Untagged: c:latest");
    project
        .builder(["inspect", "b:2"])
        .failure(1)
        .says("`builder images` lists");
    project.is_sound();
}

#[test]
fn bad_names_of_images_are_refused() {
    let project = Project::new();
    put_image(&project, "a", b"one");
    project
        .builder(["tag", "a", "B"])
        .failure(2)
        .says("must be lowercase");
    project
        .builder(["tag", "nothing", "b"])
        .failure(1)
        .says("no such image: nothing");
    project
        .builder(["push", "nothing"])
        .failure(1)
        .says("no such image");
    let (digest, _) = put_image(&project, "b", b"two");
    project
        .builder(["push", &digest])
        .failure(2)
        .says("name the destination");
}

#[test]
fn inspect_shows_documents_as_they_are() {
    let project = Project::new();
    let (digest, id) = put_image(&project, "a", b"one");
    let json = project.builder(["inspect", "a"]).success().json();
    assert_eq!(
        (&json[0]["digest"], &json[0]["id"]),
        (&json!(digest), &json!(id))
    );
    assert_eq!(json[0]["names"], json!(["docker.io/library/a:latest"]));
    assert_eq!(json[0]["config"]["config"]["X-Unknown"], 1);
    assert_eq!(json[0]["manifest"]["layers"][0]["size"], 3);
}

#[test]
fn history_pairs_instructions_with_layers() {
    let project = Project::new();
    put_image(&project, "a", b"one");
    let table = project.builder(["history", "a"]).success().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(
        lines[1].contains("CMD [\"sh\"]") && lines[1].contains("0B"),
        "{table}"
    );
    assert!(
        lines[2].contains("COPY a /a") && lines[2].contains("3B"),
        "{table}"
    );
    let json = project.builder(["history", "--json", "a"]).success().stdout;
    assert_eq!(json.lines().count(), 2);
}

#[test]
fn damage_is_found_and_taken_away() {
    let project = Project::new();
    let (digest, _) = put_image(&project, "a", b"one");
    let blob = project
        .store()
        .join("blobs/sha256")
        .join(&digest["sha256:".len()..]);
    let mut permissions = std::fs::metadata(&blob).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&blob, permissions).unwrap();
    std::fs::write(&blob, b"changed").unwrap();
    project
        .builder(["fsck"])
        .failure(1)
        .prints("damage: ")
        .prints("--repair");
    project.builder(["images"]).success().prints("0B");
    project.builder(["fsck", "--repair"]).run();
    assert!(!blob.exists());
}

#[test]
fn space_is_counted_and_freed() {
    let project = Project::new();
    put_image(&project, "a", &[7; 5000]);
    let usage = project.builder(["du", "--json"]).success().json();
    assert!(usage["bytes"].as_u64().unwrap() >= 5000, "{usage}");
    project
        .builder(["du"])
        .success()
        .prints("Images")
        .prints("a:latest");
    project
        .builder(["prune"])
        .success()
        .prints("Total reclaimed space: 0B");
    project.builder(["inspect", "a"]).success();
    project
        .builder(["prune", "--max-size=lots"])
        .failure(2)
        .says("invalid size: 'lots'");
    project
        .builder(["prune", "--older-than=soon"])
        .failure(2)
        .says("invalid duration");
}

#[test]
fn a_login_needs_somebody_to_ask() {
    let project = Project::new();
    project
        .builder(["login"])
        .failure(2)
        .says("cannot perform an interactive login");
    project
        .builder(["login", "-p", "x", "--password-stdin"])
        .failure(2)
        .says("cannot be used with");
    project
        .builder(["logout", "example.com"])
        .success()
        .prints("Not logged in to example.com");
}

#[test]
fn the_doctor_tells_what_works() {
    let project = Project::new();
    let outcome = project.builder(["doctor"]).run();
    assert!([0, 3].contains(&outcome.code), "{outcome}");
    outcome.prints("RUN ");
    let json = project.builder(["doctor", "--json"]).run().json();
    assert!(json["verdicts"].as_array().unwrap().len() > 2, "{json}");
}
