//! The isolation ladder with programs that become somebody else: whose what they make is, and who they
//! and others take them for, is the same on every rung.

use crate::common::Project;
use crate::ladder::{Place, same_everywhere, same_of};

/// A program that becomes somebody, tells who it is, and makes things in every way that the kernel has.
const ACTOR: &str = include_str!("actor.c");

/// Places with namespaces; in others programs gain no privileges.
fn with_namespaces() -> Vec<Place> {
    let all = Place::all().into_iter();
    all.filter(|place| !matches!(place, Place::Chroot | Place::Container(_)))
        .collect()
}

/// Builds a Dockerfile with that program everywhere, and asserts that the image is the same.
fn same_with_actor(places: &[Place], dockerfile: &str) {
    let project = || Project::with_busybox()?.program("actor", ACTOR);
    same_of(places, &project, dockerfile);
}

#[test]
fn what_another_user_makes_is_that_users_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        RUN su user -c 'umask 027; mkdir /tmp/d && cd /tmp/d && echo a > f && ln -s f l && mkfifo p && mv f g && id' > /seen
        RUN su user -c 'cd /tmp/d && stat -c %u:%g:%n g l p . && id -un && test -O g && ! test -O /seen' >> /seen
        RUN cd /tmp/d && ln -s made dangling && ln -s /tmp/d/far dangling2 && su user -c 'echo x > dangling; echo y >> /tmp/d/dangling2; echo z >> g'
        RUN su user -c 'cp -p /tmp/d/g /tmp/copied; (echo x > /tmp/late; mv /tmp/late /tmp/later) & wait; ln /tmp/later /tmp/linked' && touch /tmp/of-root
        RUN start-stop-daemon -S -c user:extra -x /bin/sh -- -c 'echo b > /tmp/started; id -g >> /tmp/started'
        ",
    );
}

