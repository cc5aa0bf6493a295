//! The ladder: what works is found by trying, and all holds for an ordinary user, too.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use builder::executor::sandbox::Rung;
use builder::executor::sandbox::rung::{Again, Standing, enter, probe, probe_anew};

use super::sandbox_world::executable;

/// Set for the process that runs as an ordinary user.
const ORDINARY: &str = "BUILDER_TEST_ORDINARY";

/// An id that no account has.
const USER: u32 = 54_321;

/// Runs one test of this program as an ordinary user with (or without) subordinate ids, in a
/// mount namespace with its own passwd, subuid and subgid; the machine's files stay as they are.
fn as_ordinary_user(test: &str, ranges: &str) -> Option<std::process::Output> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become an ordinary user");
        return None;
    }
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(path("tmp")).unwrap();
    std::os::unix::fs::chown(path("tmp"), Some(USER), Some(USER)).unwrap();
    fs::write(
        path("passwd"),
        format!("root:x:0:0::/:/bin/sh\nann:x:{USER}:{USER}::/:/bin/sh\n"),
    )
    .unwrap();
    fs::write(path("subuid"), ranges).unwrap();
    let script = "mount --make-rprivate / && mount --bind \"$1/passwd\" /etc/passwd && \
        { mknod -m 666 \"$1/tun\" c 10 200 && mount --bind \"$1/tun\" /dev/net/tun || true; } && \
        mount --bind \"$1/subuid\" /etc/subuid && mount --bind \"$1/subuid\" /etc/subgid && \
        exec setpriv --reuid \"$2\" --regid \"$2\" --clear-groups --inh-caps=-all \
        env TMPDIR=\"$1/tmp\" \"$3\" --exact --nocapture --test-threads=1 \"$4\"";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(home.path())
        .arg(USER.to_string())
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(ORDINARY, "1")
        .output()
        .unwrap();
    Some(output)
}

/// Tells whether this process is the ordinary user already: it was started as one, or whoever runs
/// the tests is one.
fn is_ordinary() -> bool {
    std::env::var_os(ORDINARY).is_some()
}

/// Tells whether this user can make user namespaces with ranges; if not, says why.
fn can_range() -> bool {
    let store = tempfile::tempdir().unwrap();
    let ladder = probe_anew(store.path(), &executable());
    let standing = ladder.standing(Rung::UserRange).cloned();
    if standing != Some(Standing::Works) {
        eprintln!("skipped: {standing:?}");
    }
    standing == Some(Standing::Works)
}

fn assert_success(output: &std::process::Output) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&text)
    );
}

#[test]
fn everything_holds_in_a_user_namespace() {
    let by_hand = !rustix::process::geteuid().is_root() && !is_ordinary();
    if by_hand && !can_range() {
        return;
    }
    if is_ordinary() || by_hand {
        for tests in ["sandbox::", "sandbox_mounts::", "sandbox_life::"] {
            let again = Again {
                helper: executable(),
                program: std::env::current_exe().unwrap(),
                args: ["build", tests, "--nocapture"].map(Into::into).to_vec(),
            };
            assert_eq!(enter(Rung::UserRange, &again).unwrap(), Some(0), "{tests}");
        }
        return;
    }
    let test = "sandbox_rungs::everything_holds_in_a_user_namespace";
    if let Some(output) = as_ordinary_user(test, "ann:100000:65536\n") {
        assert_success(&output);
    }
}

#[test]
fn an_ordinary_user_stands_on_the_second_rung() {
    if is_ordinary() {
        let store = tempfile::tempdir().unwrap();
        let ladder = probe(store.path(), &executable());
        assert_eq!(ladder.best(true), Rung::UserRange, "{ladder:?}");
        assert_eq!(ladder.best(false), Rung::None);
        // The second answer comes from the store.
        assert_eq!(fs::read_dir(store.path()).unwrap().count(), 1);
        assert_eq!(probe(store.path(), Path::new("/nonesuch")), ladder);
        return;
    }
    let test = "sandbox_rungs::an_ordinary_user_stands_on_the_second_rung";
    if let Some(output) = as_ordinary_user(test, &format!("{USER}:100000:65536\n")) {
        assert_success(&output);
    }
}

#[test]
fn without_ranges_the_remedy_is_named() {
    if is_ordinary() {
        let store = tempfile::tempdir().unwrap();
        let ladder = probe_anew(store.path(), &executable());
        let Some(Standing::Fails { reason, remedies }) = ladder.standing(Rung::UserRange) else {
            panic!("{ladder:?}");
        };
        assert!(
            reason.contains("`/etc/subuid` has no range for user `ann`"),
            "{reason}"
        );
        // Not the range of somebody else.
        assert!(
            remedies[0].starts_with("sudo usermod --add-subuids 165536-231071"),
            "{remedies:?}"
        );
        return;
    }
    let test = "sandbox_rungs::without_ranges_the_remedy_is_named";
    if let Some(output) = as_ordinary_user(test, "somebody:100000:65536\n") {
        assert_success(&output);
    }
}

#[test]
fn root_stands_on_the_first_rung() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let store = tempfile::tempdir().unwrap();
    let ladder = probe(store.path(), &executable());
    assert_eq!(ladder.best(true), Rung::Root, "{ladder:?}");
}

/// What the builder says of a build with a RUN, started by a shell that takes things away from it; `$1`
/// is a store.
fn complaint_of(script: &str) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: not root");
        return None;
    }
    let home = tempfile::tempdir().unwrap();
    fs::write(
        home.path().join("Dockerfile"),
        "FROM scratch\nRUN [\"/true\"]\n",
    )
    .unwrap();
    fs::create_dir(home.path().join("store")).unwrap();
    let build = "--root \"$1/store\" build --progress=plain \"$1\"";
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c"])
        .arg(script.replace('@', &format!("\"$2\" {build}")))
        .arg("sh")
        .arg(home.path())
        .arg(executable())
        .output()
        .unwrap();
    assert!(!output.status.success());
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn where_no_rung_works_the_true_reason_is_told() {
    let lacking = "setpriv --bounding-set=-sys_admin,-sys_chroot,-setfcap --inh-caps=-all @";
    let read_only =
        "mount --bind \"$1/store\" \"$1/store\" && mount -o remount,bind,ro \"$1/store\" && @";
    let table = [
        (
            lacking,
            "failed to make new namespaces",
            "--cap-add SETFCAP",
        ),
        (
            read_only,
            "read-only file system",
            "put the store where it can be written",
        ),
        ("ulimit -n 12; @", "too many open files", "ulimit -n 1024"),
    ];
    for (script, reason, remedy) in table {
        let Some(said) = complaint_of(script) else {
            return;
        };
        let lower = said.to_lowercase();
        assert!(lower.contains(reason), "{script}: {said}");
        assert!(said.contains(remedy), "{script}: {said}");
        assert!(!said.contains("no privileges"), "{script}: {said}");
    }
}
