//! What a command sees, and what it may do. Each of these holds on every rung (see
//! `sandbox_rungs`).

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use builder::executor::sandbox::{
    Cancel, Exit, Notice, SandboxError, SandboxNetwork, Stream, Ulimit,
};

use super::sandbox_world::{World, error, run, sandbox, tree};

#[test]
fn output_and_exit_code_are_the_commands() {
    let Some(mut world) = World::new() else {
        return;
    };
    let ran = world.run("echo out; echo err >&2; exit 7");
    assert_eq!(ran.stdout, "out\n");
    assert_eq!(ran.stderr, "err\n");
    assert_eq!(ran.outcome.exit, Exit::Code(7));
    assert_eq!(ran.outcome.notices, []);
    assert_eq!(world.run("exit 255").outcome.exit, Exit::Code(255));
    assert_eq!(world.run("kill -TERM $$").outcome.exit, Exit::Signal(15));
    assert_eq!(world.run("kill -KILL $$").outcome.exit, Exit::Signal(9));
}

#[test]
fn large_output_arrives_whole_and_binary() {
    let Some(mut world) = World::new() else {
        return;
    };
    let ran = world.run("head -c 5000000 /dev/zero; printf '\\001' >&2");
    assert_eq!(ran.stdout.len(), 5_000_000);
    assert_eq!(ran.stderr, "\u{1}");
}

#[test]
fn capabilities_are_dockers() {
    let Some(mut world) = World::new() else {
        return;
    };
    let masks = "grep ^Cap /proc/self/status | tr -d '\\t' | tr '\\n' ' '; \
        grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\t' | tr '\\n' ' '";
    let mut spec = world.spec(masks);
    assert_eq!(
        run(&spec).stdout,
        "CapInh:0000000000000000 CapPrm:00000000a80425fb CapEff:00000000a80425fb \
         CapBnd:00000000a80425fb CapAmb:0000000000000000 NoNewPrivs:0 Seccomp:2 "
    );
    spec = world.spec(masks);
    spec.user = "app".into();
    assert_eq!(
        run(&spec).stdout,
        "CapInh:0000000000000000 CapPrm:0000000000000000 CapEff:0000000000000000 \
         CapBnd:00000000a80425fb CapAmb:0000000000000000 NoNewPrivs:0 Seccomp:2 "
    );
    spec = world.spec("grep -E '^(CapEff|Seccomp):' /proc/self/status");
    spec.insecure = true;
    let insecure = run(&spec).stdout;
    // In a user namespace a filter is there for device nodes, which are noted.
    let filter = if builder::executor::sandbox::in_user_namespace() {
        "Seccomp:\t2"
    } else {
        "Seccomp:\t0"
    };
    assert!(
        insecure.contains("ffffff") && insecure.contains(filter),
        "{insecure}"
    );
}

#[test]
fn dangerous_calls_are_refused() {
    let Some(mut world) = World::new() else {
        return;
    };
    for call in [
        "unshare -U true",
        "unshare -m true",
        "mount -t tmpfs none /tmp",
        "umount /proc",
        "hostname other",
        "mknod /tmp/disk b 254 0 && cat /tmp/disk | grep -q ^",
        "echo 1 > /proc/sys/kernel/panic",
        "mkdir /sys/x",
        "echo x > /etc/hosts",
        "nsenter -t 1 -m true",
    ] {
        let ran = world.run(call);
        assert!(
            matches!(ran.outcome.exit, Exit::Code(1..)),
            "{call}: {ran:?}"
        );
    }
    assert_eq!(
        world
            .run("mknod /tmp/null c 1 3; chroot / true")
            .outcome
            .exit,
        Exit::Code(0)
    );
}

#[test]
fn dangerous_paths_show_nothing() {
    let Some(mut world) = World::new() else {
        return;
    };
    let ran = world.run(
        "for p in /proc/kcore /proc/keys /proc/interrupts /proc/timer_list /proc/sched_debug; do \
           [ ! -e $p ] || head -c 1 $p; done; ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null \
           | grep -v :; ls /proc/1/cwd/ 2>/dev/null; readlink /proc/1/exe; true",
    );
    assert_eq!(ran.stdout.trim(), "", "{ran:?}");
}

#[test]
fn only_the_standard_descriptors_are_open() {
    let Some(mut world) = World::new() else {
        return;
    };
    // A descriptor that whoever started the builder left open. `ls` has its directory as 3.
    let leak = fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let ran = world.run("ls /proc/1/fd; ls /proc/self/fd; cat; tty");
    assert_eq!(ran.stdout, "0\n1\n2\n0\n1\n2\n3\nnot a tty\n", "{ran:?}");
}

#[test]
fn processes_outside_are_neither_seen_nor_killed() {
    let Some(mut world) = World::new() else {
        return;
    };
    let ran = world.run("echo $$; set -- /proc/[0-9]*; echo $#; kill -9 -1; echo alive");
    // PID 1 is ours, the shell is 2.
    assert_eq!(ran.stdout, "2\n2\nalive\n", "{ran:?}");
}

