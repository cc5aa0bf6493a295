//! The isolation ladder and /proc: what its links lead to can be looked at, named and marked on every rung,
//! also where /proc is an ordinary directory.

use super::common::Project;
use super::escapes::compile;
use super::ladder::Place;
use super::ladder_debian::assert_same;

/// Builds a Dockerfile at some places, with a compiled `probe` in the context, and asserts that the image is the
/// same.
fn same_with_probe(places: Vec<Place>, source: &str, dockerfile: &str) {
    let mut digests = Vec::new();
    for place in places {
        let Some(project) = Project::with_busybox() else {
            return;
        };
        let project = place.owning(project.dockerfile(dockerfile));
        if compile(&project, "probe", source).is_none() {
            return;
        }
        let built = place.build(&project).success();
        project.is_sound();
        digests.push((place, built.digest()));
    }
    assert_same(&digests);
}

/// Writes down what paths say, each in several ways of asking.
const LOOKER: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void look(const char *path, int modes) {
    struct stat status;
    /* struct statx: not every C library has it. */
    unsigned states[64] = { 0 };
    int told = stat(path, &status);
    printf("%s: ", path);
    if (told == 0) printf("%o %d %d ", status.st_mode, status.st_uid, status.st_gid);
    else printf("%s ", strerror(errno));
    told = syscall(SYS_statx, AT_FDCWD, path, 0, 0x7ff, states);
    if (told == 0) printf("%o %d %d ", states[7] & 0xffff, states[5], states[6]);
    if (told == 0 && *(unsigned long *)&states[8] != status.st_ino) printf("not the same ");
    for (int mode = 0; mode < 8; mode++)
        if ((mode & ~modes) == 0) printf("%d%d%d ", access(path, mode) == 0, faccessat(AT_FDCWD, path, mode, 0) == 0,
            syscall(439, AT_FDCWD, path, mode, AT_EACCESS) == 0);
    printf("\n");
}

int main(int count, char **words) {
    char link[64];
    int ends[2];
    pipe(ends);
    int file = open("/file", O_CREAT | O_RDWR, 0640);
    write(file, "1234567", 7);
    int place = open("/file", O_PATH);
    int directory = open("/etc", O_RDONLY | O_DIRECTORY);
    int many[] = { ends[0], ends[1], file, place, directory, 99 };
    for (int i = 0; i < sizeof many / sizeof *many; i++) {
        static const char *ways[] = { "/proc/self/fd/%d", "/dev/fd/%d", "//proc/./self/fd//%d", "/proc/thread-self/fd/%d" };
        for (int way = 0; way < 4; way++) {
            snprintf(link, sizeof link, ways[way], many[i]);
            look(link, 7);
        }
    }
    char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int before = 0; before < 16; before++) {
        char *path = pages + 4096 - before;
        strcpy(path, "/proc/self/fd/5");
        printf("%d ", access(path, W_OK) == 0 && close(open(path, O_RDWR)) == 0);
    }
    struct stat one, other;
    snprintf(link, sizeof link, "/proc/self/fd/%d", place);
    printf("%d\n", stat(link, &one) == 0 && fstat(file, &other) == 0 && one.st_ino == other.st_ino
        && one.st_dev == other.st_dev && one.st_size == 7);
    snprintf(link, sizeof link, "/proc/%d/fd/%d", getpid(), file);
    printf("%d\n", stat(link, &one) == 0 && one.st_ino == other.st_ino);
    snprintf(link, sizeof link, "/proc/%d", getpid());
    printf("%d %d\n", stat(link, &one) == 0 && S_ISDIR(one.st_mode), stat("/proc/99999999", &one));
    stat("/proc/self/exe", &one);
    printf("%d\n", stat(words[0], &other) == 0 && one.st_ino == other.st_ino && one.st_size == other.st_size);
    printf("%d\n", syscall(SYS_newfstatat, AT_FDCWD, "/proc/self/exe", 0, 0) < 0 && errno == EFAULT);
    printf("%d\n", syscall(SYS_newfstatat, AT_FDCWD, 0, &one, 0) < 0 && errno == EFAULT);
    for (int i = 1; i < count; i++) look(words[i], 5);
    return 0;
}
"#;

#[test]
fn what_a_link_of_proc_leads_to_is_told_on_every_rung() {
    same_with_probe(
        Place::all(),
        LOOKER,
        "
        FROM busybox
        COPY probe /
        RUN echo in | /probe /dev/stdin /dev/stdout /proc/self/exe /proc/self/cwd > /seen
        RUN test -s /dev/stdin < /etc/passwd && ! test -s /dev/stdin && : | test -p /dev/stdin
        RUN sleep 1 & pid=$!; test -d /proc/$pid -a -e /proc/$pid/stat; wait; ! test -e /proc/$pid
        RUN for i in $(seq 70); do sleep 0.05 & test -d /proc/$! || exit 1; wait; done; test $(ls -d /proc/[0-9]* | wc -l) -lt 70
        ",
    );
}

