//! Notes are the builder's own: what commands, layers and archives say in attributes of such names is no
//! note, and commands do not see those that there are.

use std::path::Path;
use std::process::Command;

use crate::common::Project;
use crate::ladder::Place;

/// Sets, reads, lists and removes attributes, in every way that the kernel has; each call that a command
/// may try is one line of a script: `attribute HOW PATH NAME [VALUE]`.
const PROGRAM: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static char name[64], value[64], path[256];
static volatile int done;

static void *swap(void *unused) {
    while (!done) { name[6] = 'x'; name[6] = 'u'; }
    return unused;
}

static long old(long number) {
    long code = number;
#ifdef __x86_64__
    __asm__ volatile("int $0x80" : "+a"(code)
        : "b"(path), "c"(name), "d"(value), "S"(strlen(value)), "D"(0) : "memory");
#else
    code = -ENOSYS;
#endif
    errno = code < 0 ? -code : 0;
    return code < 0 ? -1 : code;
}

int main(int count, char **words) {
    if (count < 3) return 9;
    char *how = words[1];
    strncpy(path, words[2], sizeof path - 1);
    if (count > 3) strncpy(name, words[3], sizeof name - 1);
    if (count > 4) strncpy(value, words[4], sizeof value - 1);
    char note[20] = {0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 'b', 'u', 'i', 'l', 'd', 'o', 'w', 'n'};
    long code = -1;
    if (!strcmp(how, "set")) code = setxattr(path, name, value, strlen(value), 0);
    if (!strcmp(how, "lset")) code = lsetxattr(path, name, value, strlen(value), 0);
    if (!strcmp(how, "fset")) code = fsetxattr(open(path, O_RDONLY), name, value, strlen(value), 0);
    if (!strcmp(how, "old")) code = old(226);
    if (!strcmp(how, "at")) {
        struct { unsigned long long value; unsigned size, flags; } all = {(unsigned long)value, strlen(value), 0};
        code = syscall(463, AT_FDCWD, path, 0, name, &all, sizeof all);
    }
    if (!strcmp(how, "special")) code = lsetxattr(path, "security.capability", note, 20, 0);
    if (!strcmp(how, "cap")) {
        char capability[20] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 4};
        code = setxattr(path, "security.capability", capability, 20, 0);
    }
    if (!strcmp(how, "remove")) code = lremovexattr(path, name);
    if (!strcmp(how, "race")) {
        pthread_t other;
        pthread_create(&other, 0, swap, 0);
        for (int turn = 0; turn < 20000; turn++) setxattr(path, name, value, strlen(value), 0);
        done = 1;
        pthread_join(other, 0);
        code = 0;
    }
    if (!strcmp(how, "get")) {
        code = lgetxattr(path, name, value, sizeof value - 1);
        if (code >= 0) printf("%.*s\n", (int)code, value);
    }
    if (!strcmp(how, "list")) {
        char names[4096];
        long needed = llistxattr(path, 0, 0);
        code = llistxattr(path, names, sizeof names);
        if (needed < code) printf("%ld is not %ld\n", needed, code);
        if (code > 0 && llistxattr(path, names, 1) != -1) puts("a byte is enough");
        llistxattr(path, names, sizeof names);
        for (long at = 0; at < code; at += strlen(names + at) + 1) puts(names + at);
    }
    if (!strcmp(how, "chown")) code = fchownat(strlen(path) ? 77 : AT_FDCWD, "x", 1, 1, 0);
    if (!strcmp(how, "long")) {
        char *far = malloc(6000);
        memset(far, 'a', 5999);
        far[5999] = 0;
        code = chown(far, 1, 1);
    }
    if (!strcmp(how, "pipe")) code = fchown(1, 33, 33);
    if (code < 0) printf("error %d\n", errno);
    return code < 0;
}
"#;

/// A project with the program in its context; `None` if there is no compiler.
fn project() -> Option<Project> {
    Project::with_busybox()?.program("attribute", PROGRAM)
}

/// What a build at a place makes: `tar -tv` of its root, without times, sorted.
fn made_at(place: &Place, dockerfile: &str) -> Option<Vec<String>> {
    let project = place.owning(project()?.dockerfile(dockerfile));
    let archive = project.path("out.tar");
    let directory = archive.parent()?.join("results");
    std::fs::create_dir_all(&directory).unwrap();
    if let Place::UserRange(user) | Place::UserSingle(user) = place {
        std::os::unix::fs::chown(&directory, Some(user.uid), Some(user.gid)).unwrap();
    }
    let archive = directory.join("out.tar");
    let output = format!("type=tar,dest={}", archive.display());
    place.build(&project).output_to(&output).success();
    project.is_sound();
    Some(listed(&archive))
}

fn listed(archive: &Path) -> Vec<String> {
    let output = Command::new("tar")
        .args(["--numeric-owner", "-tvf"])
        .arg(archive)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Mode, owner, and the name after size, day and time; for a device there is no size.
        format!("{} {} {}", words[0], words[1], words[5..].join(" "))
    };
    text.lines().map(line).collect()
}

