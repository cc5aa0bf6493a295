//! Programs of an image that want out of a root that nothing but chroot, Landlock and filters keep, or at
//! processes outside. They are compiled here, since no shell makes these calls.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::common::{Container, Outcome, Project, User, skip};
use super::ladder::{Place, children_of, signal, supervisors_of};

/// The places without namespaces.
fn places() -> Vec<Place> {
    if !User::is_root() {
        skip("only root has this rung");
        return Vec::new();
    }
    let container = Container::docker_default().map(Place::Container);
    std::iter::once(Place::Chroot).chain(container).collect()
}

/// Compiles a program that needs no library; `None` where there is no compiler.
pub(crate) fn compile(project: &Project, name: &str, source: &str) -> Option<()> {
    let compiler = ["/usr/bin/musl-gcc", "/usr/bin/gcc"];
    let Some(compiler) = compiler.into_iter().find(|path| Path::new(path).exists()) else {
        skip("no C compiler is installed");
        return None;
    };
    let text = project.path(&format!("{name}.c"));
    fs::write(&text, source).unwrap();
    let made = Command::new(compiler)
        .args(["-static", "-w", "-o"])
        .arg(project.context().join(name))
        .arg(text)
        .status();
    assert!(made.unwrap().success(), "{name} cannot be compiled");
    Some(())
}

/// Builds a Dockerfile whose image has `probe`, with `@` as a directory outside that has a file.
fn with_probe(source: &str, dockerfile: &str, check: impl Fn(&Place, &Project, &Outcome)) {
    for place in places() {
        let Some(project) = Project::with_busybox() else {
            return;
        };
        let outside = project.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("file"), "not for you").unwrap();
        let text = dockerfile.replace('@', outside.to_str().unwrap());
        let project = project.dockerfile(&text);
        if compile(&project, "probe", source).is_none() {
            return;
        }
        let outcome = place.build(&project).run();
        check(&place, &project, &outcome);
        project.is_sound();
    }
}

fn succeeds(place: &Place, _: &Project, outcome: &Outcome) {
    assert_eq!(outcome.code, 0, "{place:?}\n{outcome}");
}

/// Climbs from every directory that it gets hold of.
const CLIMBER: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int bad;
static void out(const char *from, const char *how) {
    printf("out from %s by %s\n", from, how);
    bad = 1;
}

static void climb(int from, const char *name, const char *outside) {
    char path[4096], link[64];
    struct stat status;
    snprintf(path, sizeof path, "../../../../../../../../../../../../../../../..%s/file", outside);
    if (fstatat(from, path, &status, 0) == 0) out(name, "stat");
    if (fchmodat(from, path, 0777, 0) == 0) out(name, "chmod");
    if (utimensat(from, path, 0, 0) == 0) out(name, "utimensat");
    if (openat(from, path, O_RDONLY) >= 0) out(name, "open");
    int file = openat(from, path, O_PATH);
    if (file >= 0) {
        out(name, "O_PATH");
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        if (open(link, O_RDONLY) >= 0) out(name, "reading a descriptor again");
        int again = open(link, O_RDWR | O_TRUNC);
        if (again >= 0) { out(name, "writing a descriptor again"); write(again, "PWN", 3); }
    }
}

int main(int count, char **words) {
    static const char *doors[] = { "/proc/self/fd", "/dev/fd", "/proc/self/net/stat", "/proc/net/stat",
        "/proc/self/net/dev_snmp6", "/proc/self/cwd", "/proc/self/root", "/proc/self/fdinfo", "/proc/sys",
        "/proc/sys/kernel", "/proc/self/task", "/proc/self/ns", "/proc/self/map_files", "/proc/self/net" };
    int top = open("/", O_PATH | O_DIRECTORY);
    climb(top, "/", words[1]);
    for (int i = 0; i < sizeof doors / sizeof *doors; i++) {
        int door = open(doors[i], O_RDONLY | O_DIRECTORY);
        if (door >= 0) climb(door, doors[i], words[1]);
    }
    char number[64];
    snprintf(number, sizeof number, "/proc/%d/fd", getpid());
    int own = open(number, O_RDONLY | O_DIRECTORY);
    if (own >= 0) climb(own, number, words[1]);
    mkdir("/xx", 0755);
    if (chroot("/xx") == 0) out("/", "chroot");
    fchdir(top);
    for (int i = 0; i < 64; i++) chdir("..");
    climb(AT_FDCWD, "the working directory", words[1]);
    return bad;
}
"#;

