//! The builder is killed at every point of a build, on every rung, by each signal on one: nothing of it is
//! left a second later, the store is sound, and the next build gives the right image.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::base::Registry;
use super::image::tool;
use crate::common::{Enclosure, Project, Run, User, busybox_layout, skip};
use crate::ladder::Place;

/// When the signal comes.
#[derive(Clone, Copy, Debug)]
enum At {
    /// When the log has said this.
    Line(&'static str),
    /// So many milliseconds after the start.
    Ms(u64),
}

/// In order of a build: definition, base, context, pull, commands, export, push.
const POINTS: [At; 14] = [
    At::Ms(0),
    At::Line("load build definition"),
    At::Ms(10),
    At::Line("FROM "),
    At::Line("load build context"),
    At::Line("pull sha256"),
    At::Ms(60),
    At::Line("started"),
    At::Line("wrote"),
    At::Ms(200),
    At::Line("COPY --from"),
    At::Line("exporting to"),
    At::Line("pushing"),
    At::Ms(400),
];

const SIGNALS: [Signal; 4] = [
    Signal::SIGKILL,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
];

const DOCKERFILE: &str = "
    ARG BASE=busybox
    FROM $BASE AS other
    RUN echo other > /other

    FROM $BASE
    COPY . /context
    RUN echo st''arted; (setsid sleep 987 &) ; \
        for i in $(seq 20); do echo $i > /f$i; done; echo wr''ote; sleep 0.05
    COPY --from=other /other /
    RUN rm /f1 && echo last > /last
";

/// How long something of a build may outlive the builder.
const AFTERLIFE: Duration = Duration::from_secs(1);

/// How long the builder may take to obey: its own grace of 850 ms, and patience for a busy machine.
const OBEDIENCE: Duration = Duration::from_secs(4);

/// A registry with a slow line: what goes through takes long enough to be interrupted.
struct SlowRegistry {
    _registry: Registry,
    host: String,
}

impl SlowRegistry {
    fn with_busybox(layout: &Path) -> Self {
        let registry = Registry::start();
        let source = format!("oci:{}:latest", layout.display());
        let target = format!("docker://{}/busybox:1", registry.host);
        tool(
            "skopeo",
            &["copy", "--dest-tls-verify=false", &source, &target],
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let behind = registry.host.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(server) = TcpStream::connect(&behind) {
                    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                    std::thread::spawn(move || trickle(client, server));
                    std::thread::spawn(move || trickle(back.0, back.1));
                }
            }
        });
        Self {
            _registry: registry,
            host,
        }
    }
}

/// Copies some 16 MB a second.
fn trickle(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = vec![0; 32 << 10];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// One rung's worth of kills.
struct Victim {
    project: Project,
    registry: SlowRegistry,
    flags: &'static [&'static str],
}

impl Victim {
    fn new(user: Option<User>, flags: &'static [&'static str]) -> Option<Self> {
        let registry = SlowRegistry::with_busybox(&busybox_layout()?);
        let mut project = Project::new().dockerfile(DOCKERFILE);
        for number in 0..300 {
            let path = format!("d{}/f{number}", number % 7);
            project = project.file(&path, format!("{number}\n").repeat(40));
        }
        if let Some(user) = user {
            project = project.owned_by(user);
        }
        Some(Self {
            project,
            registry,
            flags,
        })
    }

    fn build(&self, case: usize) -> Run {
        let host = &self.registry.host;
        let output = format!("type=image,name={host}/out{case}:1,push=true");
        let run = self.project.build().words(self.flags);
        let run = run.arg("BASE", &format!("{host}/busybox:1"));
        run.output_to(&output)
    }

    /// Kills a build, and looks at what is left.
    fn kill(&self, case: usize, at: At, signal: Signal) {
        let enclosure = Arc::new(Enclosure::new().unwrap());
        let mounts = mounts_of(&self.project);
        let mut running = self.build(case).within(&enclosure).start();
        match at {
            At::Line(text) => running = running.wait_for(text),
            At::Ms(time) => std::thread::sleep(Duration::from_millis(time)),
        }
        let id = running.id();
        let sent = Instant::now();
        let ended = running.signal(signal).finish();
        let took = sent.elapsed();
        assert!(took < OBEDIENCE, "{at:?} {signal}: {took:?}");
        let code = match signal {
            Signal::SIGINT => 130,
            Signal::SIGKILL => 137,
            _ => 143,
        };
        // It may just have been done, or not have come to its own handler.
        let by_signal = 128 + signal as i32;
        let codes = [0, code, by_signal];
        assert!(codes.contains(&ended.code), "{at:?} {signal}:\n{ended}");
        let left = enclosure.wait_until_empty(AFTERLIFE);
        assert!(left.is_empty(), "{at:?} {signal}: {left:#?}");
        assert_eq!(mounts_of(&self.project), mounts, "{at:?} {signal}");
        let groups = groups_of(Path::new("/sys/fs/cgroup"), &format!("builder-{id}-"));
        assert_eq!(groups, Vec::<String>::new(), "{at:?} {signal}");
        self.project.is_sound();
    }

    /// Goes through the table. Each point gets one signal here and the others on the other rungs.
    fn at_every_point(&self, rung: usize) {
        let digest = self.build(0).success().digest();
        for (number, at) in POINTS.into_iter().enumerate() {
            let signal = SIGNALS[(number + rung) % SIGNALS.len()];
            let case = number + 1;
            self.project.forget_store();
            self.kill(case, at, signal);
            let next = self.build(case).run();
            assert_eq!(next.code, 0, "after {signal} at {at:?}\n{next}");
            assert_eq!(next.digest(), digest, "after {signal} at {at:?}");
        }
        self.project.is_sound();
    }
}

