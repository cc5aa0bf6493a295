//! `RUN --mount=type=cache` as builds see it.

use crate::common::{Outcome, Project};

fn build(project: &Project, dockerfile: &str, words: &[&str]) -> Outcome {
    project.put("Dockerfile", crate::common::dedent(dockerfile));
    project.build().words(words).success()
}

#[test]
fn a_cache_is_kept_shared_seeded_and_kept_apart() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    // Kept from one build to the next, found by its id wherever it is mounted, in no layer.
    let write = "
        FROM busybox
        RUN --mount=type=cache,id=one,target=/c echo kept > /c/file
        RUN test ! -e /c
        ";
    build(&project, write, &[]);
    let read = "
        FROM busybox
        RUN --mount=type=cache,id=one,target=/else ls /else | tr a-z A-Z
        RUN --mount=type=cache,id=two,target=/c ls /c | wc -l
        RUN --mount=type=cache,target=one ls /one | tr a-z A-Z; echo x > /one/x
        RUN --mount=type=cache,id=one,target=/c,readonly touch /c/new || echo not written
        ";
    let seen = build(&project, read, &[]);
    seen.says("FILE").says(" 0\n").says("not written");
    // Another namespace has caches of its own.
    let other = ["--no-cache", "--build-arg=BUILDKIT_CACHE_MOUNT_NS=other"];
    build(&project, read, &other).does_not_say("FILE");
    // A fresh one begins with what it is seeded with, owner and mode as asked.
    let seeded = "
        FROM busybox AS seed
        RUN mkdir /seed && echo s > /seed/sown
        FROM busybox
        RUN --mount=type=cache,id=s,target=/c,from=seed,source=/seed,uid=5,gid=6,mode=0750 \
            stat -c '%a %u %g' /c && ls /c | tr a-z A-Z && rm /c/sown
        RUN --mount=type=cache,id=s,target=/c,from=seed,source=/seed,uid=5,gid=6,mode=0750 \
            echo left: $(ls /c)
        ";
    let seen = build(&project, seeded, &[]);
    seen.says("750 5 6").says("SOWN").says("left:\n");
    project.is_sound();
}

#[test]
fn no_cache_begins_with_empty_caches_and_later_builds_go_on_with_them() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let lines = |number: u32| {
        format!(
            "
            FROM busybox
            RUN --mount=type=cache,target=/c echo plain $(ls /c), {number} && touch /c/x{number}
            RUN --mount=type=cache,target=/c echo again $(ls /c), {number} && touch /c/y{number}
            RUN --mount=type=cache,target=/m,mode=0700 echo mode $(ls /m), {number} && touch /m/z{number}
            "
        )
    };
    build(&project, &lines(1), &[]).says("plain , 1");
    let kept = build(&project, &lines(2), &[]);
    kept.says("plain x1 y1, 2")
        .says("again x1 x2 y1, 2")
        .says("mode z1, 2");
    // Once a build: its steps share what they keep.
    let emptied = build(&project, &lines(3), &["--no-cache"]);
    emptied
        .says("plain , 3")
        .says("again x3, 3")
        .says("mode , 3");
    let later = build(&project, &lines(4), &[]);
    later.says("plain x3 y3, 4").says("mode z3, 4");
}

#[test]
fn a_locked_cache_is_one_steps_at_a_time_and_a_private_one_is_nobodys_else() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let parallel = |sharing: &str| {
        let stage = |name: &str| {
            format!(
                "FROM busybox AS {name}\n\
                 RUN --mount=type=cache,id={sharing},target=/c,sharing={sharing} \
                 test ! -e /c/busy || echo MET; touch /c/busy; sleep 1; rm /c/busy; touch /{name}\n"
            )
        };
        let last = "FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n";
        format!("{}{}{last}", stage("a"), stage("b"))
    };
    for sharing in ["locked", "private"] {
        build(&project, &parallel(sharing), &[]).does_not_say(" MET\n");
    }
    // Where all share, both find each other, whoever comes first.
    let stage = |name: &str, other: &str| {
        format!(
            "FROM busybox AS {name}\n\
             RUN --mount=type=cache,id=shared,target=/c touch /c/{name}; \
             for i in $(seq 600); do test -e /c/{other} && echo MET && break; sleep 0.1; done; \
             touch /{name}\n"
        )
    };
    let last = "FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n";
    let shared = format!("{}{}{last}", stage("a", "b"), stage("b", "a"));
    let met = build(&project, &shared, &[])
        .stderr
        .matches(" MET\n")
        .count();
    assert_eq!(met, 2);
}