#[test]
fn no_directory_leads_out_of_a_root_without_mounts() {
    with_probe(
        CLIMBER,
        "FROM busybox\nCOPY probe /\nRUN /probe @\nRUN ! grep -q '^Cap[EB][fn][fd]:.*[4567cdef]....$' /proc/self/status\n",
        |place, project, outcome| {
            let kept = fs::read_to_string(project.path("outside/file")).unwrap();
            assert_eq!(kept, "not for you", "{place:?}\n{outcome}");
            succeeds(place, project, outcome);
        },
    );
}

/// Opens what it has open again, as root and as somebody else.
const REOPENER: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int again(int file, int flags) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    return open(link, flags);
}
static int bad;
static void must(int holds, const char *what) {
    if (!holds) { printf("not so: %s (%s)\n", what, strerror(errno)); bad = 1; }
}

int main(void) {
    int ends[2], file = open("/secret", O_CREAT | O_RDWR, 0640);
    write(file, "x", 1);
    pipe(ends);
    must(again(file, O_RDWR) >= 0, "a file of the root");
    must(again(ends[0], O_RDONLY) >= 0, "a pipe");
    must(again(memfd_create("m", 0), O_RDWR) >= 0, "a file in memory");
    must(again(0, O_RDONLY) >= 0, "/dev/null");
    must(open("/dev/stdin", O_RDONLY) >= 0, "/dev/stdin");
    must(open("/proc/self/cwd", O_RDONLY | O_DIRECTORY) >= 0, "the working directory");
    must(open("/proc/self/exe", O_RDONLY) >= 0, "the program");
    must(again(file, O_RDONLY | O_NOFOLLOW) < 0 && errno == ELOOP, "a link is not followed");
    unlink("/gone");
    int gone = open("/gone", O_CREAT | O_RDWR, 0600);
    unlink("/gone");
    must(again(gone, O_RDWR) >= 0, "a file that was removed");
    setgroups(0, 0);
    setresgid(1000, 1000, 1000);
    setresuid(1000, 1000, 1000);
    prctl(PR_SET_DUMPABLE, 1);
    file = open("/secret", O_PATH);
    must(again(file, O_RDONLY) < 0, "somebody else reads a file of root and its group");
    must(again(file, O_RDWR) < 0, "somebody else writes it");
    prctl(PR_SET_DUMPABLE, 0);
    must(again(file, O_RDONLY) < 0, "who cannot be looked into reads a file of root");
    return bad;
}
"#;

#[test]
fn a_descriptor_is_opened_again_with_the_rights_of_its_owner() {
    with_probe(
        REOPENER,
        "FROM busybox\nCOPY probe /\nRUN /probe\nRUN ls -l /proc/self/fd /dev/fd/ && test $(ls /proc/self/fd | wc -l) -ge 3\n",
        succeeds,
    );
}

/// Does things to itself, a child, and the process that looks after it.
const MEDDLER: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int bad;
static void must(int holds, const char *what, int process) {
    if (!holds) { printf("not so: %s %d (%s)\n", what, process, strerror(errno)); bad = 1; }
}

static void meddle(int process, int may) {
    struct rlimit limit = { 64, 64 };
    struct sched_param param = { 0 };
    char attributes[48] = { 48 };
    cpu_set_t set;
    sched_getaffinity(0, sizeof set, &set);
    must((syscall(SYS_prlimit64, process, RLIMIT_NOFILE, &limit, 0) == 0) == may, "prlimit", process);
    must((sched_setaffinity(process, sizeof set, &set) == 0) == may, "sched_setaffinity", process);
    must((syscall(SYS_sched_setscheduler, process, SCHED_OTHER, &param) == 0) == may, "sched_setscheduler", process);
    must((syscall(SYS_sched_setparam, process, &param) == 0) == may, "sched_setparam", process);
    must((syscall(SYS_sched_setattr, process, attributes, 0) == 0) == may, "sched_setattr", process);
    must((setpriority(PRIO_PROCESS, process, 5) == 0) == may, "setpriority", process);
    must((syscall(SYS_ioprio_set, 1, process, 2 << 13 | 5) == 0) == may, "ioprio_set", process);
    must((kill(process, 0) == 0) == may, "kill", process);
    must((syscall(SYS_tgkill, process, process, 0) == 0) == may, "tgkill", process);
    int descriptor = syscall(SYS_pidfd_open, process, 0);
    if (descriptor >= 0) must((syscall(SYS_pidfd_send_signal, descriptor, 0, 0, 0) == 0) == may, "pidfd", process);
}