#[test]
fn whoever_makes_something_in_whatever_way_owns_it_on_every_rung() {
    same_with_actor(
        // By chroot nobody can execute /proc/self/exe, as this does.
        &with_namespaces(),
        r"
        FROM busybox
        COPY actor /bin/
        RUN actor make /tmp/root && actor as 1000 1000 2000 make /tmp/user && actor as 7 8 9 told > /seen && actor told >> /seen
        RUN actor for-a-while 1000 /tmp/effective /tmp/back >> /seen && actor fsuid 1000 /tmp/for-files >> /seen
        RUN actor as 1000 1000 5 limits && actor as 1000 1000 5 touch /tmp/limited && stat -c %u:%g:%n /tmp/user/* /tmp/* >> /seen
        RUN mkdir -m 2777 /tmp/shared && chown 5:6 /tmp/shared && chmod 2777 /tmp/shared && actor as 7 8 9 make /tmp/shared/7
        USER user
        RUN actor make /tmp/of-user && actor told > /tmp/told && stat -c %u:%g:%n /tmp/of-user/* >> /tmp/told
        ",
    );
}

#[test]
fn what_threads_make_at_once_is_their_users_on_every_rung() {
    same_with_actor(
        &Place::all(),
        r"
        FROM busybox
        COPY actor /bin/
        USER user
        RUN actor race /tmp/race && find /tmp/race | wc -l > /tmp/seen && cat /tmp/seen
        ",
    );
}

#[test]
fn a_socket_tells_who_its_other_end_is_on_every_rung() {
    same_with_actor(
        &Place::all(),
        r#"
        FROM busybox
        COPY actor /bin/
        RUN actor peer > /seen && cat /seen && test "$(cat /seen)" = "$(printf 'server 0:0\nclient 1000:1000 12')"
        "#,
    );
}

#[test]
fn users_give_nothing_away_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        RUN su user -c 'cd /tmp && touch mine && ! chown 0 mine && chgrp extra mine && ! chgrp 77 mine && ! chown user /etc/passwd' 2> /dev/null
        RUN cp /bin/busybox /tmp/set && chown user /tmp/set && su user -c 'chmod 4711 /tmp/set && touch /tmp/set'
        RUN su user -c '! mknod /tmp/null c 1 3 && ! chroot / true' 2> /dev/null
        RUN su user -c 'su -c true root < /dev/null' 2> /dev/null || echo no > /said
        ",
    );
}

#[test]
fn what_a_user_may_not_do_is_the_same_on_every_rung() {
    same_everywhere(
        r#"
        FROM busybox
        RUN mkdir -p /srv/app/sub /sticky /open && chmod 1777 /sticky && chmod 777 /open && echo x > /sticky/of-root && echo x > /open/of-root && echo x > /srv/app/file && chmod 666 /srv/app/file
        RUN mkdir -m 775 /team && chown 0:2000 /team && install -d -m 700 -o 1000 /private 2> /dev/null || { mkdir -m 700 /private && chown 1000 /private; }
        USER user
        RUN set +e; try() { "$@" > /dev/null 2>&1; echo "$? $*"; }; \
            { try touch /srv/app/new; try mkdir /srv/app/new; try ln -s x /srv/app/new; try mkfifo /srv/app/new; try ln /srv/app/file /srv/app/new; \
              try sh -c 'echo y >> /srv/app/file'; try sh -c 'echo y >> /open/of-root'; try rm /open/of-root; try rm -f /sticky/of-root; try mv /sticky/of-root /sticky/mine; \
              try mv /srv/app/file /tmp/file; try rmdir /srv/app/sub; try rm /srv/app/none; try mkdir /srv/app/sub; try touch /sticky/mine; try rm /sticky/mine; \
              try test -w /srv/app; try test -w /srv/app/file; try test -x /etc/passwd; try test -w /team; try touch /team/new; try touch /private/new; try test -r /private; \
              try mkdir -p /tmp/a/b/; try rmdir /tmp/a/b/; try sh -c ': > /etc/passwd'; try sh -c 'echo > /dev/null'; try test -w /dev/null; try test -w /; } > /tmp/seen
        RUN cat /tmp/seen
        "#,
    );
}

#[test]
fn only_owners_change_modes_and_times_on_every_rung() {
    same_with_actor(
        &Place::all(),
        r#"
        FROM busybox
        COPY actor /bin/
        RUN mkdir /srv /srv/app && cd /srv/app && touch file open private && chmod 666 open && chmod 600 private && mkdir -m 777 /all && cp /bin/busybox /all/set && chmod 4777 /all/set
        USER user
        RUN set +e; try() { "$@" > /dev/null 2>&1; echo "$? $*"; }; cd /srv/app; touch /tmp/mine;             { try chmod 777 file; try chmod 777 .; try touch -d 2001-01-01 file; try touch -d 2001-01-01 open; try touch open; try touch .; try touch -d 2001-01-01 /all;               try chmod 600 /tmp/mine; try touch -d 2001-01-01 /tmp/mine; try actor times open; try actor times file; try actor times /tmp/mine;               try actor acl open system.posix_acl_access 1000; try actor attribute open; try actor attribute file; try actor attribute /tmp/mine; } > /tmp/seen
        RUN set +e; try() { "$@" > /dev/null 2>&1; echo "$? $*"; }; cd /srv/app;             { try ln open /tmp/open; try ln file /tmp/file; try ln private /tmp/private; try ln file /tmp/seen; try ln /tmp/mine /tmp/again; try ln /all/set /tmp/set; try ln /tmp/mine /srv/app/mine; } > /tmp/linked
        RUN cat /tmp/seen /tmp/linked
        "#,
    );
}

#[test]
fn a_cache_of_root_is_no_user_s_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        RUN --mount=type=cache,target=/cache touch /cache/of-root && mkdir -m 777 /cache/open
        USER user
        RUN --mount=type=cache,target=/cache cd /cache && ! touch new 2> /dev/null && ! chmod 777 . 2> /dev/null && ! rm -f of-root 2> /dev/null && ! test -w of-root && touch open/mine
        RUN --mount=type=cache,target=/cache stat -c %u:%g /cache/of-root /cache/open/mine > /tmp/seen && rm /cache/open/mine
        RUN --mount=type=cache,target=/mine,uid=1000 touch /mine/file && chmod 700 /mine/file /mine && rm /mine/file
        ",
    );
}

#[test]
fn who_fails_to_execute_something_stays_who_it_is_on_every_rung() {
    same_with_actor(
        &with_namespaces(),
        r"
        FROM busybox
        COPY actor /bin/
        RUN mkdir /set && mkfifo /set/fifo && echo garbage > /set/garbage && cp /bin/actor /set/closed && cp /bin/actor /set/plain && chmod 4777 /set/fifo /set/garbage && chmod 4750 /set/closed && chmod 644 /set/plain
        USER user
        RUN for what in fifo garbage closed plain; do actor try /set/$what; done > /tmp/seen; actor for-a-while 0 /tmp/a /tmp/b > /dev/null
        USER root
        RUN actor for-nothing 1000 /set/plain >> /tmp/seen; cat /tmp/seen
        ",
    );
}

#[test]
fn links_to_standard_output_are_given_away_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        RUN ln -s /dev/stdout /tmp/log && ln -s log /tmp/link && chown user /tmp/log /tmp/link /dev/stderr && chown user /proc/self/fd/1 && touch /tmp/file && ln -s file /tmp/to-file && chown user:extra /tmp/to-file && chown -h 5 /tmp/log
        ",
    );
}

#[test]
fn processes_are_found_by_their_user_on_every_rung() {
    // By chroot there are no files in /proc to be looked at.
    let mut places = Place::all();
    places.retain(|place| !matches!(place, Place::Chroot | Place::Container(_)));
    same_with_actor(
        &places,
        r"
        FROM busybox
        COPY actor /bin/
        RUN su user -c 'exec actor sleep' & sleep 0.3; stat -c %u:%g /proc/$! /proc/$!/ > /seen; start-stop-daemon -K -q -u user -n actor; echo $? >> /seen
        USER user
        RUN stat -c %u:%g /proc/$$ > /tmp/seen
        ",
    );
}

#[test]
fn directories_hand_their_group_to_what_another_user_makes_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        RUN mkdir -m 2777 /shared && chown 5:6 /shared && chmod 2777 /shared && su user -c 'touch /shared/f && mkdir /shared/d && touch /shared/d/g'
        RUN su user -c 'stat -c %u:%g:%a:%n /shared/f /shared/d/g' > /seen && touch /shared/of-root
        ",
    );
}

#[test]
fn a_user_finds_its_own_files_its_own_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        USER user
        WORKDIR /tmp/work
        RUN mkdir /tmp/a && touch /tmp/a/f && test -O /tmp/a/f && stat -c %U:%G /tmp/a /tmp/a/f > /tmp/seen && id >> /tmp/seen
        RUN --mount=type=cache,target=/tmp/cache,uid=1000 touch /tmp/cache/mine && test -O /tmp/cache/mine
        RUN --mount=type=cache,target=/tmp/cache,uid=1000 stat -c %u:%g /tmp/cache /tmp/cache/mine >> /tmp/seen
        RUN --mount=type=secret,id=s,uid=1000,gid=5 stat -c %u:%g:%a /run/secrets/s >> /tmp/seen
        RUN touch /tmp/b && chmod 4755 /tmp/b && mv /tmp/b /tmp/c && ln -s c /tmp/l && echo x >> /tmp/a/f
        USER 77:88
        RUN touch /tmp/numbers && stat -c %u:%g /tmp/numbers >> /tmp/numbers && id -G >> /tmp/numbers
        ",
    );
}

#[test]
fn set_id_programs_are_who_they_say_where_programs_gain_privileges() {
    same_with_actor(
        &with_namespaces(),
        r"
        FROM busybox
        COPY --chown=user:extra --chmod=6755 actor /bin/user-actor
        COPY --chmod=4755 actor /bin/root-actor
        COPY --chmod=755 actor /bin/actor
        RUN user-actor told > /seen && user-actor touch /tmp/by-set-id && actor as 7 8 9 told >> /seen && printf '#!/bin/actor told\n' > /bin/script && chmod 4755 /bin/script
        USER 77
        RUN user-actor told > /tmp/seen && root-actor told >> /tmp/seen && user-actor touch /tmp/by-user && script >> /tmp/seen
        RUN root-actor touch /tmp/by-root && actor touch /tmp/by-77 && root-actor as 5 6 7 told >> /tmp/seen && root-actor as 5 6 7 touch /tmp/by-5
        ",
    );
}

#[test]
fn acls_set_modes_and_are_not_kept_on_every_rung() {
    same_with_actor(
        &Place::all(),
        r"
        FROM busybox
        COPY actor /bin/
        RUN touch /file && mkdir /d && actor acl /file system.posix_acl_access 1000 && actor acl /d system.posix_acl_default 1000 && mkdir /d/sub && (umask 077; touch /d/masked)
        RUN mkdir /d/later && (umask 027; touch /d/made /d/sub/made) && stat -c %a:%n /file /d/* /d/sub/* > /seen
        ",
    );
}
