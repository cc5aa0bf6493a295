//! Base images: by tag, by digest, for a platform, and when a registry is asked again.

use std::path::Path;

use serde_json::Value;

use super::base::Registry;
use super::image::tool;
use crate::common::{Project, busybox_layout, dedent};

/// Puts an image of one file into a registry: its digest.
fn publish(registry: &Registry, name: &str, content: &str) -> String {
    let project = Project::new().file("which", content);
    let project = project.dockerfile("FROM scratch\nCOPY which /\n");
    let layout = project.path("layout");
    let spec = format!("type=oci,tar=false,dest={}", layout.display());
    let built = project.build().output_to(&spec).success();
    let target = format!("docker://{}/{name}", registry.host);
    let source = format!("oci:{}", layout.display());
    tool(
        "skopeo",
        &[
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            &source,
            &target,
        ],
    );
    built.digest()
}

/// What a build finds in the file of its base.
fn which(project: &Project, from: &str, words: &[&str]) -> String {
    let target = project.path("out");
    drop(std::fs::remove_dir_all(&target));
    project.put("Dockerfile", format!("FROM {from}\nCOPY Dockerfile /\n"));
    let build = project.build().words(words);
    build
        .output_to(&format!("type=local,dest={}", target.display()))
        .success();
    std::fs::read_to_string(target.join("which")).unwrap()
}

#[test]
fn bases_are_found_by_tag_and_digest() {
    let registry = Registry::start();
    let host = &registry.host;
    let one = publish(&registry, "base:1", "one");
    let two = publish(&registry, "base:2", "two");
    let project = Project::new();
    for (from, found) in [
        (format!("{host}/base:1"), "one"),
        (format!("{host}/base:2"), "two"),
        (format!("{host}/base@{one}"), "one"),
        // A digest counts, whatever the tag beside it says.
        (format!("{host}/base:1@{two}"), "two"),
        (format!("{host}/base:none@{two}"), "two"),
    ] {
        assert_eq!(which(&project, &from, &[]), found, "{from}");
    }
    // What has a digest is not asked for again.
    let pinned = format!("{host}/base@{one}");
    let zeros = format!("sha256:{}", "0".repeat(64));
    for (from, words) in [
        (format!("{host}/base@{zeros}"), zeros.as_str()),
        (format!("{host}/base:none"), "base:none"),
        (format!("{host}/other:1"), "other"),
        (format!("{host}/base@sha256:12"), "invalid reference format"),
        ("No/Upper".to_owned(), "must be lowercase"),
    ] {
        project.put("Dockerfile", format!("FROM {from}\nCOPY Dockerfile /\n"));
        project.build().failure(1).says(words).says("Dockerfile:1");
    }
    drop(registry);
    assert_eq!(which(&project, &pinned, &[]), "one");
}

#[test]
fn a_tag_that_moved_is_seen_at_once() {
    let registry = Registry::start();
    let from = format!("{}/base:1", registry.host);
    publish(&registry, "base:1", "old");
    let project = Project::new();
    assert_eq!(which(&project, &from, &[]), "old");
    publish(&registry, "base:1", "new");
    assert_eq!(which(&project, &from, &["--pull"]), "new");
    assert_eq!(which(&project, &from, &[]), "new");
}

#[test]
fn a_base_of_several_platforms_gives_the_one_asked_for() {
    let Some(_) = busybox_layout() else {
        return;
    };
    let registry = Registry::start();
    let many = Project::new().dockerfile(
        "
        FROM scratch
        ARG TARGETPLATFORM
        COPY <<EOF /which
        $TARGETPLATFORM
        EOF
        ",
    );
    let archive = many.path("many.tar");
    let build = many.build();
    build
        .flag("--platform=linux/amd64,linux/arm64,linux/arm/v7")
        .output_to(&format!("type=oci,dest={}", archive.display()))
        .success();
    let name = format!("{}/many:1", registry.host);
    push_all(&archive, &name);
    let project = Project::new();
    for platform in ["linux/amd64", "linux/arm64", "linux/arm/v7"] {
        let flag = format!("--platform={platform}");
        assert_eq!(which(&project, &name, &[&flag]).trim(), platform);
        let from = format!("--platform={platform} {name}");
        assert_eq!(which(&project, &from, &[]).trim(), platform);
    }
    project.put(
        "Dockerfile",
        dedent(&format!("FROM {name}\nCOPY Dockerfile /\n")),
    );
    let refused = project.build().flag("--platform=linux/s390x").failure(1);
    refused.says("linux/s390x");
    let index = tool(
        "skopeo",
        &[
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{name}"),
        ],
    );
    let index: Value = serde_json::from_slice(&index.stdout).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 3);
}

fn push_all(archive: &Path, name: &str) {
    let source = format!("oci-archive:{}", archive.display());
    let target = format!("docker://{name}");
    tool(
        "skopeo",
        &[
            "copy",
            "--quiet",
            "--all",
            "--dest-tls-verify=false",
            &source,
            &target,
        ],
    );
}