int main(void) {
    int child = fork();
    if (child == 0) { pause(); return 0; }
    meddle(child, 1);
    kill(child, SIGKILL);
    waitpid(child, 0, 0);
    must(syscall(SYS_prlimit64, child, RLIMIT_NOFILE, 0, 0) < 0 && errno == ESRCH, "who is gone", child);
    meddle(getpid(), 1);
    meddle(getppid(), 0);
    meddle(1, 0);
    must(setpriority(PRIO_USER, 0, 5) < 0, "setpriority of a user", 0);
    must(syscall(SYS_ioprio_set, 3, 0, 2 << 13 | 5) < 0, "ioprio_set of a user", 0);
    must(setpriority(PRIO_PGRP, 0, 6) == 0, "setpriority of the group", 0);
    must(kill(0, 0) == 0, "kill of the group", 0);
    return bad;
}
"#;

#[test]
fn a_command_does_nothing_to_processes_outside_without_namespaces() {
    with_probe(
        MEDDLER,
        "FROM busybox\nCOPY probe /\nRUN [\"/probe\"]\nRUN ulimit -n 50 && true\n",
        succeeds,
    );
}

#[test]
fn a_secret_that_is_linked_or_moved_is_not_in_the_layer() {
    const HUSH: &str = "hush-4f7a11b2c9";
    for place in places() {
        let Some(project) = Project::with_busybox() else {
            return;
        };
        let project = project.dockerfile(
            "
            FROM busybox
            RUN --mount=type=secret,id=s ln /run/secrets/s /hard
            RUN mkdir -p /a/b && echo own > /a/b/own
            RUN --mount=type=secret,id=s,target=/a/b/s grep -q hush /a/b/s && mv /a/b /z
            RUN --mount=type=secret,id=s,target=/e mv /e /moved
            RUN --mount=type=cache,target=/c --mount=type=secret,id=s ln /run/secrets/s /c/hard
            RUN test ! -s /hard && test ! -s /z/s && test ! -s /moved && grep own /z/own
            RUN --mount=type=cache,target=/c test -e /c/hard && test ! -s /c/hard
            ",
        );
        let out = project.path("out");
        fs::write(project.path("secret"), HUSH).unwrap();
        let secret = format!("id=s,src={}", project.path("secret").display());
        let spec = format!("type=local,dest={}", out.display());
        let build = place.build(&project).words(["--secret", &secret]);
        let outcome = build.output_to(&spec).run();
        assert_eq!(outcome.code, 0, "{place:?}\n{outcome}");
        outcome.does_not_say(HUSH);
        for kept in [project.store(), out] {
            for entry in walkdir::WalkDir::new(kept).into_iter().flatten() {
                if entry.file_type().is_file() {
                    let bytes = fs::read(entry.path()).unwrap();
                    let leaked = bytes
                        .windows(HUSH.len())
                        .any(|part| part == HUSH.as_bytes());
                    assert!(!leaked, "{place:?}: {}", entry.path().display());
                }
            }
        }
        project.is_sound();
    }
}

