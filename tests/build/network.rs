//! The network of RUN, on a machine made for the test: an interface with a default route, a mirror
//! on another, a name server on the loopback.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Enclosure, Outcome, Project, Run, User, skip};

const MIRROR: [u8; 4] = [10, 8, 8, 8];
const HOST: ([u8; 4], u16) = ([127, 0, 0, 1], 4000);

/// Does something in a thread with a network and mounts of its own. `false`, with a printed reason,
/// if that cannot be done here.
fn on_a_machine(test: impl FnOnce() + Send) -> bool {
    if !User::is_root() {
        skip("only root can make a machine");
        return false;
    }
    std::thread::scope(|scope| {
        let machine = scope.spawn(|| {
            if unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).is_err() {
                skip("namespaces cannot be made");
                return false;
            }
            let directory = tempfile::tempdir().unwrap();
            let resolv = directory.path().join("resolv.conf");
            fs::write(&resolv, "search test\nnameserver 127.0.0.1\n").unwrap();
            for line in [
                "mount --make-rprivate /",
                // As systemd has it.
                "mount --make-rshared /",
                "ip link set lo up",
                "ip link add near type veth peer name near-end",
                "ip link add far type veth peer name far-end",
                "ip addr add 10.7.7.7/24 dev near",
                "ip addr add 10.8.8.8/24 dev far",
                "ip link set near up; ip link set near-end up",
                "ip link set far up; ip link set far-end up",
                "ip route add default via 10.7.7.1",
                &format!("mount --bind {} /etc/resolv.conf", resolv.display()),
            ] {
                let done = Command::new("sh").args(["-c", line]).status().unwrap();
                assert!(done.success(), "{line}");
            }
            name_server([127, 0, 0, 1]);
            name_server(MIRROR);
            mirror((MIRROR, 80));
            mirror(HOST);
            test();
            true
        });
        machine.join().unwrap()
    })
}

/// Answers every question for an address with the mirror's.
fn name_server(address: [u8; 4]) {
    let socket = UdpSocket::bind((Ipv4Addr::from(address), 53)).unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let question = &query[12..length];
            let end = question.iter().position(|byte| *byte == 0).unwrap() + 5;
            let wants_address = question[end - 4..end] == [0, 1, 0, 1];
            let mut answer = vec![query[0], query[1], 0x81, 0x80, 0, 1];
            answer.extend([0, u8::from(wants_address), 0, 0, 0, 0]);
            answer.extend_from_slice(&question[..end]);
            if wants_address {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(MIRROR);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
}

/// Answers every request for a page; also those to a proxy.
fn mirror(address: ([u8; 4], u16)) {
    let listener = TcpListener::bind((Ipv4Addr::from(address.0), address.1)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nfrom the mirror\n");
        }
    });
}

/// A directory for PATH that has nothing but these tools.
fn path_with(project: &Project, tools: &[&str]) -> PathBuf {
    let directory = project.path("tools");
    fs::create_dir_all(&directory).unwrap();
    for tool in tools {
        let program = Path::new("/usr/bin").join(tool);
        let _ = std::os::unix::fs::symlink(program, directory.join(tool));
    }
    directory
}

/// Says what a command can see of the network. (The log has the command's text too.)
const LOOK: &str = r"
    FROM busybox
    RUN wget -q -O - http://mirror/ || echo missed ''mirror
    RUN it=loopback; nc -w 2 127.0.0.1 4000 </dev/null && echo reached $it || echo missed $it
    RUN it=socket; grep -q @of-the-host /proc/net/unix && echo reached $it || echo missed $it
";

fn look(change: impl FnOnce(&Project, Run) -> Run) -> Option<Outcome> {
    Project::with_busybox().map(|project| look_from(project, change))
}

fn look_from(project: Project, change: impl FnOnce(&Project, Run) -> Run) -> Outcome {
    let project = project.dockerfile(LOOK);
    let address = SocketAddr::from_abstract_name("of-the-host").unwrap();
    let _socket = UnixListener::bind_addr(&address).unwrap();
    let built = change(&project, project.build()).success();
    project.is_sound();
    built
}

