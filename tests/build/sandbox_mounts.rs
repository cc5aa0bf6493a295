//! Mounts: what is shown, what is written, and that nothing of them stays in the layer.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::time::{Duration, SystemTime};

use builder::executor::sandbox::{Bind, Exit, SandboxError, SandboxMount};

use super::sandbox_world::{World, error, run, tree};

fn bind(target: &str, host: std::path::PathBuf, source: &str, readonly: bool) -> SandboxMount {
    SandboxMount::Bind(Bind {
        target: target.into(),
        host,
        source: source.into(),
        readonly,
    })
}

fn secret(target: &str) -> SandboxMount {
    SandboxMount::Secret {
        target: target.into(),
        data: b"hunter2".to_vec(),
        mode: 0o440,
        uid: 5,
        gid: 6,
    }
}

#[test]
fn generated_files_leave_no_trace() {
    let Some(mut world) = World::new() else {
        return;
    };
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    fs::File::open(world.path("base/etc"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    let ran = world.run("cat /etc/hosts; test -s /etc/resolv.conf");
    assert_eq!(
        ran.stdout,
        "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    );
    assert_eq!(ran.outcome.exit, Exit::Code(0));
    assert_eq!(tree(&ran.upper.join("etc")), [""; 0]);
    assert_eq!(
        fs::metadata(ran.upper.join("etc")).unwrap().mtime(),
        1_000_000_000
    );
    // What the command itself changes there stays, and so does the time of its change.
    let ran = world.run("echo mine > /etc/mine");
    assert_eq!(tree(&ran.upper.join("etc")), ["mine"]);
    let times = [ran.upper.join("etc"), ran.upper.join("etc/mine")]
        .map(|path| fs::metadata(path).unwrap().mtime());
    assert_eq!(times[0], times[1]);
}

#[test]
fn a_dangling_link_is_a_good_place_for_a_generated_file() {
    let Some(mut world) = World::new() else {
        return;
    };
    symlink(
        "../run/resolve/stub.conf",
        world.path("base/etc/resolv.conf"),
    )
    .unwrap();
    symlink("/../../../elsewhere/hosts", world.path("base/etc/hosts")).unwrap();
    let ran = world.run("test -s /etc/resolv.conf && grep -c localhost /etc/hosts");
    assert_eq!(ran.stdout, "2\n", "{ran:?}");
    assert_eq!(tree(&ran.upper), ["dev/", "proc/", "sys/"]);
}

#[test]
fn directories_of_the_image_may_be_links() {
    let Some(mut world) = World::new() else {
        return;
    };
    for name in ["dev", "proc", "sys"] {
        symlink(format!("/moved/{name}"), world.path("base").join(name)).unwrap();
    }
    let ran = world.run("echo x > /dev/null; cat /proc/1/comm; ls -d /sys/class");
    assert_eq!(ran.outcome.exit, Exit::Code(0), "{ran:?}");
    assert_eq!(tree(&ran.upper.join("moved")), ["dev/", "proc/", "sys/"]);
}

#[test]
fn a_device_of_the_image_is_not_trusted() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.file("base/dev/null", "not a device");
    let ran =
        world.run("cat /dev/null; echo gone > /dev/null; chmod 600 /dev/null 2>/dev/null; true");
    assert_eq!(ran.stdout, "", "{ran:?}");
    assert_eq!(
        fs::read(world.path("base/dev/null")).unwrap(),
        b"not a device"
    );
    assert_eq!(fs::metadata("/dev/null").unwrap().mode() & 0o777, 0o666);
}

#[test]
fn secrets_are_seen_and_gone() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut spec = world.spec(
        "cat /run/secrets/key; stat -c ' %a %u %g' /run/secrets/key; \
        echo x > /run/secrets/key",
    );
    spec.mounts = vec![secret("/run/secrets/key")];
    let ran = run(&spec);
    assert_eq!(ran.stdout, "hunter2 440 5 6\n");
    assert_eq!(
        ran.outcome.exit,
        Exit::Code(1),
        "a secret cannot be changed"
    );
    assert!(!ran.upper.join("run").exists());
}

#[test]
fn a_stub_that_the_command_used_stays() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut spec = world.spec("touch /run/secrets/other; rmdir /run/secrets/key 2>/dev/null; true");
    spec.mounts = vec![secret("/run/secrets/key")];
    let ran = run(&spec);
    assert_eq!(tree(&ran.upper.join("run")), ["secrets/", "secrets/other"]);
}

