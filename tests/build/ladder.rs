//! The isolation ladder: the same builds give the same image on every rung.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::{Container, Project, Run, User};

/// Where a build runs.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Root,
    UserRange(User),
    UserSingle(User),
    Chroot,
    Container(Container),
}

impl Place {
    /// All places that this machine offers; why others are missing is printed.
    pub(crate) fn all() -> Vec<Self> {
        let mut places = Vec::new();
        if User::is_root() {
            places.extend([Self::Root, Self::Chroot]);
        }
        places.extend(User::with_subuids().map(Self::UserRange));
        places.extend(User::without_subuids().map(Self::UserSingle));
        places.extend(Container::docker_default().map(Self::Container));
        places
    }

    /// What the build says of its rung.
    fn notice(&self) -> &'static str {
        match self {
            Self::Root => "isolation: root",
            Self::UserRange(_) => "isolation: user namespace with subordinate ids",
            Self::UserSingle(_) => "isolation: user namespace with one id",
            Self::Chroot | Self::Container(_) => "isolation: chroot",
        }
    }

    /// A project of whoever builds here.
    pub(crate) fn owning(&self, project: Project) -> Project {
        match self {
            Self::UserRange(user) | Self::UserSingle(user) => project.owned_by(user.clone()),
            Self::Root | Self::Chroot | Self::Container(_) => project,
        }
    }

    /// A build here.
    pub(crate) fn build(&self, project: &Project) -> Run {
        let run = project.build();
        match self {
            Self::Root | Self::UserRange(_) | Self::UserSingle(_) => run,
            Self::Chroot => run.flag("--isolation=chroot"),
            Self::Container(container) => run.inside(container),
        }
    }
}

/// Builds a Dockerfile everywhere and asserts that the image is the same; one digest, if it was
/// built at all.
pub(crate) fn same_everywhere(dockerfile: &str) -> Option<String> {
    same_at(&Place::all(), dockerfile)
}

/// The same at some places.
fn same_at(places: &[Place], dockerfile: &str) -> Option<String> {
    same_of(places, &Project::with_busybox, dockerfile)
}

/// The same for projects of a kind.
pub(crate) fn same_of(
    places: &[Place],
    project: &dyn Fn() -> Option<Project>,
    dockerfile: &str,
) -> Option<String> {
    let mut digests = Vec::new();
    for place in places {
        let mut project = project()?
            .dockerfile(dockerfile)
            .file("data", "of the context\n")
            .file("directory/one", "1")
            .file("directory/two", "2");
        project = place.owning(project);
        fs::write(project.path("secret"), "hush").unwrap();
        let secret = format!("id=s,src={}", project.path("secret").display());
        let built = place.build(&project).words(["--secret", &secret]).success();
        built.says(place.notice());
        project.is_sound();
        digests.push((place, built.digest()));
    }
    let first = digests.first()?.1.clone();
    assert!(
        digests.iter().all(|(_, digest)| *digest == first),
        "{digests:#?}"
    );
    Some(first)
}

#[test]
fn owners_modes_and_special_files_are_the_same_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        RUN echo x > /a && chown 1000:2000 /a && chmod 4751 /a && mkdir -m 1777 /t && mkfifo -m 620 /p
        RUN chown 5:6 /t && ln -s a /l && stat -c %u:%g:%a /a /t > /seen
        RUN mkdir -p /deep/er && chown -R 1000 /deep && touch /deep/er/f && chmod 600 /a
        RUN chmod 600 /a && touch -d @5 /t
        ",
    );
}

#[test]
fn owners_of_links_and_fifos_are_the_same_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        RUN ln -s a /l && chown -h 7:8 /l && mkfifo /p && chown 9:10 /p && ln /p /p2 && ln -s nowhere /dangling && mkfifo /q
        RUN chown -h 11 /dangling && mv /l /moved && ln /moved /m2 && mkdir /d && chown 9:10 /q && mv /q /d && chown :12 /d/q
        RUN stat -c %u:%g /moved /m2 /p2 /dangling > /seen && test $(stat -c %u:%g /d/q) = 9:12
        RUN rm /d/q && mkfifo /d/q && stat -c %u:%g:%F /d/q /moved >> /seen && ln -s x /x && chown -h 1:1 /x && chown -h 0:0 /x
        RUN chown -R 20:21 /d && chown -h 0:0 /dangling && cp -a /moved /copied && stat -c %u:%g /d/q /copied >> /seen
        ",
    );
}