#[test]
fn a_command_reaches_mirrors_but_nothing_of_the_host() {
    on_a_machine(|| {
        for (tool, server) in [
            ("slirp4netns", "127.0.0.1"),
            ("slirp4netns", "10.8.8.8"),
            ("pasta", "127.0.0.1"),
            ("pasta", "10.8.8.8"),
        ] {
            if !Path::new("/usr/bin").join(tool).exists() {
                skip(tool);
                continue;
            }
            fs::write(
                "/etc/resolv.conf",
                format!("search test\nnameserver {server}\n"),
            )
            .unwrap();
            let built = look(|project, run| {
                let path = path_with(project, &[tool]);
                run.env("PATH", path.to_str().unwrap())
            });
            let Some(built) = built else { return };
            built.says("from the mirror").says("missed loopback");
            built.says("missed socket").does_not_say("host's network");
        }
    });
}

#[test]
fn a_link_takes_no_mount_off_the_machine() {
    on_a_machine(|| {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        let mount = |place: &Path| {
            fs::create_dir_all(place).unwrap();
            let words = ["-t", "tmpfs", "tmpfs", place.to_str().unwrap()];
            let done = Command::new("mount").args(words).status().unwrap();
            assert!(done.success());
        };
        mount(outer.path());
        mount(&inner);
        let mounts = || fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let before = mounts();
        for tool in ["slirp4netns", "pasta"] {
            if !Path::new("/usr/bin").join(tool).exists() {
                skip(tool);
                continue;
            }
            let built = look(|project, run| {
                let path = path_with(project, &[tool]);
                run.env("PATH", path.to_str().unwrap())
            });
            let Some(built) = built else { return };
            built.does_not_say("host's network");
            assert_eq!(mounts(), before, "{tool}");
        }
    });
}

/// Some machines give the device to root only.
fn give_everybody_the_device() {
    for line in [
        "mount -t tmpfs tmpfs /dev/net",
        "mknod /dev/net/tun c 10 200",
        "chmod 755 /dev/net; chmod 666 /dev/net/tun",
    ] {
        let done = Command::new("sh").args(["-c", line]).status().unwrap();
        assert!(done.success(), "{line}");
    }
}

#[test]
fn a_command_of_a_user_reaches_mirrors_but_nothing_of_the_host() {
    on_a_machine(|| {
        give_everybody_the_device();
        for user in [User::with_subuids(), User::without_subuids()] {
            let (Some(user), Some(project)) = (user, Project::with_busybox()) else {
                continue;
            };
            let built = look_from(project.owned_by(user), |_, run| run);
            built.says("from the mirror").says("missed loopback");
            built.says("missed socket").does_not_say("host's network");
        }
    });
}

#[test]
fn the_link_of_a_killed_build_ends_with_it() {
    on_a_machine(|| {
        give_everybody_the_device();
        for user in [None, User::with_subuids(), User::without_subuids()] {
            let (Some(mut project), Some(enclosure)) =
                (Project::with_busybox(), Enclosure::new().map(Arc::new))
            else {
                return;
            };
            if let Some(user) = user {
                project = project.owned_by(user);
            }
            let project = project.dockerfile("FROM busybox\nRUN echo st''arted; sleep 987");
            let running = project
                .build()
                .within(&enclosure)
                .start()
                .wait_for(" started");
            let links = |processes: Vec<String>| {
                let tools = ["Name:\tslirp4netns", "Name:\tpasta"];
                let is_tool = |process: &&String| tools.iter().any(|tool| process.contains(tool));
                processes.iter().filter(is_tool).count()
            };
            assert_eq!(
                links(enclosure.processes()),
                1,
                "{:#?}",
                enclosure.processes()
            );
            running.signal(Signal::SIGKILL).finish();
            let left = enclosure.wait_until_empty(Duration::from_secs(1));
            assert_eq!(left, Vec::<String>::new());
        }
    });
}