#[test]
fn what_is_left_running_does_not_delay_the_end() {
    let Some(mut world) = World::new() else {
        return;
    };
    let start = std::time::Instant::now();
    let ran = world.run("sleep 1000 & (setsid sleep 1000 &) ; echo done");
    assert_eq!(ran.stdout, "done\n");
    assert!(start.elapsed().as_secs() < 10);
}

#[test]
fn users_and_groups_come_from_the_image() {
    let Some(mut world) = World::new() else {
        return;
    };
    for (user, expected) in [
        ("", "uid=0(root) gid=0(root) groups=0(root) /root"),
        (
            "app",
            "uid=1000(app) gid=1001(app) groups=50(staff),1001(app) /home/app",
        ),
        (
            "1000",
            "uid=1000(app) gid=1001(app) groups=50(staff),1001(app) /home/app",
        ),
        (
            "app:staff",
            "uid=1000(app) gid=50(staff) groups=50(staff) /home/app",
        ),
        ("4242", "uid=4242 gid=0(root) groups=0(root) /"),
        (
            "nobody",
            "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup) /",
        ),
    ] {
        let mut spec = world.spec("echo $(id) $HOME; echo $(id -G) > /tmp/mine");
        spec.user = user.into();
        let ran = run(&spec);
        let mut words: Vec<&str> = ran.stdout.split_whitespace().collect();
        let mut groups: Vec<&str> = words[2]["groups=".len()..].split(',').collect();
        groups.sort_unstable_by_key(|group| group.split('(').next().unwrap().parse::<u32>().ok());
        let groups = format!("groups={}", groups.join(","));
        words[2] = &groups;
        assert_eq!(words.join(" "), expected, "USER {user}: {ran:?}");
    }
    let mut spec = world.spec("true");
    spec.user = "stranger".into();
    assert_eq!(
        error(&spec).to_string(),
        "unable to find user stranger: no matching entries in passwd file"
    );
}

#[test]
fn user_files_may_not_be_traps() {
    let Some(mut world) = World::new() else {
        return;
    };
    // A link that leaves the root on the host stays inside of it here.
    let evil = world.path("evil");
    fs::create_dir_all(evil.join("etc")).unwrap();
    std::os::unix::fs::symlink("../../../../../../etc/shadow", evil.join("etc/passwd")).unwrap();
    let mut spec = world.spec("id -u");
    spec.lowers.insert(0, evil.clone());
    spec.user = "daemon".into();
    assert!(matches!(error(&spec), SandboxError::UnknownUser { .. }));
    // A FIFO must not hang us, a huge file must not fill memory.
    fs::remove_file(evil.join("etc/passwd")).unwrap();
    let fifo = evil.join("etc/passwd");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    let mut spec = world.spec("id -u");
    spec.lowers.insert(0, evil.clone());
    assert!(matches!(error(&spec), SandboxError::UserFile { .. }));
    fs::remove_file(&fifo).unwrap();
    fs::File::create(&fifo).unwrap().set_len(11 << 20).unwrap();
    let mut spec = world.spec("id -u");
    spec.lowers.insert(0, evil);
    assert!(matches!(error(&spec), SandboxError::UserFile { .. }));
}

#[test]
fn commands_that_cannot_start_say_why() {
    let Some(mut world) = World::new() else {
        return;
    };
    world.file("base/text", "no program");
    let mut with = |args: &[&str]| {
        let mut spec = world.spec("");
        spec.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        error(&spec)
    };
    assert_eq!(
        with(&["nonesuch"]).to_string(),
        "exec: \"nonesuch\": executable file not found in $PATH"
    );
    assert!(matches!(with(&["/nonesuch"]), SandboxError::Exec { source, .. } if source.0 == 2));
    assert!(matches!(with(&["/text"]), SandboxError::Exec { source, .. } if source.0 == 13));
    assert!(matches!(with(&["/bin"]), SandboxError::Exec { source, .. } if source.0 == 13));
    assert_eq!(with(&[]), SandboxError::NoCommand);
    let mut spec = world.spec("pwd");
    spec.cwd = "/nowhere".into();
    assert!(matches!(
        error(&spec),
        SandboxError::WorkingDirectory { .. }
    ));
    let mut spec = world.spec("");
    spec.args = vec!["sh".into(), "-c".into(), "pwd".into()];
    spec.cwd = "/tmp".into();
    assert_eq!(run(&spec).stdout, "/tmp\n");
}

#[test]
fn the_environment_is_exactly_the_given_one() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut spec = world.spec("");
    spec.args = vec!["/bin/env".into()];
    spec.env = vec![("A".into(), "b c=d".into())];
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(run(&spec).stdout, format!("A=b c=d\n{path}\nHOME=/root\n"));
}

