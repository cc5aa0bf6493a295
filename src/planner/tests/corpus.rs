//! Dockerfiles of public projects, planned with images that all exist.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

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
fn own_cases_have_a_plan_or_say_why_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/dockerfiles-own");
    let mut planned = 0;
    for path in dockerfiles(&root) {
        let mut project = project("FROM scratch");
        project.dockerfile = std::fs::read_to_string(&path).unwrap();
        match project.try_graph() {
            Ok(_) => planned += 1,
            Err(failure) => assert!(!told(&failure).is_empty(), "{}", path.display()),
        }
    }
    assert!(planned > 0);
}

/// Lines that files are made of.
const LINES: [&str; 32] = [
    "FROM debian AS a",
    "FROM a AS b",
    "FROM b",
    "FROM scratch AS c",
    "FROM --platform=$BUILDPLATFORM debian AS a",
    "FROM node",
    "FROM files AS d",
    "ARG A=1 B=$A",
    "ARG TARGETARCH",
    "ENV A=$B B=$A",
    "ENV PATH=/x:$PATH",
    "RUN make",
    "RUN --mount=type=cache,target=/c make",
    "RUN --mount=from=a,target=/m make",
    "RUN --mount=from=c,source=x,target=$A make",
    "RUN <<E\n#!/x\n$A\nE",
    "COPY . .",
    "COPY --from=a /x $A/",
    "COPY --from=b /x /",
    "COPY --from=0 /x /",
    "COPY --from=2 /x /",
    "COPY --from=busybox /x /",
    "COPY --link --chmod=$A x /",
    "ADD http://h/x /",
    "COPY <<E /e\n$A\nE",
    "WORKDIR $A",
    "USER $A",
    "EXPOSE $A",
    "ONBUILD COPY --from=c /x /",
    "ONBUILD ENV A=2",
    "ENTRYPOINT x",
    "CMD [\"x\"]",
];

proptest! {
    /// Whatever stands in a file: a graph that keeps its promises, or diagnostics.
    #[test]
    fn any_file_has_a_sound_graph_or_diagnostics(
        lines in proptest::collection::vec(0..LINES.len(), 1..14),
        several in any::<bool>(),
    ) {
        let lines: Vec<&str> = lines.into_iter().map(|line| LINES[line]).collect();
        let mut project = project(&format!("FROM debian AS base\n{}", lines.join("\n")))
            .context("files", "./files")
            .image("node", |config| {
                config.config.on_build = vec!["COPY --from=a /x /".to_owned(), "RUN x".to_owned()];
            });
        if several {
            project = project.platform("linux/amd64").platform("linux/arm64");
        }
        let graph = match project.try_graph() {
            Ok(graph) => graph,
            Err(failure) => {
                prop_assert!(!told(&failure).is_empty());
                return Ok(());
            }
        };
        for (index, step) in graph.steps.iter().enumerate() {
            prop_assert_eq!(step.id.0, index);
            prop_assert!(step.base.iter().chain(&step.reads).all(|input| *input < step.id));
            prop_assert_eq!(step.base.is_none(), matches!(step.op, Op::Scratch | Op::Image(_)));
        }
        for target in &graph.targets {
            let made: Vec<StepId> = target.history.iter().filter_map(|(_, step)| *step).collect();
            prop_assert_eq!(&made[..], &graph.chain(target.step)[1..]);
        }
        prop_assert_eq!(&project.graph(), &graph);
        let built = project.build();
        prop_assert!(built.verdicts().iter().all(|verdict| verdict.starts_with("cached")));
    }
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
                let source = Arc::new(SourceFile::new("Dockerfile", project.dockerfile.as_str()));
                let plan = plan(graph, &source, &project.world, &project.world);
                let plan =
                    plan.unwrap_or_else(|failure| panic!("{}: {}", path.display(), told(&failure)));
                assert!(!plan.text(&[]).is_empty());
            }
            Err(failure) => panic!("{}: {}", path.display(), told(&failure)),
        }
    }
}
