//! Removal of what others filled.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::remove_tree;
use super::*;

/// A directory with a canary beside the trash.
fn trash() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (trash, canary) = (dir.path().join("trash"), dir.path().join("canary"));
    fs::create_dir(&trash).unwrap();
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "alive").unwrap();
    (dir, trash, canary)
}

#[test]
fn everything_goes_and_links_are_not_followed() {
    let (_dir, trash, canary) = trash();
    let tree = trash.join("t");
    fs::create_dir_all(tree.join("a/b/c")).unwrap();
    fs::create_dir(tree.join("locked")).unwrap();
    fs::write(tree.join("locked/file"), "").unwrap();
    fs::create_dir(tree.join("locked/dir")).unwrap();
    fs::write(tree.join("locked/dir/file"), "").unwrap();
    for (name, target) in [
        ("l", canary.as_path()),
        ("a/b/l", &canary),
        ("dangling", Path::new("/none")),
    ] {
        symlink(target, tree.join(name)).unwrap();
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    for path in ["locked/dir", "locked"] {
        fs::set_permissions(tree.join(path), fs::Permissions::from_mode(0)).unwrap();
    }
    remove_tree(&trash, "t").unwrap();
    assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "alive");
}

#[test]
fn a_link_in_the_place_of_the_tree_is_removed_itself() {
    let (_dir, trash, canary) = trash();
    symlink(&canary, trash.join("t")).unwrap();
    remove_tree(&trash, "t").unwrap();
    assert!(!trash.join("t").is_symlink() && canary.join("file").exists());
    remove_tree(&trash, "t").unwrap();
}

#[test]
fn depth_and_width_cost_no_descriptors() {
    let (_dir, trash, _) = trash();
    let mut deep = rustix::fs::openat(
        rustix::fs::CWD,
        &trash,
        rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    for _ in 0..1200 {
        rustix::fs::mkdirat(&deep, "t", rustix::fs::Mode::RWXU).unwrap();
        deep = rustix::fs::openat(
            &deep,
            "t",
            rustix::fs::OFlags::DIRECTORY,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
    }
    for wide in 0..500 {
        fs::create_dir_all(trash.join(format!("t/w{wide}/x"))).unwrap();
    }
    remove_tree(&trash, "t").unwrap();
    assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
}

#[test]
fn a_swapped_directory_never_leads_out() {
    let (dir, trash, canary) = trash();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let tree = trash.join("t");
    std::thread::scope(|scope| {
        let (stop, canary, tree) = (&stop, &canary, &tree);
        let aside = dir.path().join("aside");
        scope.spawn(move || {
            // Swaps `t/d` with a link to the canary as fast as it can.
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let d = tree.join("d");
                drop(fs::create_dir_all(d.join("sub")));
                drop(fs::write(d.join("sub/file"), ""));
                drop(fs::rename(&d, &aside));
                drop(symlink(canary, &d));
                drop(fs::remove_file(&d));
                drop(fs::rename(&aside, &d));
                drop(fs::remove_dir_all(&aside));
            }
        });
        for _ in 0..1000 {
            drop(fs::create_dir_all(tree));
            drop(remove_tree(&trash, "t"));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "alive");
}