#[test]
fn files_of_proc_have_the_state_that_the_kernel_gives_them() {
    let mut places = Place::all();
    // In a user namespace root of the machine is nobody.
    places.retain(|place| !matches!(place, Place::UserRange(_) | Place::UserSingle(_)));
    same_with_probe(
        places,
        LOOKER,
        "
        FROM busybox
        COPY probe /
        RUN cd /etc && /probe /dev/stdin /dev/stderr /proc/self/root /proc/cpuinfo /proc/self/status \
            /proc/sys/kernel/pid_max /proc/self/comm /proc/no /proc/self/no < /etc/passwd > /seen
        RUN chown user /file
        USER user
        RUN cd /tmp && /probe /dev/stdin /proc/self/cwd /proc/self/status /proc/cpuinfo < /etc/passwd > seen
        ",
    );
}

/// Gives files that it has open names and attributes, by the links of /proc.
const PUBLISHER: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static int bad;
static void must(int holds, const char *what) {
    if (!holds) { printf("not so: %s (%s)\n", what, strerror(errno)); bad = 1; }
}
static char *link_of(int file) {
    static char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    return link;
}
static int publish(int file, int directory, const char *name) {
    return linkat(AT_FDCWD, link_of(file), directory, name, AT_SYMLINK_FOLLOW);
}

int main(void) {
    char value[64];
    mkdir("/d", 0755);
    mkdir("/d/sub", 0700);
    symlink("/d/sub", "/d/to");
    int directory = open("/d", O_RDONLY | O_DIRECTORY);
    int file = open("/d", O_TMPFILE | O_RDWR, 0640);
    must(file >= 0, "a file without a name");
    write(file, "published\n", 10);
    must(publish(file, AT_FDCWD, "/d/published") == 0, "an absolute name");
    must(publish(file, AT_FDCWD, "/d/published") < 0 && errno == EEXIST, "a name that is there");
    must(publish(file, directory, "sub/../second") == 0, "a name in a directory");
    must(publish(file, directory, "to/third") == 0, "a name behind a link");
    must(publish(file, directory, "no/fourth") < 0 && errno == ENOENT, "a directory that is not there");
    must(publish(file, directory, "slash/") < 0 && errno == ENOENT, "a directory's name");
    must(publish(file, directory, "") < 0 && errno == ENOENT, "no name");
    must(publish(file, directory, "..") < 0 && errno == EEXIST, "the parent");
    must(publish(99, directory, "x") < 0 && errno == ENOENT, "nothing is open there");
    must(publish(directory, directory, "x") < 0 && errno == EPERM, "a directory");
    chdir("/d/sub");
    must(publish(file, AT_FDCWD, "here") == 0, "a name in the working directory");
    int gone = open("gone", O_CREAT | O_RDWR, 0600);
    unlink("gone");
    must(publish(gone, AT_FDCWD, "back") < 0 && errno == ENOENT, "what was removed");

    int place = open("here", O_PATH);
    must(setxattr(link_of(place), "user.a", "one", 3, XATTR_CREATE) == 0, "setxattr");
    must(setxattr(link_of(place), "user.a", "one", 3, XATTR_CREATE) < 0 && errno == EEXIST, "what is there");
    must(setxattr(link_of(place), "user.b", "", 0, 0) == 0, "an empty value");
    must(getxattr(link_of(place), "user.a", 0, 0) == 3, "the length");
    must(getxattr(link_of(place), "user.a", value, 2) < 0 && errno == ERANGE, "too little room");
    must(getxattr(link_of(place), "user.a", value, sizeof value) == 3 && memcmp(value, "one", 3) == 0, "getxattr");
    must(getxattr(link_of(place), "user.c", value, sizeof value) < 0 && errno == ENODATA, "no such attribute");
    must(listxattr(link_of(place), 0, 0) == 14, "the length of the list");
    must(listxattr(link_of(place), value, 13) < 0 && errno == ERANGE, "too little room for the list");
    must(listxattr(link_of(place), value, sizeof value) == 14, "listxattr");
    must(removexattr(link_of(place), "user.b") == 0, "removexattr");
    must(removexattr(link_of(place), "user.b") < 0 && errno == ENODATA, "what was removed");
    must(getxattr("here", "user.a", value, sizeof value) == 3, "an ordinary path");
    must(setxattr("/proc/self/fd/99", "user.a", "", 0, 0) < 0 && errno == ENOENT, "nothing open");
    return bad;
}
"#;

#[test]
fn what_is_open_gets_names_and_attributes_by_the_links_of_proc_on_every_rung() {
    same_with_probe(
        Place::all(),
        PUBLISHER,
        "
        FROM busybox
        COPY probe /
        RUN /probe
        RUN stat -c '%n %h %a %s' /d/* /d/sub/here > /seen
        ",
    );
}