/// The places where the program finds out what there is to find out.
fn places() -> Vec<Place> {
    let mut places = Place::all();
    places.retain(|place| !matches!(place, Place::Container(_)));
    places
}

/// Builds a Dockerfile on all rungs, where these lines are in the listing of what it made.
fn everywhere(dockerfile: &str, lines: &[&str]) {
    at(places(), dockerfile, lines);
}

fn at(places: Vec<Place>, dockerfile: &str, lines: &[&str]) {
    for place in places {
        let Some(listed) = made_at(&place, dockerfile) else {
            return;
        };
        for line in lines {
            let is_there = listed.iter().any(|listed| listed == line);
            let made: Vec<&String> = listed
                .iter()
                .filter(|line| !line.contains("bin/"))
                .collect();
            assert!(is_there, "no `{line}` at {place:?}: {made:#?}");
        }
    }
}

#[test]
fn what_a_command_writes_into_attributes_is_no_note() {
    everywhere(
        r#"
        FROM busybox
        COPY attribute /
        RUN mkdir /d && chmod 777 /d && touch /noted && chown 5:6 /noted && chmod 4757 /noted
        USER 13:13
        RUN cd /d && for how in set lset fset at old; do cp /bin/busybox $how; chmod 4755 $how; \
            /attribute $how $how user.builder.owner 0:0; touch disk-$how; /attribute $how disk-$how user.builder.device "b 8:0"; \
            done; cp /bin/busybox race; chmod 4755 race; /attribute race race user.builder.owner 0:0; \
            cp /bin/busybox raced; /attribute race raced user.builder.device "b 8:0"; true
        RUN /attribute remove /noted user.builder.owner; ln -s x /d/link; /attribute special /d/link; true
        "#,
        &[
            "-rwsr-xr-x 13/13 d/set",
            "-rwsr-xr-x 13/13 d/lset",
            "-rwsr-xr-x 13/13 d/fset",
            "-rwsr-xr-x 13/13 d/at",
            "-rwsr-xr-x 13/13 d/old",
            "-rwsr-xr-x 13/13 d/race",
            "-rw-r--r-- 13/13 d/disk-set",
            "-rw-r--r-- 13/13 d/disk-lset",
            "-rw-r--r-- 13/13 d/disk-fset",
            "-rw-r--r-- 13/13 d/disk-at",
            "-rw-r--r-- 13/13 d/disk-old",
            "-rwxr-xr-x 13/13 d/raced",
            "-rwsr-xrwx 5/6 noted",
            "lrwxrwxrwx 13/13 d/link -> x",
        ],
    );
}

#[test]
fn what_root_writes_into_attributes_is_no_note() {
    everywhere(
        r#"
        FROM busybox
        COPY attribute /
        RUN touch /f /disk && mkdir /d && ln -s x /d/link; /attribute set /f user.builder.owner 7:8; \
            /attribute special /d/link; /attribute set /disk user.builder.device "b 8:0"; true
        RUN chmod 600 /f /disk
        "#,
        &[
            "-rw------- 0/0 f",
            "-rw------- 0/0 disk",
            "lrwxrwxrwx 0/0 d/link -> x",
        ],
    );
}

#[test]
fn attributes_of_users_are_set_read_and_removed_on_every_rung() {
    everywhere(
        r#"
        FROM busybox
        COPY attribute /
        RUN touch /f && chown 5:6 /f && for how in set lset fset old; do /attribute $how /f user.$how $how || exit 1; done
        RUN test "$(/attribute get /f user.lset)" = lset && /attribute remove /f user.lset && ! /attribute get /f user.lset
        RUN /attribute list /f | sort > /names && test "$(echo $(cat /names))" = "user.fset user.old user.set" || { od -c /names; false; }
        RUN test "$(/attribute get /f user.builder.owner)" = "error 61" && ! /attribute set /none user.a b
        RUN test "$(/attribute set /f wrong a)" = "error 95" && test "$(/attribute set /f user. a)" = "error 22"
        RUN touch /own && chmod 600 /own && chmod 777 /tmp
        USER 13:13
        RUN touch /tmp/mine && /attribute set /tmp/mine user.a b
        RUN test "$(/attribute special /tmp/mine)" = "error 1"
        "#,
        &["-rw-r--r-- 5/6 f", "-rw-r--r-- 13/13 tmp/mine"],
    );
}

#[test]
fn owners_are_not_copied_along_with_attributes() {
    everywhere(
        r"
        FROM busybox
        COPY attribute /
        RUN mkdir /d && touch /d/f && chown -R 5:6 /d && /attribute set /d/f user.a b
        RUN /attribute list /d/f > /names && for name in $(cat /names); do \
            touch /copy; /attribute set /copy $name $(/attribute get /d/f $name) || exit 1; done; test $(wc -l < /names) = 1
        ",
        &["-rw-r--r-- 5/6 d/f", "-rw-r--r-- 0/0 copy"],
    );
}

