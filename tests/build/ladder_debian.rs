//! The isolation ladder with a distribution: packages that make users, set ids and capabilities.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::base::debian;
use super::common::{Project, User};
use super::ladder::Place;

/// A project whose builds know an image `debian`.
fn with_debian() -> Project {
    let flag = format!("--build-context=debian=oci-layout://{}", debian().display());
    Project::new().flag(&flag)
}

/// Packages with all that they need, fetched once: the rungs then need no network.
fn packages(project: &Project) -> Vec<PathBuf> {
    let out = project.path("packages");
    let spec = format!("type=local,dest={}", out.display());
    project.build().output_to(&spec).success();
    let found = fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    found.collect()
}

/// An agent without keys: says so, as often as it is asked.
fn answer(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 5];
            if stream.read_exact(&mut asked).is_ok() && asked == [0, 0, 0, 1, 11] {
                stream.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap();
            }
        }
    });
}

const DOCKERFILE: &str = r#"
    FROM debian
    RUN --mount=source=debs,target=/debs --mount=type=cache,target=/var/cache/apt \
        apt-get install -y --no-install-recommends /debs/*.deb \
     && rm -rf /var/log/apt /var/log/*.log /var/cache/ldconfig /var/lib/apt/lists/* /var/lib/dbus/machine-id
    RUN stat -c "%n %u:%g %a" /usr/bin/ssh-agent /usr/lib/dbus-1.0/dbus-daemon-launch-helper /usr/bin/ping > /seen \
     && getcap /usr/bin/ping >> /seen && getent passwd messagebus >> /seen && grep -q messagebus /seen
    RUN useradd --create-home --uid 1000 app && cp /bin/true /capable && setcap cap_net_raw+ep /capable \
     && cp /bin/true /set && chown app:5 /set && chmod 6755 /set && mkfifo /fifo && chown app /fifo \
     && mknod /device b 8 1 && ln -s nowhere /link && chown -h app:app /link && getcap /capable >> /seen
    RUN perl -e 'mkdir "/many"; for $d (0..99) { mkdir "/many/$d"; for (0..99) { open F, ">/many/$d/$_"; print F $_ } }'
    RUN rm -r /many/7 && mkdir /many/7 && touch /many/7/new && chown -R 5:6 /many/8 && ln /many/1/1 /hard && cp -a /link /many
    RUN perl -MSocket -e 'socket S, AF_UNIX, SOCK_STREAM, 0; bind S, pack_sockaddr_un("/socket") or die' \
     && chown 3:4 /socket && stat -c "%F %u:%g" /socket >> /seen && rm /socket
    RUN --mount=type=ssh perl -MSocket -e 'socket S, AF_UNIX, SOCK_STREAM, 0; \
        connect S, pack_sockaddr_un($ENV{SSH_AUTH_SOCK}) or die $!; syswrite S, pack("NC", 1, 11); sysread S, $a, 9; print unpack("H*", $a)' > /answer \
     && test "$(cat /answer)" = 000000050c00000000
    WORKDIR /home/app
    USER app
    RUN id -un > who && mkdir -p a/b && perl -e 'open F, ">>a/b/log"; print F "one"' && ln who again
    RUN perl -e 'open F, ">>a/b/log"; print F "two"' && stat -c %U:%G who a/b >> a/b/log
"#;

#[test]
fn a_distribution_is_the_same_on_every_rung() {
    if !User::is_root() {
        return;
    }
    let fetching = with_debian().dockerfile(
        "
        FROM debian AS fetched
        RUN apt-get update && mkdir /debs && apt-get install -y --download-only --no-install-recommends \\
            -o Dir::Cache::archives=/debs iputils-ping libcap2-bin dbus openssh-client && rm -rf /debs/partial /debs/lock
        FROM scratch
        COPY --from=fetched /debs /
        ",
    );
    let packages = packages(&fetching);
    let mut digests = Vec::new();
    for place in Place::all() {
        let mut project = with_debian().dockerfile(DOCKERFILE);
        for package in &packages {
            let name = package.file_name().unwrap().to_str().unwrap();
            project = project.file(&format!("debs/{name}"), fs::read(package).unwrap());
        }
        let project = place.owning(project);
        let agent = project.path("agent");
        answer(&agent);
        let ssh = format!("--ssh=default={}", agent.display());
        let started = Instant::now();
        let built = place.build(&project).flag(&ssh).success();
        eprintln!("{place:?}: {:?}", started.elapsed());
        project.is_sound();
        digests.push((place, built.digest()));
    }
    let same = |(_, digest): &(Place, String)| *digest == digests[0].1;
    assert!(digests.iter().all(same), "{digests:#?}");
}