/// Kills a build whose step has a secret, and its supervisor; then calls `after` with a build that
/// finds all in the cache, and what tells whether the secret is on the disk.
fn killed_with_secret(spare_keepers: bool, after: impl Fn(&dyn Fn(), &dyn Fn() -> bool)) {
    const HUSH: &str = "hush-90ab77c1de";
    let Some(project) = Project::with_busybox().filter(|_| User::is_root()) else {
        return;
    };
    let project = project.dockerfile("FROM busybox\nRUN echo x > /x\n");
    let cached = || project.build().flag("--isolation=chroot").success();
    cached();
    fs::write(project.path("secret"), HUSH).unwrap();
    project.put(
        "Killed",
        "FROM busybox\nRUN --mount=type=secret,id=s echo st''arted; exec sleep 98766\n",
    );
    let secret = format!("id=s,src={}", project.path("secret").display());
    let file = project.context().join("Killed").display().to_string();
    let words = ["--secret", &secret, "-f", &file, "--isolation=chroot"];
    let is_left = || {
        let entries = walkdir::WalkDir::new(project.store()).into_iter().flatten();
        let mut files = entries.filter(|entry| entry.file_type().is_file());
        files.any(|entry| fs::read(entry.path()).is_ok_and(|bytes| bytes == HUSH.as_bytes()))
    };
    let build = project.build().words(words).start().wait_for(" started");
    let supervisors = supervisors_of(build.id());
    assert_eq!(supervisors.len(), 1, "one step runs");
    signal(supervisors[0], Signal::SIGSTOP);
    if !spare_keepers {
        for child in children_of(supervisors[0].unsigned_abs()) {
            signal(child, Signal::SIGKILL);
        }
    }
    build.signal(Signal::SIGKILL).finish();
    assert!(is_left(), "there is something to remove");
    signal(supervisors[0], Signal::SIGKILL);
    let again = || {
        cached().all_cached();
    };
    after(&again, &is_left);
    project.is_sound();
}

#[test]
fn a_secret_of_a_killed_build_goes_with_it() {
    killed_with_secret(true, |again, is_left| {
        let end = Instant::now() + Duration::from_secs(5);
        while is_left() {
            assert!(Instant::now() < end, "the secret outlived its build");
            std::thread::yield_now();
        }
        again();
    });
}

#[test]
fn a_secret_of_a_build_that_was_killed_with_all_its_processes_goes_with_the_next() {
    killed_with_secret(false, |again, is_left| {
        assert!(is_left(), "there is something to remove");
        again();
        assert!(!is_left());
    });
}

/// Changes what it has open as a mere name, as root and as somebody else.
const ALTERER: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static int bad;
static void must(int holds, const char *what) {
    if (!holds) { printf("not so: %s (%s)\n", what, strerror(errno)); bad = 1; }
}

int main(void) {
    char link[64], number[64];
    struct stat status;
    struct timespec times[2] = { { 1, 2 }, { 3, 4 } };
    mkdir("/directory", 0700);
    close(open("/file", O_CREAT | O_RDWR, 0600));
    int file = open("/file", O_PATH), directory = open("/directory", O_PATH);
    snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    must(chmod(link, 0555) == 0, "chmod of a directory");
    must(fstat(directory, &status) == 0 && (status.st_mode & 07777) == 0555, "its mode");
    snprintf(link, sizeof link, "/dev/fd/%d", file);
    snprintf(number, sizeof number, "/proc/%d/fd/%d", getpid(), file);
    must(fchmodat(AT_FDCWD, number, 04711, 0) == 0, "fchmodat");
    must(fstat(file, &status) == 0 && (status.st_mode & 07777) == 04711, "the mode");
    must(utimensat(AT_FDCWD, link, times, 0) == 0, "utimensat");
    must(truncate(link, 7) == 0, "truncate");
    must(utimensat(AT_FDCWD, link, times, 0) == 0, "utimensat");
    must(chown(link, 12, -1) == 0 && fchownat(AT_FDCWD, number, -1, 34, 0) == 0, "chown");
    fstat(file, &status);
    must(status.st_uid == 12 && status.st_gid == 34, "the owner");
    must(status.st_mtim.tv_sec == 3 && status.st_mtim.tv_nsec == 4, "the time");
    must(status.st_size == 7 && (status.st_mode & 07777) == 0711, "size and mode");
    must(chmod("/proc/self/fd/99", 0700) < 0 && errno == ENOENT, "nothing is open there");
    must(fchmodat(AT_FDCWD, "/file", 0600, 0) == 0, "an ordinary path");
    setgroups(0, 0);
    setresgid(1000, 1000, 1000);
    setresuid(1000, 1000, 1000);
    prctl(PR_SET_DUMPABLE, 1);
    must(chmod(link, 0777) < 0 && errno == EPERM, "chmod of somebody else's file");
    must(chown(link, 1000, 1000) < 0 && errno == EPERM, "chown of somebody else's file");
    must(truncate(link, 0) < 0 && errno == EACCES, "truncate of somebody else's file");
    return bad;
}
"#;

#[test]
fn what_is_open_is_changed_by_the_links_of_proc() {
    with_probe(
        ALTERER,
        "FROM busybox\nCOPY probe /\nRUN /probe\n",
        succeeds,
    );
}

