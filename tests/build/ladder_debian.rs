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
pub(crate) fn with_debian() -> Project {
    let flag = format!("--build-context=debian=oci-layout://{}", debian().display());
    Project::new().flag(&flag)
}

/// A project whose build fetches packages with all that they need.
pub(crate) fn fetching(names: &str) -> Project {
    with_debian().dockerfile(&format!(
        "
        FROM debian AS fetched
        RUN apt-get update && mkdir /debs && apt-get install -y --download-only --no-install-recommends \\
            -o Dir::Cache::archives=/debs {names} && rm -rf /debs/partial /debs/lock
        FROM scratch
        COPY --from=fetched /debs /
        "
    ))
}

/// Packages with all that they need, fetched once: the rungs then need no network.
pub(crate) fn packages(fetching: &Project) -> Vec<PathBuf> {
    let out = fetching.path("packages");
    let spec = format!("type=local,dest={}", out.display());
    let ca = "id=ca,src=/etc/ssl/certs/ca-certificates.crt";
    let build = fetching.build().words(["--secret", ca]);
    build.output_to(&spec).success();
    let found = fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    found.collect()
}

/// Puts packages into the context.
pub(crate) fn with_packages(mut project: Project, packages: &[PathBuf]) -> Project {
    for package in packages {
        let name = package.file_name().unwrap().to_str().unwrap();
        project = project.file(&format!("packages/{name}"), fs::read(package).unwrap());
    }
    project
}

pub(crate) fn assert_same(digests: &[(Place, String)]) {
    let same = |(_, digest): &(Place, String)| *digest == digests[0].1;
    assert!(digests.iter().all(same), "{digests:#?}");
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
    RUN --mount=source=packages,target=/packages --mount=type=cache,target=/var/cache/apt \
        apt-get install -y --no-install-recommends /packages/*.deb \
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
    RUN su app -c 'umask 027 && mkdir /tmp/su && touch /tmp/su/f && id' >> /seen && runuser -u app -- ln -s f /tmp/su/l \
     && perl -e '$( = $) = "5 5 7"; ($<, $>) = (6, 6); open F, ">/tmp/six" or die; print F "$< $> $(: $)\n"' \
     && setpriv --reuid 8 --regid 9 --clear-groups sh -c 'id > /tmp/eight && ! touch /usr/none 2> /dev/null' && stat -c "%u:%g %a %n" /tmp/* >> /seen
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
    let fetching = fetching("iputils-ping libcap2-bin dbus openssh-client");
    let packages = packages(&fetching);
    let mut digests = Vec::new();
    for place in Place::all() {
        let project = with_packages(with_debian().dockerfile(DOCKERFILE), &packages);
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
    assert_same(&digests);
}

/// The example's application: an interpreter from apt, libraries from PyPI. Logs hold times, and what Python
/// compiles holds the times of its sources.
const PYTHON: &str = r#"
    FROM debian
    RUN --mount=source=packages,target=/packages --mount=type=cache,target=/var/cache/apt \
        apt-get install -y --no-install-recommends /packages/*.deb && rm -rf /var/log/apt /var/log/*.log /var/cache/ldconfig
    RUN useradd --create-home --uid 1000 app
    WORKDIR /srv/app
    COPY requirements.txt ./
    RUN --mount=source=packages,target=/packages \
        python3 -m venv /opt/venv \
     && /opt/venv/bin/pip install --no-cache-dir --no-index --find-links=/packages -r requirements.txt
    ENV PATH=/opt/venv/bin:$PATH PORT=8000
    COPY app.py .
    RUN chown -R app /srv/app && find / -xdev -name __pycache__ -prune -exec rm -r {} +
    USER app
    RUN PYTHONDONTWRITEBYTECODE=1 python3 -c 'import os, pwd; from itsdangerous import Signer; import six; \
        print(Signer("key").sign(pwd.getpwuid(os.getuid()).pw_name), os.stat("app.py").st_uid, six.__file__)' > ~/said
    CMD ["python3", "app.py"]
"#;

#[test]
fn the_python_application_is_the_same_on_every_rung() {
    if !User::is_root() {
        return;
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python-web");
    let of_example = |mut project: Project| {
        for name in ["requirements.txt", "app.py"] {
            project = project.file(name, fs::read(example.join(name)).unwrap());
        }
        project
    };
    let fetching = of_example(with_debian()).dockerfile(
        "
        FROM debian AS fetched
        RUN apt-get update && mkdir -p /packages /kept/partial && apt-get install -y --no-install-recommends python3-venv \\
            -o Dir::Cache::archives=/kept -o APT::Keep-Downloaded-Packages=true && mv /kept/*.deb /packages
        COPY requirements.txt /
        RUN --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \\
            python3 -m venv /opt/venv && PIP_CERT=/etc/ssl/certs/ca-certificates.crt \\
            /opt/venv/bin/pip download -r requirements.txt -d /packages
        FROM scratch
        COPY --from=fetched /packages /
        ",
    );
    let packages = packages(&fetching);
    let mut digests = Vec::new();
    for place in Place::all() {
        let project = with_packages(of_example(with_debian()).dockerfile(PYTHON), &packages);
        let project = place.owning(project);
        let started = Instant::now();
        let built = place.build(&project).success();
        eprintln!("{place:?}: {:?}", started.elapsed());
        project.is_sound();
        digests.push((place, built.digest()));
    }
    assert_same(&digests);
}
