//! What a scan finds: order, selection, links, ignore rules, modes.

use std::os::unix::net::UnixListener;

use super::*;
use crate::digest::ContentDigest;
use crate::pattern::{DeepGlob, Glob};

fn example() -> Project {
    Project::new()
        .file("a.txt", "a")
        .file("b.md", "b")
        .file("src/main.c", "int main;")
        .file("src/deep/x.h", "x")
        .file("src.old", "old")
        .directory("empty")
}

#[test]
fn everything_comes_in_tree_order_with_its_parents() {
    assert_eq!(
        example().selects(&["."]),
        [
            "a.txt",
            "b.md",
            "empty/",
            "src/",
            "src/deep/",
            "src/deep/x.h",
            "src/main.c",
            "src.old"
        ]
    );
}

#[test]
fn sources_select_what_they_name_and_no_more() {
    for (sources, expected) in [
        (vec!["a.txt"], vec!["a.txt"]),
        (vec!["/../a.txt"], vec!["a.txt"]),
        (vec!["*.md", "a.*"], vec!["a.txt", "b.md"]),
        (vec!["src/deep"], vec!["src/", "src/deep/", "src/deep/x.h"]),
        (vec!["s*/*.c"], vec!["src/", "src/main.c"]),
        (
            vec!["*/deep/x.h"],
            vec!["src/", "src/deep/", "src/deep/x.h"],
        ),
        (vec!["empty"], vec!["empty/"]),
        (vec!["nothing*"], vec![]),
        (vec!["a.txt/below"], vec![]),
        (vec!["src/none"], vec![]),
        (vec![], vec![]),
    ] {
        assert_eq!(example().selects(&sources), expected, "{sources:?}");
    }
}

#[test]
fn parents_sources_cross_directories() {
    let project = example();
    let wanted = Wanted::Parents {
        way: Glob::new("").unwrap(),
        glob: DeepGlob::new("**/*.h").unwrap(),
    };
    let scan = project.open().unwrap().scan(&[wanted]).unwrap();
    let paths: Vec<_> = scan.entries.iter().map(show).collect();
    assert_eq!(paths, ["src/", "src/deep/", "src/deep/x.h"]);
}

#[test]
fn unwanted_files_are_never_opened() {
    let scan = example().scan(&["a.txt"]);
    assert_eq!((scan.hashed_files, scan.hashed_bytes), (1, 1));
}

#[test]
fn a_named_link_is_followed_inside_the_root() {
    let project = Project::new()
        .file("real/file", "x")
        .file("real/other", "y")
        .link("link", "/real/file")
        .link("dir", "./real")
        .link("chain", "dir")
        .link("loop", "loop")
        .link("up", "../../../real");
    for (source, expected) in [
        ("link", vec!["link -> /real/file", "real/", "real/file"]),
        ("dir/file", vec!["dir -> ./real", "real/", "real/file"]),
        (
            "chain/o*",
            vec!["chain -> dir", "dir -> ./real", "real/", "real/other"],
        ),
        (
            "up",
            vec!["real/", "real/file", "real/other", "up -> ../../../real"],
        ),
        ("loop", vec!["loop -> loop"]),
        ("l*k", vec!["link -> /real/file", "real/", "real/file"]),
    ] {
        assert_eq!(project.selects(&[source]), expected, "{source}");
    }
}

#[test]
fn links_inside_a_copied_directory_stay_links() {
    let project = Project::new()
        .file("secret", "s")
        .link("dir/link", "../secret");
    assert_eq!(project.selects(&["dir"]), ["dir/", "dir/link -> ../secret"]);
}

#[test]
fn ignored_paths_are_hidden_and_exceptions_come_back_with_their_parents() {
    let project = Project::new()
        .file(".dockerignore", "node_modules\n!node_modules/keep/*\n*.log")
        .file("a.log", "")
        .file("node_modules/drop/x", "")
        .file("node_modules/keep/y", "")
        .file("node_modules/z", "");
    assert_eq!(
        project.selects(&["."]),
        [
            ".dockerignore",
            "node_modules/",
            "node_modules/keep/",
            "node_modules/keep/y"
        ]
    );
    assert_eq!(project.selects(&["a.log"]), Vec::<String>::new());
    let missing = project.open().unwrap().missing("a.log");
    assert_eq!(
        missing.to_string(),
        "failed to compute cache key: failed to calculate checksum of ref context: \"/a.log\": not found"
    );
    assert!(matches!(
        missing,
        ContextError::NotFound { ignored: true, .. }
    ));
}

