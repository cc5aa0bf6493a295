//! Views against the plainest possible model of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;

fn file(path: &str, content: &str) -> Entry {
    Entry {
        kind: Kind::File {
            size: content.len() as u64,
            content: crate::digest::ContentDigest::of(content.as_bytes()),
        },
        ..Entry::directory(TreePath::clean(path), 0)
    }
}

fn symlink(path: &str, target: &str) -> Entry {
    Entry {
        kind: Kind::Symlink {
            target: target.as_bytes().to_vec(),
        },
        ..Entry::directory(TreePath::clean(path), 0)
    }
}

fn hardlink(path: &str, target: &str) -> Entry {
    Entry {
        kind: Kind::Hardlink {
            target: TreePath::clean(target),
        },
        ..Entry::directory(TreePath::clean(path), 0)
    }
}

fn directory(path: &str) -> Entry {
    Entry::directory(TreePath::clean(path), 0)
}

fn whiteout(path: &str) -> Entry {
    Entry::whiteout(TreePath::clean(path))
}

fn view(layers: &[&[Entry]]) -> View {
    let tree = |entries: &&[Entry]| Arc::new(Tree::new(entries.to_vec(), BTreeMap::new()));
    View::merge(&layers.iter().map(tree).collect::<Vec<_>>())
}

fn names(view: &View) -> Vec<String> {
    let nodes = view.walk(&TreePath::root());
    nodes.map(|node| node.path().to_string()).collect()
}

/// What unpacking the layers one after another gives.
fn model(trees: &[Arc<Tree>]) -> BTreeMap<TreePath, Entry> {
    let mut model = BTreeMap::from([(TreePath::root(), Entry::directory(TreePath::root(), 0))]);
    for tree in trees {
        for entry in tree.entries() {
            let hides = !matches!(entry.kind, Kind::Directory { opaque: false });
            model.retain(|path, _| !hides || path == &entry.path || !path.is_within(&entry.path));
            for parent in entry
                .path
                .ancestors_and_self()
                .filter(|path| *path != entry.path)
            {
                let implied = Entry::directory(parent.clone(), 0);
                let place = model.entry(parent).or_insert_with(|| implied.clone());
                if !place.is_directory() {
                    *place = implied;
                }
            }
            if matches!(entry.kind, Kind::Whiteout) {
                model.remove(&entry.path);
            } else {
                model.insert(entry.path.clone(), entry.clone());
            }
        }
    }
    model
}

/// Trees without symbolic links, whose meaning the model does not know.
fn plain_trees() -> impl Strategy<Value = Vec<Arc<Tree>>> {
    let plain = testing::entries().prop_map(|mut entries| {
        entries.retain(|entry| !matches!(entry.kind, Kind::Symlink { .. }));
        Arc::new(Tree::new(entries, BTreeMap::new()))
    });
    prop::collection::vec(plain, 0..5)
}

proptest! {
    #[test]
    fn a_view_is_what_unpacking_gives(trees in plain_trees()) {
        let view = View::merge(&trees);
        let model = model(&trees);
        let walked: Vec<&Entry> = view.walk(&TreePath::root()).map(|node| node.entry).collect();
        prop_assert_eq!(&walked, &model.values().collect::<Vec<_>>());
        for (path, entry) in &model {
            prop_assert_eq!(view.lookup(path).map(|node| node.entry), Some(entry));
            let children: Vec<&TreePath> =
                view.children(path).iter().map(Node::path).collect();
            let expected: Vec<&TreePath> = model
                .keys()
                .filter(|child| child.parent().as_ref() == Some(path))
                .collect();
            prop_assert_eq!(children, expected);
            let below: Vec<&TreePath> = view.walk(path).map(|node| node.path()).collect();
            let expected: Vec<&TreePath> =
                model.keys().filter(|other| other.is_within(path)).collect();
            prop_assert_eq!(below, expected);
        }
        for tree in &trees {
            for entry in tree.entries() {
                let expected = model.get(&entry.path);
                prop_assert_eq!(view.lookup(&entry.path).map(|node| node.entry), expected);
            }
        }
    }
}