#[test]
fn a_link_that_dies_is_made_again_for_the_next_step() {
    on_a_machine(|| {
        let (Some(project), Some(enclosure)) =
            (Project::with_busybox(), Enclosure::new().map(Arc::new))
        else {
            return;
        };
        let project = project.dockerfile(
            "
            FROM busybox
            RUN echo st''arted; while timeout 5 nc -w 5 10.8.8.8 80 </dev/null >/dev/null; do :; done; sleep 1
            RUN wget -q -O - http://mirror/
            ",
        );
        let running = project
            .build()
            .within(&enclosure)
            .start()
            .wait_for(" started");
        let tool = enclosure.processes().into_iter().find_map(|process| {
            let tools = ["Name:\tslirp4netns", "Name:\tpasta"];
            let id = process.split(':').next()?.parse().ok()?;
            tools
                .iter()
                .any(|tool| process.contains(tool))
                .then_some(id)
        });
        kill(Pid::from_raw(tool.unwrap()), Signal::SIGKILL).unwrap();
        let built = running.finish();
        assert_eq!(built.code, 0, "{built}");
        built.says("from the mirror").does_not_say("host's network");
    });
}

#[test]
fn a_network_that_is_gone_when_a_step_joins_it_is_made_again() {
    on_a_machine(|| {
        let (Some(project), Some(enclosure)) =
            (Project::with_busybox(), Enclosure::new().map(Arc::new))
        else {
            return;
        };
        let project = project.file("data", "").dockerfile(
            "
            FROM busybox
            RUN echo st''arted; sleep 1
            RUN wget -q -O - http://mirror/
            ",
        );
        let running = project
            .build()
            .within(&enclosure)
            .start()
            .wait_for(" started");
        // The helper lives on, so the link seems to be up.
        let helpers: Vec<i32> = enclosure
            .processes()
            .iter()
            .filter(|process| process.contains("Name:\tbuilder-network"))
            .map(|process| process.split(':').next().unwrap().parse().unwrap())
            .collect();
        let is_holder = |id: &&i32| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            helpers.contains(&parent.unwrap().trim().parse().unwrap())
        };
        let holder = *helpers.iter().find(is_holder).unwrap();
        kill(Pid::from_raw(holder), Signal::SIGKILL).unwrap();
        let built = running.finish();
        assert_eq!(built.code, 0, "{built}");
        built.says("from the mirror").does_not_say("host's network");
    });
}

#[test]
fn the_doctor_tells_the_network_and_its_remedy() {
    on_a_machine(|| {
        give_everybody_the_device();
        let users = [None, User::with_subuids(), User::without_subuids()];
        for user in users
            .into_iter()
            .enumerate()
            .filter_map(|(number, user)| (number == 0 || user.is_some()).then_some(user))
        {
            let mut project = Project::new();
            if let Some(user) = user {
                project = project.owned_by(user);
            }
            // newuidmap is a tool, too.
            let doctor = |tools: &[&str]| {
                let path = path_with(&project, &[tools, &["newuidmap", "newgidmap"]].concat());
                let run = project.builder(["doctor"]);
                let told = run.env("PATH", path.to_str().unwrap()).run();
                fs::remove_dir_all(path).unwrap();
                told
            };
            doctor(&[])
                .prints("network of RUN: the host's")
                .prints("slirp4netns is not installed, pasta is not installed")
                .prints("remedy: install slirp4netns or pasta");
            for tool in ["slirp4netns", "pasta"] {
                if Path::new("/usr/bin").join(tool).exists() {
                    doctor(&[tool]).prints(&format!("network of RUN: the build's own, by {tool}"));
                }
            }
            fs::rename("/dev/net/tun", "/dev/net/none").unwrap();
            let told = doctor(&["slirp4netns"]);
            told.prints("`/dev/net/tun` cannot be opened")
                .prints("remedy: sudo modprobe tun");
            let json = project.builder(["doctor", "--json"]).run();
            let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
            assert!(json["network"]["host"]["reason"].is_string(), "{json:#}");
            fs::rename("/dev/net/none", "/dev/net/tun").unwrap();
        }
    });
}