#[test]
fn the_dockerfiles_own_ignore_file_replaces_the_contexts() {
    let project = Project::new()
        .file(".dockerignore", "a")
        .file("ci/build.Dockerfile", "FROM scratch")
        .file("ci/build.Dockerfile.dockerignore", "b\nci\n.d*")
        .file("a", "")
        .file("b", "");
    let dockerfile = project.path().join("ci/build.Dockerfile");
    let project = project.ignore(IgnoreSource::Dockerfile(dockerfile));
    assert_eq!(project.selects(&["."]), ["a"]);
    let project = project.ignore(IgnoreSource::Dockerfile("Dockerfile".into()));
    assert!(project.selects(&["a"]).is_empty());
}

#[test]
fn kinds_and_modes_are_those_of_the_directory_and_the_owner_is_root() {
    let project = Project::new().file("file", "12").file("tool", "");
    fs::hard_link(project.path().join("file"), project.path().join("second")).unwrap();
    let set_uid = fs::Permissions::from_mode(0o4755);
    fs::set_permissions(project.path().join("tool"), set_uid).unwrap();
    let _socket = UnixListener::bind(project.path().join("socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        project.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let scan = project.scan(&["."]);
    let paths: Vec<_> = scan.entries.iter().map(show).collect();
    assert_eq!(
        paths,
        ["file", "pipe (fifo)", "second = file", "socket", "tool"]
    );
    let tool = &scan.entries[4];
    assert_eq!((tool.mode, tool.uid, tool.gid), (0o4755, 0, 0));
    for (entry, content) in [(&scan.entries[0], "12"), (&scan.entries[3], "")] {
        let expected = Kind::File {
            size: content.len() as u64,
            content: ContentDigest::of(content.as_bytes()),
        };
        assert_eq!(entry.kind, expected);
    }
}

#[test]
fn a_second_name_is_a_file_where_the_first_is_not_selected() {
    let project = Project::new().file("a", "1").file("dir/x", "");
    fs::hard_link(project.path().join("a"), project.path().join("dir/b")).unwrap();
    fs::hard_link(project.path().join("a"), project.path().join("dir/c")).unwrap();
    assert_eq!(
        project.selects(&["dir"]),
        ["dir/", "dir/b", "dir/c = dir/b", "dir/x"]
    );
}

#[test]
fn an_unreadable_file_is_an_error_that_names_it_and_the_remedy() {
    use crate::failure::Explain as _;
    if rustix::process::geteuid().is_root() {
        // Root reads everything: the sentence alone is tested.
        let error = ContextError::Read {
            path: crate::tree::TreePath::clean("dir/key"),
            source: std::io::ErrorKind::PermissionDenied.into(),
        };
        assert_eq!(error.to_string(), "failed to read `dir/key` of the context");
        assert!(error.hints()[0].contains("`dir/key` to .dockerignore"));
        return;
    }
    let project = Project::new().file("dir/key", "");
    let unreadable = fs::Permissions::from_mode(0o000);
    fs::set_permissions(project.path().join("dir/key"), unreadable).unwrap();
    let error = project.open().unwrap().scan(&[Wanted::All]).unwrap_err();
    assert_eq!(error.to_string(), "failed to read `dir/key` of the context");
    assert!(error.hints()[0].contains("`dir/key` to .dockerignore"));
}

#[test]
fn git_modes_do_not_depend_on_the_umask() {
    let project = Project::new().file("dir/file", "").file("dir/tool", "");
    for (path, mode) in [("dir", 0o700), ("dir/file", 0o600), ("dir/tool", 0o700)] {
        fs::set_permissions(project.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let context = project.open().unwrap().with_modes(Modes::Git);
    let scan = context.scan(&[Wanted::All]).unwrap();
    let modes: Vec<_> = scan.entries.iter().map(|entry| entry.mode).collect();
    assert_eq!(modes, [0o755, 0o644, 0o755]);
}

#[test]
fn big_directories_and_big_files_give_the_same_as_small_ones() {
    let mut project = Project::new();
    for number in 0..3000 {
        project = project.file(&format!("many/{number}"), &number.to_string());
    }
    let big = "0123456789abcdef".repeat(200_000);
    let project = project.file("big", &big);
    let scan = project.scan(&["."]);
    assert_eq!(scan.entries.len(), 3002);
    assert!(scan.entries.is_sorted_by(|one, next| one.path < next.path));
    let expected = Kind::File {
        size: big.len() as u64,
        content: ContentDigest::of(big.as_bytes()),
    };
    assert_eq!(scan.entries[0].kind, expected);
}