#[test]
fn directories_hand_their_group_on() {
    everywhere(
        r"
        FROM busybox
        RUN mkdir /d && chgrp 50 /d && chmod 2775 /d && touch /d/f /x /y && mkdir /d/s && touch /d/s/g && ln -s x /d/s/l && mkfifo /d/s/p
        RUN touch /d/later && mkdir /d/s/t && touch /d/s/t/u && chown 0:0 /d/later && mv /bin/vi /d && touch /d/s/given && chown 7:50 /d/s/given
        RUN mkdir /plain && chgrp 51 /plain && touch /plain/f && chmod 2777 /d /d/s
        USER 13:13
        RUN touch /d/mine && mkdir /d/mined && touch /d/mined/f
        ",
        &[
            "drwxrwsrwx 0/50 d/",
            "-rw-r--r-- 0/50 d/f",
            "drwxrwsrwx 0/50 d/s/",
            "-rw-r--r-- 0/50 d/s/g",
            "lrwxrwxrwx 0/50 d/s/l -> x",
            "prw-r--r-- 0/50 d/s/p",
            "-rw-r--r-- 0/0 d/later",
            "drwxr-sr-x 0/50 d/s/t/",
            "-rw-r--r-- 0/50 d/s/t/u",
            "-rw-r--r-- 7/50 d/s/given",
            "-rw-r--r-- 0/0 plain/f",
            "-rw-r--r-- 13/50 d/mine",
            "drwxr-sr-x 13/50 d/mined/",
            "-rw-r--r-- 13/50 d/mined/f",
        ],
    );
}

#[test]
fn a_device_is_made_in_the_root_of_who_makes_it() {
    let mut places = places();
    // There nobody may change the root: it would be a way out.
    places.retain(|place| !matches!(place, Place::Chroot));
    at(
        places,
        r"
        FROM busybox
        RUN mkdir -p /r/bin /r/dev /r/in && cp /bin/busybox /r/bin/ && ln -s /dev /r/to
        RUN chroot /r /bin/busybox mknod /dev/null c 1 3 && chroot /r /bin/busybox sh -c 'cd /in && busybox mknod ../../../dev/zero c 1 5'
        RUN chroot /r /bin/busybox sh -c 'cd / && /bin/busybox mknod to/full c 1 7 && /bin/busybox mknod /to/tty c 5 0'
        ",
        &[
            "crw-r--r-- 0/0 r/dev/null",
            "crw-r--r-- 0/0 r/dev/zero",
            "crw-r--r-- 0/0 r/dev/full",
            "crw-r--r-- 0/0 r/dev/tty",
        ],
    );
}

#[test]
fn a_change_of_owner_fails_as_everywhere() {
    everywhere(
        r#"
        FROM busybox
        COPY attribute /
        RUN test "$(/attribute chown bad)" = "error 9" && test "$(/attribute long x)" = "error 36"
        RUN /attribute pipe x && chown 33 /dev/stdout && chown 33 /dev/stderr
        "#,
        &[],
    );
}

#[test]
fn capabilities_and_attributes_are_the_same_on_every_rung() {
    let mut digests = Vec::new();
    for place in places() {
        let Some(project) = project() else { return };
        let project = place.owning(project.dockerfile(
            r#"
            FROM busybox
            COPY attribute /
            RUN cp /bin/busybox /b && /attribute cap /b && /attribute set /b user.a b && mkdir /d && chmod 777 /d
            RUN /attribute set /d user.d e && ln -s b /l && /attribute set /l user.by link && test "$(/attribute lset /l user.a b)" = "error 1"
            USER 13:13
            RUN touch /d/f && test "$(/attribute cap /d/f)" = "error 1" && /attribute set /d/f user.x y && touch /d/f
            "#,
        ));
        let built = place.build(&project).success();
        digests.push((place, built.digest()));
    }
    let same = digests.windows(2).all(|pair| pair[0].1 == pair[1].1);
    assert!(same, "{digests:#?}");
}

#[test]
fn attributes_are_set_with_the_rights_of_who_sets_them() {
    let mut places = places();
    // With one id nobody is kept from anything.
    places.retain(|place| !matches!(place, Place::UserSingle(_)));
    for place in places {
        let Some(project) = project() else { return };
        let project = place.owning(project.dockerfile(
            r#"
            FROM busybox
            COPY attribute /
            RUN touch /readable /writable /groups && chmod 666 /writable && chgrp 13 /groups && chmod 664 /groups
            USER 13:13
            RUN test "$(/attribute set /readable user.a b)" = "error 13" && /attribute set /writable user.a b
            RUN /attribute set /groups user.a b && test "$(/attribute remove /readable user.a)" = "error 13"
            USER root
            RUN chmod 000 /readable && /attribute set /readable user.a b
            "#,
        ));
        place.build(&project).success();
    }
}
