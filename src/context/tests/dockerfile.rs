//! Where the Dockerfile and its ignore file are found.

use super::*;
use crate::context::dockerfile::{FoundDockerfile, find_dockerfile, ignore_path_of};
use crate::failure::Explain as _;

fn text(found: Result<FoundDockerfile, ContextError>) -> String {
    String::from_utf8(found.unwrap().bytes).unwrap()
}

#[test]
fn the_default_is_dockerfile_and_then_dockerfile_in_lower_case() {
    let project = Project::new().file("dockerfile", "lower");
    assert_eq!(text(find_dockerfile(&project.path(), None)), "lower");
    let project = project.file("Dockerfile", "upper");
    assert_eq!(text(find_dockerfile(&project.path(), None)), "upper");
    let error = find_dockerfile(&Project::new().path(), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to read dockerfile: open Dockerfile: no such file or directory"
    );
}

#[test]
fn a_named_one_may_be_anywhere_but_in_a_fetched_context_only_inside() {
    let project = Project::new().file("ci/Dockerfile.x", "inside");
    fs::write(project.outside.path().join("other"), "outside").unwrap();
    let context = project.path();
    let named = |name: &str| find_dockerfile(&context, Some(Path::new(name)));
    assert_eq!(text(named("ci/Dockerfile.x")), "inside");
    assert_eq!(text(named("../other")), "outside");
    assert!(matches!(
        named("none"),
        Err(ContextError::NoDockerfile { .. })
    ));
    assert!(matches!(
        named("ci"),
        Err(ContextError::ReadDockerfile { .. })
    ));
    let opened = project.open().unwrap();
    let within = |name: &str| opened.dockerfile(Some(Path::new(name)));
    assert_eq!(text(within("/ci/Dockerfile.x")), "inside");
    assert!(within("../other").is_err());
}

#[test]
fn links_are_followed_inside_the_context_only() {
    let project = Project::new()
        .file("real", "linked")
        .link("Dockerfile", "real");
    assert_eq!(text(find_dockerfile(&project.path(), None)), "linked");
    let project = Project::new().link("Dockerfile", "../outside");
    fs::write(project.outside.path().join("outside"), "secret").unwrap();
    let error = find_dockerfile(&project.path(), None).unwrap_err();
    assert!(matches!(error, ContextError::ReadDockerfile { .. }));
    assert_eq!(
        error.hints(),
        ["it is a link that leads outside of the context; put the file itself there"]
    );
    let file = Some(Path::new("Dockerfile"));
    assert!(project.open().unwrap().dockerfile(file).is_err());
}

#[test]
fn one_that_is_too_large_is_refused() {
    let project = Project::new().file("Dockerfile", "");
    let file = fs::File::create(project.path().join("Dockerfile")).unwrap();
    file.set_len(100 << 20).unwrap();
    let error = find_dockerfile(&project.path(), None).unwrap_err();
    assert!(matches!(error, ContextError::ReadDockerfile { .. }));
}

#[test]
fn its_ignore_file_stands_beside_it() {
    let path = ignore_path_of(Path::new("/a/b/x.Dockerfile"));
    assert_eq!(path, Path::new("/a/b/x.Dockerfile.dockerignore"));
}
