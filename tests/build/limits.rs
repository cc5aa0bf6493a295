//! Limits of RUN by control groups: version 1 or 2, whichever is here, and neither.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};

use crate::common::{Outcome, Project, User, skip};

const HUNGRY: &str = "
    FROM busybox
    RUN dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null && echo f''ed
";
const CROWDED: &str = "
    FROM busybox
    RUN for i in $(seq 60); do sleep 5 & done && echo all
";
const BUSY: &str = "
    FROM busybox
    RUN time timeout 2 sh -c 'while :; do :; done'; true
";

fn build(dockerfile: &str, flags: &[&str]) -> Option<Outcome> {
    let project = Project::with_busybox()?.dockerfile(dockerfile);
    let outcome = project.build().words(flags).run();
    project.is_sound();
    assert_eq!(groups(), Vec::<String>::new(), "{outcome}");
    Some(outcome)
}

/// Control groups of builders that are gone.
fn groups() -> Vec<String> {
    let below = walkdir::WalkDir::new("/sys/fs/cgroup")
        .into_iter()
        .flatten();
    let names = below
        .filter(|entry| entry.file_type().is_dir())
        .filter_map(|entry| entry.file_name().to_str().map(str::to_owned));
    names
        .filter_map(|name| {
            Some((
                name.strip_prefix("builder-")?.split('-').next()?.to_owned(),
                name,
            ))
        })
        .filter(|(id, _)| !Path::new("/proc").join(id).exists())
        .map(|(_, name)| name)
        .collect()
}

/// Whether the kernel lets a root here make a group with this controller.
fn has_controller(name: &str) -> bool {
    let version1 = Path::new("/sys/fs/cgroup").join(name).join("cgroup.procs");
    let version2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let has = version1.exists() || version2.split_whitespace().any(|word| word == name);
    if !has || !User::is_root() {
        skip(&format!("no controller {name} for root"));
    }
    has && User::is_root()
}

#[test]
fn memory_is_limited_and_the_failure_says_so() {
    if !has_controller("memory") {
        return;
    }
    let Some(fed) = build(HUNGRY, &["--memory=1g"]) else {
        return;
    };
    assert_eq!(fed.code, 0, "{fed}");
    fed.says("fed").does_not_say("not limited");
    let starved = build(HUNGRY, &["--memory=64m"]).unwrap();
    assert_eq!(starved.code, 1, "{starved}");
    starved.says("out of memory").does_not_say("not limited");
}

#[test]
fn processes_are_limited() {
    if !has_controller("pids") {
        return;
    }
    let Some(few) = build(CROWDED, &["--pids-limit=20"]) else {
        return;
    };
    assert_ne!(few.code, 0, "{few}");
    few.does_not_say("not limited");
    let many = build(CROWDED, &["--pids-limit=200"]).unwrap();
    assert_eq!(many.code, 0, "{many}");
}

#[test]
fn processors_are_limited() {
    if !has_controller("cpu") {
        return;
    }
    let Some(slow) = build(BUSY, &["--cpus=0.2"]) else {
        return;
    };
    assert_eq!(slow.code, 0, "{slow}");
    slow.does_not_say("not limited");
    let seconds = |name: &str| {
        let line = slow
            .stderr
            .lines()
            .find(|line| line.contains(name))
            .unwrap();
        let time = line.rsplit(['m', '\t', ' ']).next().unwrap();
        time.trim_end_matches('s').parse::<f64>().unwrap()
    };
    let used = seconds("user\t") + seconds("sys\t");
    assert!(used < 0.8, "{used} of 0.4 seconds\n{slow}");
}

/// Runs a test on a machine whose control groups are what `mount` makes of them.
fn with_groups(mount: &str, test: impl FnOnce() + Send) {
    if !User::is_root() {
        skip("only root can mount");
        return;
    }
    std::thread::scope(|scope| {
        let machine = scope.spawn(|| {
            if unshare(CloneFlags::CLONE_NEWNS).is_err() {
                return skip("namespaces cannot be made");
            }
            let script = format!("mount --make-rprivate / && {mount}");
            let done = Command::new("sh").args(["-c", &script]).status().unwrap();
            assert!(done.success(), "{mount}");
            test();
        });
        machine.join().unwrap();
    });
}

const ALL: [&str; 3] = ["--memory=64m", "--cpus=1", "--pids-limit=20"];

fn goes_on_without_limits() {
    let Some(fed) = build(HUNGRY, &ALL) else {
        return;
    };
    assert_eq!(fed.code, 0, "{fed}");
    for what in ["memory", "processors", "processes"] {
        let line = format!("{what} is not limited: ");
        let lines = format!("{what} are not limited: ");
        let count = fed.stderr.matches(&line).count() + fed.stderr.matches(&lines).count();
        assert_eq!(count, 1, "{what}\n{fed}");
    }
}

#[test]
fn without_control_groups_lines_say_so() {
    with_groups(
        "mount -t tmpfs -o ro none /sys/fs/cgroup",
        goes_on_without_limits,
    );
}

#[test]
fn version_2_without_controllers_says_so_and_leaves_nothing() {
    if fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok() {
        skip("version 2 has its controllers");
        return;
    }
    with_groups(
        "mount -t cgroup2 none /sys/fs/cgroup",
        goes_on_without_limits,
    );
}

#[test]
fn a_user_without_groups_of_its_own_is_told() {
    let (Some(user), Some(project)) = (User::without_subuids(), Project::with_busybox()) else {
        return;
    };
    let project = project.owned_by(user).dockerfile(HUNGRY);
    let fed = project.build().words(ALL).success();
    fed.says("memory is not limited: ").says("fed");
}