#[test]
fn devices_are_the_same_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox AS made
        RUN mknod /null c 1 3 && mknod /disk b 8 1 && mkfifo /p && chown 5:6 /p /disk && mkdir /d && cd /d && mknod -m 620 tty c 5 0
        RUN ln -s a /l && chown -h 7:8 /l && chmod 600 /null && rm /p && mknod /p c 5 1 && mv /d /e && ln /e/tty /tty2
        RUN test -e /null && mv /disk /e/disk && ! mknod /null c 1 3 && ! mknod /no/such c 1 3 && touch -d @7 /null
        RUN mknod /gone c 1 5 && rm /gone && umask 077 && mknod /private b 259 70000
        USER user
        RUN echo 1 > /tmp/mine && mkdir /tmp/d && ln -s x /tmp/d/l
        RUN echo 2 >> /tmp/mine && mv /tmp/d /tmp/e && stat -c %u:%g /tmp/mine /tmp/e/l > /tmp/e/seen
        RUN ! mknod /tmp/user c 1 3 && touch /tmp/own && ! chown 0 /tmp/own && chown $(id -u):$(id -g) /tmp/own
        FROM busybox
        COPY --from=made /e /from
        COPY --from=made /private /
        RUN chown 3:3 /private && chmod 640 /from/tty && mv /from/disk /disk && rm /bin/vi
        ",
    );
}

#[test]
fn devices_are_told_wherever_owners_are_told() {
    let mut places = Place::all();
    places.retain(|place| !matches!(place, Place::UserRange(_)));
    same_at(
        &places,
        r"
        FROM busybox
        RUN mknod /null c 1 3 && mknod -m 600 /disk b 259 70000 && chown 1:2 /disk && test -c /null -a -b /disk
        RUN stat -c '%F %t %T %u %g %a' /null /disk > /seen && chown 0:0 /disk && stat -c '%F %u %a' /disk >> /seen
        ",
    );
}

#[test]
fn deletions_and_replacements_are_the_same_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        RUN mkdir -p /d/sub && echo 1 > /d/one && echo 2 > /d/sub/two && echo 3 > /three && ln -s d /link
        RUN rm -r /d && mkdir /d && echo new > /d/new && rm /three && rm /link && mkdir /link
        RUN rm -r /link && echo file > /link && mv /d /e && mkdir -p /d/sub && echo 2 > /d/sub/two
        RUN rm -r /home && rm /bin/vi /bin/wget && cp /bin/busybox /bin/vi
        RUN echo 2 > /d/sub/two && echo file > /link && touch /tmp/x && rm /tmp/x
        ",
    );
}

#[test]
fn a_layer_may_be_twice_below_a_command_on_every_rung() {
    for place in Place::all() {
        let Some(project) = Project::with_busybox() else {
            return;
        };
        let project = place.owning(project.file("data", "x"));
        let mut lines =
            "FROM busybox AS below\nRUN true\nRUN :\nCOPY data /a/\nRUN rm -r /a\nCOPY data /a/\n"
                .to_owned();
        for line in [
            "RUN cat /a/data",
            "RUN ls -l /a/data > /b",
            "FROM busybox\nRUN --mount=from=below,target=/m cat /m/a/data",
        ] {
            lines = format!("{lines}{line}\n");
            project.put("Dockerfile", &lines);
            place.build(&project).success();
        }
    }
}

#[test]
fn hard_links_and_many_files_are_the_same_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        RUN mkdir /many && cd /many && for d in 0 1 2 3 4 5 6 7 8 9; do mkdir $d; for f in $(seq 100); do echo $f > $d/$f; done; done
        RUN echo x > /a && ln /a /b && ln /a /many/c && echo y > /single
        RUN ln /single /second && echo z >> /many/5/50 && rm /many/3/3 && chmod 600 /many/7/7
        RUN rm /b && mv /many/9 /nine
        ",
    );
}

#[test]
fn copies_users_and_directories_are_the_same_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox AS tools
        RUN mkdir -p /opt/tool && echo tool > /opt/tool/run && chown -R 3:4 /opt/tool
        FROM busybox
        WORKDIR /srv/app
        COPY --chown=1000:1000 directory ./
        COPY data /etc/
        RUN cat /etc/data one two > all && id -u
        COPY --from=tools /opt/tool /opt/tool
        USER user
        RUN id -un > /tmp/who && cat /opt/tool/run >> /tmp/who && echo $HOME >> /tmp/who
        USER root
        RUN ls -ln /opt/tool | wc -l > /lines
        ",
    );
}