/// Mounts below a project.
fn mounts_of(project: &Project) -> Vec<String> {
    let root = project.path("");
    let root = root.to_str().unwrap().trim_end_matches('/');
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let below = mounts.lines().filter(|line| line.contains(root));
    below.map(str::to_owned).collect()
}

/// Control groups whose name begins so.
fn groups_of(directory: &Path, prefix: &str) -> Vec<String> {
    let mut groups = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(prefix) {
            groups.push(name);
        }
        groups.extend(groups_of(&entry.path(), prefix));
    }
    groups
}

fn kill_on_a_rung(rung: usize, user: Option<User>, flags: &'static [&'static str]) {
    if Enclosure::new().is_none() {
        return;
    }
    if !Path::new("/usr/bin/docker-registry").exists() {
        skip("docker-registry is not installed");
        return;
    }
    if let Some(victim) = Victim::new(user, flags) {
        victim.at_every_point(rung);
    }
}

#[test]
fn a_killed_build_of_root_leaves_nothing() {
    kill_on_a_rung(0, None, &["--memory=512m", "--pids-limit=500", "--cpus=2"]);
}

#[test]
fn a_killed_build_of_a_user_leaves_nothing() {
    if let Some(user) = User::with_subuids() {
        kill_on_a_rung(1, Some(user), &[]);
    }
}

#[test]
fn a_killed_build_of_a_user_with_one_id_leaves_nothing() {
    if let Some(user) = User::without_subuids() {
        kill_on_a_rung(2, Some(user), &[]);
    }
}

#[test]
fn a_killed_build_without_namespaces_leaves_nothing() {
    kill_on_a_rung(3, None, &["--isolation=chroot"]);
}

#[test]
fn a_command_that_would_last_for_ever_ends_with_every_signal() {
    let signals = [
        (Signal::SIGTERM, 143),
        (Signal::SIGINT, 130),
        (Signal::SIGHUP, 143),
        (Signal::SIGQUIT, 131),
    ];
    let mut places = Place::all();
    places.retain(|place| !matches!(place, Place::Container(_)));
    for place in places {
        let Some(project) = Project::with_busybox() else {
            return;
        };
        let project = place.owning(project.dockerfile(
            "
            FROM busybox
            RUN (setsid sleep 7777 &) ; echo st''arted ; sleep 7777
            ",
        ));
        for (signal, code) in signals {
            let Some(enclosure) = Enclosure::new().map(Arc::new) else {
                return;
            };
            let running = place.build(&project).within(&enclosure).start();
            let running = running.wait_for(" started");
            let sent = Instant::now();
            let ended = running.signal(signal).finish();
            let took = sent.elapsed();
            assert!(took < OBEDIENCE, "{place:?} {signal}: {took:?}\n{ended}");
            assert_eq!(ended.code, code, "{place:?} {signal}\n{ended}");
            let left = enclosure.wait_until_empty(AFTERLIFE);
            assert!(left.is_empty(), "{place:?} {signal}: {left:#?}");
        }
        project.is_sound();
    }
}