#[test]
fn binds_show_their_source_and_nothing_else() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.file("shared/in/file", "seen");
    world.file("outside", "host");
    symlink("/in", world.path("shared/link")).unwrap();
    symlink("../../../../outside", world.path("shared/escape")).unwrap();
    let shared = world.path("shared");
    let mut spec = world.spec("cat /mnt/file /one; echo x > /mnt/new");
    spec.mounts = vec![
        bind("/mnt", shared.clone(), "/link", true),
        bind("/one", shared.clone(), "/in/file", true),
    ];
    let ran = run(&spec);
    assert_eq!(ran.stdout, "seenseen");
    assert_eq!(ran.outcome.exit, Exit::Code(1), "read-only");
    let mut spec =
        world.spec("echo new > /mnt/in/new; mknod /mnt/disk b 254 0; cat /mnt/disk | grep -q ^");
    spec.mounts = vec![bind("/mnt", shared.clone(), "/", false)];
    let ran = run(&spec);
    assert_eq!(
        ran.outcome.exit,
        Exit::Code(1),
        "no device answers: {ran:?}"
    );
    assert_eq!(fs::read_to_string(shared.join("in/new")).unwrap(), "new\n");
    let mut spec = world.spec("true");
    spec.mounts = vec![bind("/mnt", shared, "/escape", true)];
    assert!(matches!(error(&spec), SandboxError::MountSource { .. }));
}

#[test]
fn writes_to_an_overlay_are_thrown_away() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.file("a/dir/one", "1");
    world.file("b/dir/two", "2");
    let lowers = vec![world.path("a"), world.path("b")];
    for writable in [false, true] {
        let mut spec = world.spec("cat /mnt/one /mnt/two; echo x > /mnt/three && cat /mnt/three");
        spec.mounts = vec![SandboxMount::Overlay {
            target: "/mnt".into(),
            lowers: lowers.clone(),
            source: "/dir".into(),
            writable,
        }];
        let ran = run(&spec);
        let expected = if writable { "12x\n" } else { "12" };
        assert_eq!(ran.stdout, expected, "{ran:?}");
        assert!(!ran.upper.join("mnt").exists());
    }
    assert_eq!(tree(&world.path("a")), ["dir/", "dir/one"]);
    assert_eq!(tree(&world.path("b")), ["dir/", "dir/two"]);
}

#[test]
fn memory_is_as_large_as_asked() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut spec = world.spec("df -k /mnt /dev/shm | awk '{print $2}' | tail -2");
    spec.shm_size = 1 << 20;
    spec.mounts = vec![SandboxMount::Tmpfs {
        target: "/mnt".into(),
        size: Some(2 << 20),
    }];
    assert_eq!(run(&spec).stdout, "2048\n1024\n");
}

#[test]
fn mounts_may_be_nested_and_meet_links() {
    let Some(mut world) = World::new() else {
        return;
    };
    symlink("/real", world.path("base/alias")).unwrap();
    fs::create_dir(world.path("base/real")).unwrap();
    world.file("shared/file", "seen");
    let mut spec = world.spec("cat /real/deep/er/file; ls /real");
    spec.mounts = vec![
        SandboxMount::Tmpfs {
            target: "/alias".into(),
            size: None,
        },
        bind("/alias/deep/er", world.path("shared"), "/", true),
    ];
    let ran = run(&spec);
    assert_eq!(ran.stdout, "seendeep\n");
    assert_eq!(tree(&ran.upper), ["dev/", "etc/", "proc/", "sys/"]);
}

#[test]
fn places_that_keep_the_sandbox_closed_are_refused() {
    let Some(mut world) = World::new() else {
        return;
    };
    for target in [
        "/",
        "//",
        "/./",
        "/a/..",
        "/proc",
        "/proc/self",
        "/sys/fs",
        "/dev",
        "/../dev/",
    ] {
        let mut spec = world.spec("true");
        spec.mounts = vec![SandboxMount::Tmpfs {
            target: target.into(),
            size: None,
        }];
        let refused = matches!(error(&spec), SandboxError::ReservedTarget { .. });
        assert!(refused, "{target}");
    }
    let mut spec = world.spec("df -k /dev/shm | awk '{print $2}' | tail -1");
    spec.mounts = vec![SandboxMount::Tmpfs {
        target: "/dev/shm".into(),
        size: Some(4096),
    }];
    assert_eq!(run(&spec).stdout, "4\n");
}