#[test]
fn surroundings_are_fixed() {
    let Some(mut world) = World::new() else {
        return;
    };
    let ran = world.run("hostname; umask; ulimit -c; cut -d' ' -f1-2 /proc/self/oom_score_adj");
    assert_eq!(ran.stdout, "buildkitsandbox\n0022\n0\n500\n");
    let mut spec = world.spec("ulimit -n; ulimit -s");
    let limit = |name: &str, soft, hard| Ulimit {
        name: name.into(),
        soft,
        hard,
    };
    spec.limits.ulimits = vec![
        limit("nofile", 100, 200),
        limit("stack", 1 << 20, 1 << 20),
        limit("nonesuch", 1, 1),
    ];
    let ran = run(&spec);
    assert_eq!(ran.stdout, "100\n1024\n");
    assert_eq!(ran.outcome.notices.len(), 1, "{ran:?}");
}

#[test]
fn without_network_there_is_only_loopback() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut spec = world.spec("ls /sys/class/net; ifconfig lo | grep -c 'UP LOOPBACK RUNNING'");
    spec.network = SandboxNetwork::None;
    assert_eq!(run(&spec).stdout, "lo\n1\n");
}

#[test]
fn a_private_network_reaches_out_but_not_the_host() {
    let Some(mut world) = World::new() else {
        return;
    };
    let runner = sandbox();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut specs = [
        "ls /sys/class/net | grep -c -v lo; route -n | grep -c '^0.0.0.0'; cat /etc/resolv.conf"
            .to_owned(),
        format!("nc -w 1 127.0.0.1 {port} </dev/null; echo $?"),
    ]
    .map(|script| world.spec(&script));
    let cancel = Cancel::new().unwrap();
    let mut outputs = Vec::new();
    for spec in &mut specs {
        spec.network = SandboxNetwork::Private;
        let mut text = Vec::new();
        let mut collect = |stream, bytes: &[u8]| {
            if stream == Stream::Stdout {
                text.extend_from_slice(bytes);
            }
        };
        let outcome = runner.run(spec, &mut collect, &cancel).unwrap();
        if let [Notice::HostNetwork { why }] = outcome.notices.as_slice() {
            eprintln!("skipped: {why}");
            return;
        }
        outputs.push(String::from_utf8(text).unwrap());
    }
    assert!(
        outputs[0].starts_with("1\n1\n") && outputs[0].contains("nameserver"),
        "{outputs:?}"
    );
    assert!(outputs[1].ends_with("1\n"), "{outputs:?}");
}

#[test]
fn limits_hold_or_are_reported() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut spec = world.spec("dd if=/dev/zero of=/dev/null bs=200M count=1");
    spec.limits.memory_bytes = Some(64 << 20);
    let ran = run(&spec);
    let unlimited = ran.outcome.notices.len();
    assert!(
        (ran.outcome.exit, unlimited) == (Exit::OutOfMemory, 0) || unlimited == 1,
        "{ran:?}"
    );
    let mut spec = world.spec("i=0; while [ $i -lt 50 ]; do sleep 10 & i=$((i+1)); done; echo all");
    spec.limits.pids_max = Some(20);
    let ran = run(&spec);
    assert!(
        ran.stdout.is_empty() || ran.outcome.notices.len() == 1,
        "{ran:?}"
    );
}

#[test]
fn changes_land_in_the_upper_directory() {
    let Some(mut world) = World::new() else {
        return;
    };
    let ran = world.run("echo x > /new; rm /bin/vi; mkdir /d; chown 7:8 /d; ln -s new /link");
    assert_eq!(ran.outcome.exit, Exit::Code(0), "{ran:?}");
    assert_eq!(
        tree(&ran.upper),
        [
            "bin/", "bin/vi", "d/", "dev/", "etc/", "link", "new", "proc/", "sys/"
        ]
    );
    let whiteout = fs::symlink_metadata(ran.upper.join("bin/vi")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let owner = fs::metadata(ran.upper.join("d")).unwrap();
    assert_eq!((owner.uid(), owner.gid()), (7, 8));
}

#[test]
fn a_root_from_scratch_keeps_only_what_buildkit_keeps() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut spec = world.spec("");
    fs::copy("/bin/busybox", spec.upper.join("busybox")).unwrap();
    spec.lowers.clear();
    spec.args = vec!["/busybox".into(), "true".into()];
    let ran = run(&spec);
    assert_eq!(tree(&ran.upper), ["busybox", "dev/", "proc/", "sys/"]);
    assert_eq!(fs::metadata(ran.upper.join("proc")).unwrap().mtime(), 0);
}

#[test]
fn two_hundred_layers_are_stacked() {
    let Some(mut world) = World::new() else {
        return;
    };
    let mut spec = world.spec("ls /layers | wc -l; cat /top");
    for number in 0..200 {
        world.file(&format!("l{number}/layers/{number}"), "");
        world.file(&format!("l{number}/top"), &format!("{number}\n"));
        spec.lowers.insert(0, world.path(&format!("l{number}")));
    }
    assert_eq!(run(&spec).stdout, "200\n199\n");
}