#[test]
fn mounts_are_the_same_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox AS tools
        RUN mkdir -p /opt/tool && echo tool > /opt/tool/run
        FROM busybox
        RUN --mount=type=cache,target=/cache,id=k echo kept > /cache/file && ls -d /cache
        RUN --mount=type=cache,target=/var/other,id=k cat /var/other/file > /from-cache
        RUN --mount=from=tools,source=/opt,target=/mnt/opt cat /mnt/opt/tool/run > /from-stage
        RUN --mount=source=directory,target=/in cat /in/one /in/two > /from-context
        RUN --mount=source=data,target=/in/data,rw echo lost >> /in/data
        RUN --mount=type=secret,id=s,target=/etc/secret,mode=0400 wc -c < /etc/secret > /length
        RUN --mount=type=tmpfs,target=/home echo gone > /home/file
        RUN <<EOF
        echo script > /from-script
        EOF
        RUN cat /etc/hosts /etc/resolv.conf > /dev/null; uname -n > /name; test ! -e /etc/secret; ls /home
        ",
    );
}

#[test]
fn a_command_without_network_is_the_same_on_every_rung() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    same_everywhere(&format!(
        "
        FROM busybox
        RUN --network=none ! nc -w 2 127.0.0.1 {port} </dev/null
        RUN --network=none syslogd -n -O /tmp/log & \\
            for i in $(seq 100); do test -S /dev/log && break; sleep 0.1; done; logger said; \\
            for i in $(seq 100); do grep -q said /tmp/log && break; sleep 0.1; done; grep -q said /tmp/log && rm /tmp/log
        "
    ));
    listener.set_nonblocking(true).unwrap();
    assert!(
        listener.accept().is_err(),
        "a command without network came out"
    );
}

#[test]
fn what_a_rung_cannot_do_is_said() {
    let Some(project) = Project::with_busybox().filter(|_| User::is_root()) else {
        return;
    };
    let project = project.file("data", "of the context\n").dockerfile(
        "
        FROM busybox
        RUN --network=none true
        RUN --mount=type=tmpfs,target=/t,size=1m true
        RUN --mount=type=cache,target=/c,id=k echo first > /c/file
        RUN --mount=source=data,target=/in/data true
        RUN --mount=type=cache,target=/c,id=k,ro echo second > /c/file || true
        RUN --mount=type=cache,target=/c,id=k test $(cat /c/file) = first
        ",
    );
    let built = project.build().flag("--isolation=chroot").success();
    for text in [
        "without namespaces there is no loopback",
        "the size of tmpfs mounts is not limited",
        "shared caches are used by one RUN after another",
        "read-only mounts of RUN are copies",
    ] {
        built.says(text);
    }
}

#[test]
fn proc_is_alive_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        RUN grep -q ^processor /proc/cpuinfo && readlink /proc/self/exe > /exe && test -e /proc/self/fd/1
        RUN echo out > /dev/stdout && echo in | cat /dev/stdin > /copy && cat < /dev/fd/0 > /empty
        RUN grep ^Name: /proc/self/status > /names && grep ^Uid: /proc/$$/status >> /names
        RUN echo 300 > /proc/self/oom_score_adj && cat /proc/self/oom_score_adj > /score
        RUN test ! -r /proc/kcore || test ! -s /proc/kcore
        ",
    );
    // With one id the kernel's own files tell it.
    let mut places = Place::all();
    places.retain(|place| !matches!(place, Place::UserSingle(_)));
    same_at(
        &places,
        r"
        FROM busybox
        USER user
        RUN grep ^Uid: /proc/self/status > /tmp/uid && readlink /proc/self/exe >> /tmp/uid
        ",
    );
}

#[test]
fn standard_input_is_the_null_device_of_the_sandbox_on_every_rung() {
    same_everywhere(
        r"
        FROM busybox
        RUN test $(sed -n 's/^ino:[^0-9]*//p' /proc/self/fdinfo/0) = $(stat -c %i /dev/null)
        RUN cat > /empty && test ! -s /empty
        ",
    );
}

/// The processes whose command line has a text.
fn processes_of(text: &str) -> usize {
    let found = fs::read_dir("/proc").unwrap().filter(|entry| {
        let path = entry.as_ref().unwrap().path().join("cmdline");
        let line = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&line)
            .replace('\0', " ")
            .contains(text)
    });
    found.count()
}

#[test]
fn daemons_end_with_their_command_without_namespaces() {
    let Some(project) = Project::with_busybox().filter(|_| User::is_root()) else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox
        RUN (setsid sleep 98761 </dev/null >/dev/null 2>&1 &) ; sleep 98761 & echo done
        ",
    );
    project.build().flag("--isolation=chroot").success();
    assert_eq!(processes_of("sleep 98761"), 0);
}

