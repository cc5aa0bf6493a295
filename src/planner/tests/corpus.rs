//! Dockerfiles of public projects, planned with images that all exist.

use std::path::{Path, PathBuf};

use super::*;

fn dockerfiles(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(dockerfiles(&path));
        } else if path.to_string_lossy().contains("Dockerfile") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn every_public_dockerfile_has_a_plan() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/dockerfiles");
    let files = dockerfiles(&root);
    assert!(files.len() >= 60, "{} files", files.len());
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut project = project("FROM scratch");
        project.dockerfile = text;
        match project.try_graph() {
            Ok(graph) => {
                let source = SourceFile::new("Dockerfile", project.dockerfile.as_str());
                let plan = plan(graph, &source, &project.world, &project.world);
                let plan =
                    plan.unwrap_or_else(|failure| panic!("{}: {}", path.display(), told(&failure)));
                assert!(!plan.text(&[]).is_empty());
            }
            Err(failure) => panic!("{}: {}", path.display(), told(&failure)),
        }
    }
}
