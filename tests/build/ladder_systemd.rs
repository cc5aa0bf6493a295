//! The isolation ladder and programs that look at /proc before they do their work: systemd's own, and shells that
//! hand pipes on as files.

use super::common::User;
use super::ladder::Place;
use super::ladder_debian::{assert_same, fetching, packages, with_debian, with_packages};

/// Machine ids, keys, logs and caches are others in every build. Layers have no access lists: what a step sets is
/// looked at in the step itself.
const DOCKERFILE: &str = r#"
    FROM debian
    RUN --mount=source=packages,target=/packages --mount=type=cache,target=/var/cache/apt \
        apt-get install -y --no-install-recommends /packages/*.deb \
     && rm -rf /etc/machine-id /var/lib/dbus/machine-id /etc/ssh/ssh_host_* /var/log/apt /var/log/*.log \
        /var/cache/ldconfig /var/lib/apt/lists/* && getfacl -pR /var/log/journal > /seen && grep -q group:adm /seen
    RUN stat -c "%n %U:%G %a" /var/log/journal /run/* /var/lib/systemd/* >> /seen \
     && grep -q :systemd-journal /seen
    RUN echo "d /made 0750 root adm" > /etc/tmpfiles.d/x.conf && echo "f /made/file 0640 - - - content" >> /etc/tmpfiles.d/x.conf \
     && echo "a+ /made/file - - - - u:daemon:r" >> /etc/tmpfiles.d/x.conf && echo "t /made/file - - - - user.x=y" >> /etc/tmpfiles.d/x.conf \
     && systemd-tmpfiles --create x.conf && stat -c "%n %U:%G %a %s" /made /made/file >> /seen && getfacl -p /made/file >> /seen
    RUN mountpoint -q /proc && mountpoint -q / && ! mountpoint -q /etc && test "$(stat -f -c %T /proc /proc/self | sort -u)" = proc \
     && df --output=target / >> /seen && awk '$2 == "/proc" { print $2, $3 }' /proc/mounts >> /seen
    SHELL ["bash", "-c"]
    RUN diff <(sort /etc/passwd) <(sort -r /etc/passwd | sort) && test -e <(true) && test -p <(true) && ! test -e /dev/fd/77 \
     && comm -12 <(printf 'a\nb\n') <(printf 'b\nc\n') >> /seen && cp <(echo copied) /copied && [ -r /dev/stdin ] && [ -c /dev/stdin ] \
     && install -m 600 /dev/stdin /installed <<< installed && cat /copied /installed >> /seen
    RUN cp -a --preserve=all /made /again && tar --xattrs -cf /made.tar -C / made && mkdir /third \
     && tar --xattrs -xpf /made.tar -C /third && rm /made.tar && getfattr -d /third/made/file /again/file >> /seen
"#;

#[test]
fn packages_of_systemd_are_the_same_with_and_without_mounts() {
    if !User::is_root() {
        return;
    }
    let fetching = fetching("systemd dbus openssh-server acl attr");
    let packages = packages(&fetching);
    let mut places = Place::all();
    // In a user namespace systemd leaves alone what it may not change.
    places.retain(|place| !matches!(place, Place::UserRange(_) | Place::UserSingle(_)));
    let mut digests = Vec::new();
    for place in places {
        let project = with_packages(with_debian().dockerfile(DOCKERFILE), &packages);
        let built = place.build(&project).success();
        project.is_sound();
        digests.push((place, built.digest()));
    }
    assert_same(&digests);
}
