//! Contexts that try to lead outside, or to make us wait.

use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;
use crate::clock::Stopwatch;
use crate::digest::ContentDigest;
use crate::tree::TreePath;

const CANARY: &str = "canary outside of the context";

fn with_canary() -> Project {
    let project = Project::new();
    fs::write(project.outside.path().join("canary"), CANARY).unwrap();
    fs::create_dir(project.outside.path().join("secrets")).unwrap();
    fs::write(project.outside.path().join("secrets/canary"), CANARY).unwrap();
    project
}

fn has_canary(scan: &Scan) -> bool {
    let canary = ContentDigest::of(CANARY.as_bytes());
    scan.entries
        .iter()
        .any(|entry| matches!(entry.kind, Kind::File { content, .. } if content == canary))
}

#[test]
fn links_never_lead_outside() {
    let project = with_canary();
    let outside = project.outside.path().to_path_buf();
    let project = project
        .link("absolute", outside.join("canary"))
        .link("relative", "../canary")
        .link("dir", "../secrets")
        .link("chained", "dir/canary")
        .link("sub/up", "../../secrets");
    for source in [
        ".",
        "*",
        "absolute",
        "relative",
        "dir/canary",
        "dir/*",
        "chained",
        "sub/up/canary",
        "sub/*/*",
        "../canary",
        "/../../canary",
    ] {
        assert!(!has_canary(&project.scan(&[source])), "{source}");
    }
    let context = project.open().unwrap();
    for path in [
        "absolute",
        "relative",
        "dir/canary",
        "chained",
        "sub/up/canary",
    ] {
        let error = context.open_file(&TreePath::clean(path)).unwrap_err();
        assert!(matches!(error, ContextError::Read { .. }), "{path}");
    }
    assert!(project.open().unwrap().subdirectory("dir").is_err());
}

#[test]
fn special_files_are_not_opened_as_files() {
    let project = Project::new();
    let pipe = project.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let context = project.open().unwrap();
    let error = context.open_file(&TreePath::clean("pipe")).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "is a FIFO, not a regular file");
    for name in ["Dockerfile", ".dockerignore"] {
        fs::rename(project.path().join("pipe"), project.path().join(name)).unwrap();
        match name {
            "Dockerfile" => {
                let found = crate::context::dockerfile::find_dockerfile(&project.path(), None);
                assert!(matches!(found, Err(ContextError::ReadDockerfile { .. })));
                fs::rename(project.path().join(name), project.path().join("pipe")).unwrap();
            }
            _ => assert!(matches!(
                project.open(),
                Err(ContextError::ReadIgnore { .. })
            )),
        }
    }
}

#[test]
fn an_ignore_file_that_leads_outside_is_an_error_and_not_no_rules() {
    for target in ["../canary", "missing", ".dockerignore"] {
        let project = with_canary().link(".dockerignore", target);
        let error = project.open().unwrap_err();
        assert!(matches!(error, ContextError::ReadIgnore { .. }), "{target}");
    }
    let project = Project::new()
        .file("rules", "b")
        .file("b", "")
        .link(".dockerignore", "rules");
    assert_eq!(project.selects(&["b"]), Vec::<String>::new());
    let error = Project::new()
        .file(".dockerignore", "[")
        .open()
        .unwrap_err();
    assert!(matches!(error, ContextError::ParseIgnore { .. }));
}

#[test]
fn a_component_that_is_swapped_for_a_link_never_leads_outside() {
    let project = with_canary()
        .file("dir/canary", "inside")
        .file("dir/sub/canary", "inside");
    symlink("../secrets", project.path().join("evil")).unwrap();
    let (one, other) = (project.path().join("dir"), project.path().join("evil"));
    let stop = AtomicBool::new(false);
    let clock = Stopwatch::start();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let cwd = rustix::fs::CWD;
                rustix::fs::renameat_with(cwd, &one, cwd, &other, flags).unwrap();
            }
        });
        let context = project.open().unwrap();
        let wanted = Wanted::Source(Glob::new("*/canary").unwrap());
        while clock.elapsed_ms() < 500 {
            // A scan may fail when things vanish under it; what it gives is from inside.
            if let Ok(scan) = context.scan(std::slice::from_ref(&wanted)) {
                assert!(!has_canary(&scan));
            }
            if let Ok(mut file) = context.open_file(&TreePath::clean("dir/canary")) {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                assert_eq!(text, "inside");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

fn component() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "a", "b", "..", ".", "canary", "secrets", "context", "",
    ])
    .prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    let parts = prop::collection::vec(component(), 1..5).prop_map(|parts| parts.join("/"));
    (any::<bool>(), parts).prop_map(|(rooted, path)| if rooted { format!("/{path}") } else { path })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_source_reaches_outside_through_any_links(
        links in prop::collection::vec((0..6_usize, path()), 1..5),
        source in path(),
    ) {
        let project = with_canary().directory("a").directory("b");
        let places = ["l", "a/l", "b/l", "a/a", "b/b", "a/b"];
        for (place, target) in links {
            let target = if target.starts_with('/') {
                project.outside.path().join(target.trim_start_matches('/'))
            } else {
                target.into()
            };
            // The second link at the same place is refused: one is enough.
            let _taken = symlink(target, project.path().join(places[place]));
        }
        for source in [source.as_str(), ".", "*", "*/*", "l/canary", "a/l/canary", "a/a/secrets"] {
            prop_assert!(!has_canary(&project.scan(&[source])), "{source}");
        }
    }
}