#[test]
fn a_step_shares_the_network_of_the_host_if_it_may() {
    on_a_machine(|| {
        let project = Project::with_busybox().map(|project| {
            project.dockerfile(
                "
                FROM busybox
                RUN --network=host it=one; nc -w 2 127.0.0.1 4000 </dev/null && echo reached $it
                RUN it=other; nc -w 2 127.0.0.1 4000 </dev/null && echo reached $it || echo missed $it
                ",
            )
        });
        let Some(project) = project else { return };
        project.build().failure(1).says("network.host");
        let built = project.build().flag("--allow=network.host").success();
        built.says("reached one").says("missed other");
        let built = project.build().flag("--network=host").flag("--no-cache");
        built.success().says("reached one").says("reached other");
    });
}

#[test]
fn a_command_makes_no_packets_of_its_own_on_a_link() {
    on_a_machine(|| {
        let project = Project::with_busybox().map(|project| {
            project.dockerfile("FROM busybox\nRUN grep -E '^Cap(Eff|Bnd)' /proc/self/status")
        });
        let Some(project) = project else { return };
        let seen = |run: Run| {
            let built = run.flag("--no-cache").success();
            let masks = built
                .stderr
                .lines()
                .filter(|line| line.contains("Cap") && !line.contains("RUN"));
            let masks = masks.filter_map(|line| line.split_whitespace().last());
            masks.map(str::to_owned).collect::<Vec<_>>()
        };
        // Docker's on a link too: packets made by hand are refused by the filter.
        assert_eq!(seen(project.build()), ["00000000a80425fb"; 2]);
        let dockers = seen(project.build().flag("--network=host"));
        assert_eq!(dockers, ["00000000a80425fb"; 2]);
        project.put(
            "Dockerfile",
            "FROM busybox\nRUN arping -c 1 -I lo 127.0.0.1 2>&1 || true\n",
        );
        let refused = project.build().flag("--no-cache").success();
        refused.says("arping: socket: Operation not permitted");
        // Nor does a datagram to 127.0.0.1 that is bound to the link go there.
        project.put(
            "Dockerfile",
            "FROM busybox\nRUN grep -E '^\\*[[:space:]]0000007F[[:space:]]00000000[[:space:]]0201' /proc/net/route",
        );
        project.build().success();
    });
}

#[test]
fn the_network_of_the_host_is_shared_when_asked_for() {
    on_a_machine(|| {
        let Some(built) = look(|_, run| run.flag("--network=host")) else {
            return;
        };
        built.says("from the mirror");
        built.says("reached loopback").says("reached socket");
        built.does_not_say("RUN uses");
    });
}

#[test]
fn a_command_without_network_reaches_nothing() {
    on_a_machine(|| {
        let Some(built) = look(|_, run| run.flag("--network=none")) else {
            return;
        };
        built
            .says("missed mirror")
            .says("missed loopback")
            .says("missed socket");
    });
}

#[test]
fn without_a_tool_one_line_says_that_the_network_is_the_hosts() {
    on_a_machine(|| {
        let built = look(|project, run| {
            let path = path_with(project, &[]);
            run.env("PATH", path.to_str().unwrap())
        });
        let Some(built) = built else { return };
        built.says("from the mirror").says("reached loopback");
        let line =
            "RUN uses the host's network: slirp4netns is not installed, pasta is not installed";
        assert_eq!(built.stderr.matches(line).count(), 1, "{built}");
    });
}

#[test]
fn a_proxy_on_the_loopback_of_the_host_is_reached() {
    on_a_machine(|| {
        let built = look(|_, run| run.arg("HTTP_PROXY", "http://127.0.0.1:4000"));
        let Some(built) = built else { return };
        built.says("reached loopback");
        built.says("RUN uses the host's network: `HTTP_PROXY` names a proxy on its loopback");
    });
}

#[test]
fn the_gateway_of_the_host_is_reached() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile("FROM busybox\nRUN grep host.internal /etc/hosts");
    let built = project
        .build()
        .words(["--add-host", "host.internal:host-gateway"]);
    let built = built.success();
    built.says("127.0.0.1\thost.internal");
    built.says("RUN uses the host's network: `host.internal` is its gateway (--add-host)");
}