/// Looks at, names and marks what is not its own, by paths of /proc.
const LOOKER: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

static int bad;
static void must(int holds, const char *what) {
    if (!holds) { printf("not so: %s (%s)\n", what, strerror(errno)); bad = 1; }
}

static void look(const char *path) {
    struct stat status;
    struct statfs system;
    char value[8];
    must(stat(path, &status) < 0, path);
    must(access(path, F_OK) < 0, path);
    must(faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0, path);
    must(getxattr(path, "user.a", value, 8) < 0 && errno != ENODATA, path);
    must(setxattr(path, "user.a", "x", 1, 0) < 0, path);
    must(listxattr(path, value, 8) < 0, path);
    must(linkat(AT_FDCWD, path, AT_FDCWD, "/stolen", AT_SYMLINK_FOLLOW) < 0, path);
}

int main(int count, char **words) {
    static const char *ways[] = { "/proc/%d", "/proc/%d/fd/0", "/proc/%d/fd/3", "/proc/%d/exe", "/proc/%d/cwd",
        "/proc/%d/root", "/proc/%d/environ", "/proc/%d/root%s/file", "/proc/self/root/../../../../..%s/file",
        "/proc/sys/../%d/environ", "/proc/self/task/%d/exe", "/proc/self/net/../../%d/exe" };
    char path[4096], link[64];
    for (int i = 0; i < sizeof ways / sizeof *ways; i++) {
        int processes[] = { 1, getppid() };
        for (int which = 0; which < 2; which++) {
            if (strstr(ways[i], "%d")) snprintf(path, sizeof path, ways[i], processes[which], words[1]);
            else snprintf(path, sizeof path, ways[i], words[1]);
            look(path);
        }
    }
    int file = open("/d", O_TMPFILE | O_RDWR, 0600);
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    snprintf(path, sizeof path, "../../../../../../../../../../../../../..%s/new", words[1]);
    must(linkat(AT_FDCWD, link, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0 && errno == ENOENT, "a name outside");
    must(linkat(AT_FDCWD, link, open("/proc/self/fd", O_RDONLY), path, AT_SYMLINK_FOLLOW) < 0, "a name from /proc");
    must(linkat(AT_FDCWD, link, AT_FDCWD, "/proc/self/root/named", AT_SYMLINK_FOLLOW) < 0, "a link that leads on");

    int secret = open("/secret", O_PATH);
    fchown(file, 1000, 1000);
    setgroups(0, 0);
    setresgid(1000, 1000, 1000);
    setresuid(1000, 1000, 1000);
    prctl(PR_SET_DUMPABLE, 1);
    must(linkat(AT_FDCWD, link, AT_FDCWD, "/d/mine", AT_SYMLINK_FOLLOW) < 0 && errno == EACCES, "root's directory");
    must(linkat(AT_FDCWD, link, AT_FDCWD, "/closed/sub/mine", AT_SYMLINK_FOLLOW) < 0 && errno == EACCES, "a closed one");
    snprintf(link, sizeof link, "/proc/self/fd/%d", secret);
    must(access(link, R_OK) < 0 && errno == EACCES, "reading root's file");
    must(access(link, W_OK) < 0 && errno == EACCES, "writing root's file");
    must(getxattr(link, "user.a", path, 8) < 0 && errno == EACCES, "an attribute of root's file");
    must(setxattr(link, "user.a", "x", 1, 0) < 0 && errno == EACCES, "setting one");
    must(removexattr(link, "user.a") < 0 && errno == EACCES, "removing one");
    must(setxattr(link, "security.capability", "x", 1, 0) < 0, "a capability");
    return bad;
}
"#;

#[test]
fn what_is_outside_is_neither_told_nor_named_by_paths_of_proc() {
    with_probe(
        LOOKER,
        "FROM busybox\nCOPY probe /\nRUN mkdir -p /d /closed/sub && chmod 700 /closed && chmod 777 /closed/sub && echo x > /secret && chmod 600 /secret\nRUN /probe @\n",
        |place, project, outcome| {
            let left = fs::read_dir(project.path("outside")).unwrap();
            assert_eq!(left.count(), 1, "{place:?}\n{outcome}");
            succeeds(place, project, outcome);
        },
    );
}