#[test]
fn entries_below_a_link_of_a_lower_layer_move() {
    let view = view(&[
        &[
            directory("run"),
            directory("var"),
            symlink("var/run", "/run"),
        ],
        &[file("var/run/x", "1"), hardlink("var/run/y", "var/run/x")],
    ]);
    assert_eq!(
        names(&view),
        ["/", "/run", "/run/x", "/run/y", "/var", "/var/run"]
    );
    let node = view.lookup(&TreePath::clean("run/y")).unwrap();
    assert_eq!(node.entry.path, TreePath::clean("run/x"));
    assert_eq!(view.stored_path(&node), &TreePath::clean("var/run/x"));
    let resolved = view.resolve(b"/var/run/x", None, Follow::All);
    assert_eq!(resolved, Ok(TreePath::clean("run/x")));
}

#[test]
fn a_directory_of_its_own_replaces_the_link() {
    let view = view(&[
        &[directory("run"), symlink("var/run", "/run")],
        &[directory("var/run"), file("var/run/x", "1")],
    ]);
    assert_eq!(
        names(&view),
        ["/", "/run", "/var", "/var/run", "/var/run/x"]
    );
}

#[test]
fn links_resolve_inside_the_root() {
    let view = view(&[&[
        directory("a"),
        file("a/f", "1"),
        symlink("up", "../../../a"),
        symlink("abs", "/a"),
        symlink("a/back", ".."),
        symlink("dead", "/nowhere/x"),
        symlink("loop", "loop"),
    ]]);
    let resolve = |path: &str| {
        let resolved = view.resolve(path.as_bytes(), None, Follow::All);
        resolved
            .map(|path| path.to_string())
            .map_err(|error| error.to_string())
    };
    for (path, expected) in [
        ("up/f", Ok("/a/f")),
        ("/abs/f", Ok("/a/f")),
        ("abs/back/abs/f", Ok("/a/f")),
        ("../../etc", Err("`/etc` does not exist")),
        ("dead", Err("`/nowhere/x` does not exist")),
        ("loop", Err("too many symbolic links on the way to `/loop`")),
        ("a/f/x", Err("`/a/f` is not a directory")),
        ("abs/..", Ok("/")),
    ] {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(resolve(path), expected, "{path}");
    }
    let cwd = TreePath::clean("abs");
    let resolved = view.resolve(b"f", Some(&cwd), Follow::All);
    assert_eq!(resolved, Ok(TreePath::clean("a/f")));
    let link = view.resolve(b"up/back", None, Follow::Parents);
    assert_eq!(link, Ok(TreePath::clean("a/back")));
}

#[test]
fn a_missing_tail_keeps_the_resolved_head() {
    let view = view(&[&[directory("a"), symlink("l", "a"), symlink("dead", "a/new")]]);
    let missing = |path: &str| {
        let missing = view
            .resolve_missing(path.as_bytes(), None, Follow::All)
            .unwrap();
        (missing.existing.to_string(), missing.rest.to_string())
    };
    assert_eq!(missing("l/x/y"), ("/a".into(), "/x/y".into()));
    assert_eq!(missing("dead/y"), ("/a".into(), "/new/y".into()));
    assert_eq!(missing("l/x/../z"), ("/a".into(), "/z".into()));
    assert_eq!(missing("l"), ("/a".into(), "/".into()));
}

#[test]
fn a_hard_link_keeps_a_file_whose_name_is_gone() {
    let view = view(&[
        &[file("f", "1"), hardlink("g", "f")],
        &[whiteout("f")],
        &[hardlink("h", "g")],
    ]);
    assert_eq!(names(&view), ["/", "/g", "/h"]);
    for name in ["g", "h"] {
        let node = view.lookup(&TreePath::clean(name)).unwrap();
        assert!(
            matches!(node.entry.kind, Kind::File { size: 1, .. }),
            "{name}"
        );
        assert_eq!(node.layer, 0);
    }
}

#[test]
fn a_selection_knows_names_and_contents_but_no_times() {
    let digest = |mtime: i64, name: &str, content: &str| {
        let mut entry = file(&format!("src/{name}"), content);
        entry.mtime = mtime;
        let view = view(&[&[
            directory("src"),
            entry,
            hardlink("src/z", &format!("src/{name}")),
        ]]);
        selection_digest(view.select(&TreePath::clean("src")))
    };
    assert_eq!(digest(1, "a", "x"), digest(2, "a", "x"));
    assert_ne!(digest(1, "a", "x"), digest(1, "b", "x"));
    assert_ne!(digest(1, "a", "x"), digest(1, "a", "y"));
}