#[test]
fn a_killed_builder_leaves_no_process_without_namespaces() {
    let Some(project) = Project::with_busybox().filter(|_| User::is_root()) else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox
        RUN (setsid sleep 98762 &) ; echo st''arted ; sleep 98762
        ",
    );
    let build = project.build().flag("--isolation=chroot").start();
    build.wait_for(" started").signal(Signal::SIGKILL).finish();
    let end = Instant::now() + Duration::from_secs(5);
    while processes_of("sleep 98762") > 0 {
        assert!(Instant::now() < end, "the command outlived its builder");
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_supervisor_leaves_no_process_without_namespaces() {
    let Some(project) = Project::with_busybox().filter(|_| User::is_root()) else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox
        RUN (setsid sleep 98764 &) ; echo st''arted ; sleep 98764 ; true
        ",
    );
    let build = project.build().flag("--isolation=chroot").start();
    let build = build.wait_for(" started");
    let supervisors = supervisors_of(build.id());
    assert_eq!(supervisors.len(), 1, "one step runs");
    let killed = Instant::now();
    signal(supervisors[0], Signal::SIGKILL);
    let outcome = build.finish();
    assert!(killed.elapsed() < Duration::from_secs(5), "{outcome}");
    assert_eq!(outcome.code, 3, "{outcome}");
    assert_eq!(processes_of("sleep 98764"), 0);
}

pub(crate) fn signal(process: i32, signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), signal).unwrap();
}

/// The children of a builder that have children.
pub(crate) fn supervisors_of(builder: u32) -> Vec<i32> {
    let mut children = children_of(builder);
    children.retain(|child| !children_of(child.unsigned_abs()).is_empty());
    children
}

/// The processes that a process started, by any of its threads.
pub(crate) fn children_of(process: u32) -> Vec<i32> {
    let mut children = Vec::new();
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    for thread in threads.into_iter().flatten().flatten() {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.extend(
            text.split_whitespace()
                .map(|child| child.parse::<i32>().unwrap()),
        );
    }
    children
}

#[test]
fn a_command_reaches_nothing_outside_of_its_directory() {
    let Some(project) = Project::with_busybox().filter(|_| User::is_root()) else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox
        RUN test ! -e /proc/1/root/etc && ! cat /proc/1/environ && ! kill -0 $PPID
        RUN mkdir /x && ! chroot /x true && ! mount -t tmpfs none /x && ! unshare -m true
        RUN test $(ls / | wc -l) -lt 20 && grep NoNewPrivs:.1 /proc/self/status
        ",
    );
    project.build().flag("--isolation=chroot").success();
}

#[test]
fn the_doctor_names_the_remedy_of_a_container() {
    let Some(container) = Container::docker_default() else {
        return;
    };
    let doctor = |container: Container| {
        let project = Project::new();
        project.builder(["doctor"]).inside(&container).run()
    };
    let told = doctor(container.clone());
    assert_eq!(told.code, 0, "{told}");
    told.prints("fails  root: all namespaces, overlay")
        .prints("works  chroot")
        .prints("network of RUN: the host's\n         without namespaces there is no other\n")
        .prints("`--cap-add SYS_ADMIN --security-opt seccomp=unconfined")
        .prints("capabilities: { add: [SYS_ADMIN] }, seccompProfile: { type: Unconfined }");
    let cured = doctor(container.clone().unconfined());
    assert_eq!(cured.code, 0, "{cured}");
    cured.prints("works  root: all namespaces, overlay");
    let hopeless = doctor(container.without_capabilities());
    assert_eq!(hopeless.code, 3, "{hopeless}");
    hopeless.prints("leave the container its default capabilities");
    hopeless.prints("RUN is not possible here; builds without RUN are.");
}

#[test]
fn the_doctor_names_the_remedy_of_a_user() {
    if let Some(user) = User::without_subuids() {
        let project = Project::new().owned_by(user.clone());
        let told = project.builder(["doctor"]).run();
        assert_eq!(told.code, 0, "{told}");
        told.prints("fails  user namespace with subordinate ids");
        told.prints("works  user namespace with one id");
        let ranges = fs::read_to_string("/etc/subuid").unwrap_or_default();
        let command = told
            .stdout
            .lines()
            .find_map(|line| line.split("--add-subuids ").nth(1));
        let start = command.and_then(|rest| rest.split('-').next()).unwrap();
        assert!(!ranges.contains(&format!(":{start}:")), "{told}\n{ranges}");
        assert!(told.stdout.contains(&format!(" {}\n", user.name)), "{told}");
    }
    if let Some(user) = User::with_subuids() {
        let project = Project::new().owned_by(user);
        let told = project.builder(["doctor"]).run();
        told.prints("works  user namespace with subordinate ids");
        told.prints("RUN uses: user namespace with subordinate ids");
    }
}
