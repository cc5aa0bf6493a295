//! The isolation ladder with programs that become somebody else: whose what they make is, and who they
//! and others take them for, is the same on every rung.

use super::ladder::{Place, same_at, same_everywhere};

/// Places where programs can gain privileges: without namespaces nothing does.
fn with_set_id() -> Vec<Place> {
    let all = Place::all().into_iter();
    all.filter(|place| !matches!(place, Place::Chroot | Place::Container(_)))
        .collect()
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
        RUN touch /tmp/b && chmod 4755 /tmp/b && mv /tmp/b /tmp/c && ln -s c /tmp/l && echo x >> /tmp/a/f
        USER 77:88
        RUN touch /tmp/numbers && stat -c %u:%g /tmp/numbers >> /tmp/numbers && id -G >> /tmp/numbers
        ",
    );
}

#[test]
fn set_id_programs_are_who_they_say_where_programs_gain_privileges() {
    same_at(
        &with_set_id(),
        r"
        FROM busybox
        RUN cp /bin/busybox /bin/id0 && cp /bin/busybox /bin/sh0 && ln -s id0 /bin/id1
        RUN cp /bin/busybox /stat && chown user:extra /stat && chmod 6755 /stat && cp -a /stat /tmp/touch
        RUN /tmp/touch /tmp/by-set-id && /stat -c %u:%g /tmp/by-set-id > /seen
        USER 77
        RUN /tmp/touch /tmp/by-user && stat -c %u:%g /tmp/by-user > /tmp/seen
        ",
    );
}
