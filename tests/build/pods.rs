//! Where CI jobs run: containers as Docker, podman, CRI-O and Kubernetes start them by default. The best
//! rung that each allows is chosen, and the image is that of root on a machine.

use std::fs;

use crate::common::{Container, Outcome, Project, User};
use crate::ladder_debian::{fetching, packages, with_debian, with_packages};

/// A user that no file of the machine knows.
const NOBODY_KNOWN: u32 = 54_321;

/// Where the ids begin that an ordinary user has for containers.
const FIRST_ID: u32 = 500_000;

fn user() -> User {
    User {
        name: NOBODY_KNOWN.to_string(),
        uid: NOBODY_KNOWN,
        gid: NOBODY_KNOWN,
    }
}

/// Builds what uses all that a RUN may use, in a container or as root of this machine.
fn build(container: Option<&Container>, owner: Option<&User>) -> Option<Outcome> {
    let mut project = Project::with_busybox()?
        .file("directory/one", "1")
        .file("directory/two", "2")
        .dockerfile(
            r#"
            FROM busybox AS tools
            RUN mkdir -p /opt/tool && echo tool > /opt/tool/run && chown -R 3:4 /opt/tool && ln -s run /opt/tool/link
            RUN chown -h 7:8 /opt/tool/link && mkfifo -m 620 /opt/tool/pipe && chown 5:65534 /opt/tool/pipe
            FROM busybox
            RUN echo x > /a && chown 1000:2000 /a && chmod 4751 /a && mkdir -m 1777 /t && mkdir -p /d/sub && echo 2 > /d/sub/two
            RUN rm -r /d && mkdir /d && echo new > /d/new && rm /bin/vi && mv /d /e && touch -d @5 /t && stat -c %u:%g:%a /a > /seen
            WORKDIR /srv/app
            COPY --chown=1000:1000 directory ./
            COPY --from=tools /opt/tool /opt/tool
            RUN rm -r /opt/tool && mkdir -p /opt/tool && stat -c %u:%g /srv/app/one >> /seen
            RUN --mount=type=cache,target=/cache,id=k echo kept > /cache/file && ls -d /cache
            RUN --mount=from=tools,source=/opt,target=/mnt/opt cat /mnt/opt/tool/run > /from-stage
            RUN --mount=type=cache,target=/var/other,id=k cat /var/other/file > /from-cache
            RUN --mount=source=directory,target=/in cat /in/one /in/two > /from-context
            RUN --mount=type=secret,id=s,target=/etc/secret,mode=0400 wc -c < /etc/secret > /length
            RUN --mount=type=tmpfs,target=/home echo gone > /home/file
            RUN echo lost > /dev/null && test -z "$(cat /dev/null)" && cat < /dev/null >> /seen && ls /nowhere 2> /dev/null || true
            RUN test -c /dev/null && test -w /dev/null && test -c /dev/tty && ! test -e /dev/none && stat -L -c %a:%t:%T /dev/null /dev/zero > /devices
            RUN head -c 16 /dev/urandom | wc -c > /random && head -c 3 /dev/zero | od -c > /zero && ! echo x > /dev/full
            RUN test "$(head -c 16 /dev/random | md5sum)" != "$(head -c 16 /dev/urandom | md5sum)" && ! cat /dev/tty
            RUN cat /etc/hosts /etc/resolv.conf > /dev/null; uname -n > /name; hostname >> /name; test ! -e /etc/secret; ls /home
            RUN --network=none ! nc -w 2 127.0.0.1 9 < /dev/null
            RUN readlink /proc/self/exe > /exe && grep -q ^processor /proc/cpuinfo && echo out > /dev/stdout
            USER user
            RUN id > /tmp/id && echo mine > /tmp/mine && echo $HOME >> /tmp/mine && ! chown 0 /tmp/mine && echo y > /dev/null
            "#,
        );
    if let Some(owner) = owner {
        project = project.owned_by(owner.clone());
    }
    fs::write(project.path("secret"), "hush").unwrap();
    let secret = format!("id=s,src={}", project.path("secret").display());
    let mut run = project.build().words(["--secret", &secret]);
    if let Some(container) = container {
        run = run.inside(container);
    }
    Some(run.run())
}

/// A container, who builds in it, and what the build says of its rung.
struct Pod {
    container: Container,
    /// Who may use the project.
    owner: Option<User>,
    rung: &'static str,
}

impl Pod {
    fn root(container: Container, rung: &'static str) -> Self {
        Self {
            container,
            owner: None,
            rung,
        }
    }

    fn user(container: &Container, rung: &'static str) -> Self {
        Self {
            container: container.clone().for_user(&user()),
            owner: Some(user()),
            rung,
        }
    }
}

const RANGE: &str = "isolation: user namespace with subordinate ids";
const SINGLE: &str = "isolation: user namespace with one id";
const CHROOT: &str = "isolation: chroot";

/// Builds in containers, and asserts that the images are root's on a machine.
fn same_in(pods: &[Pod]) {
    let Some(here) = build(None, None) else {
        return;
    };
    assert_eq!(here.code, 0, "{here}");
    let mut wrong = Vec::new();
    for pod in pods {
        let container = &pod.container;
        let built = build(Some(container), pod.owner.as_ref()).unwrap();
        if built.code != 0 {
            wrong.push(format!("{container:?}\n{built}"));
        } else if !built.stderr.contains(pod.rung) {
            wrong.push(format!("not `{}`: {container:?}\n{built}", pod.rung));
        } else if built.digest() != here.digest() {
            wrong.push(format!("another image: {container:?}\n{built}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn in_a_container_of_podman_there_are_namespaces() {
    let Some(podman) = Container::podman_default() else {
        return;
    };
    let user = Pod::user(&podman, SINGLE);
    same_in(&[Pod::root(podman, RANGE), user]);
}

#[test]
fn in_a_container_of_podman_without_volume_there_is_chroot() {
    let Some(podman) = Container::podman_default() else {
        return;
    };
    same_in(&[Pod::root(podman.with_own_store(), CHROOT)]);
}

#[test]
fn in_a_container_of_kubernetes_there_are_namespaces() {
    let Some(pod) = Container::kubernetes_default() else {
        return;
    };
    let user = Pod::user(&pod, SINGLE);
    let own_store = Pod::root(pod.clone().with_own_store(), CHROOT);
    same_in(&[Pod::root(pod, RANGE), user, own_store]);
}

#[test]
fn in_a_container_of_docker_there_is_chroot_without_devices_too() {
    let Some(docker) = Container::docker_default() else {
        return;
    };
    let without = docker.clone().without(&["CAP_MKNOD"]);
    same_in(&[
        Pod::root(docker.with_own_store(), CHROOT),
        Pod::root(without, CHROOT),
    ]);
}

#[test]
fn in_a_container_of_cri_o_one_capability_gives_chroot() {
    let Some(cri_o) = Container::cri_o_default() else {
        return;
    };
    let told = doctor(&cri_o, false);
    assert_eq!(told.code, 3, "{told}");
    told.prints("`--cap-add SYS_CHROOT`")
        .prints("capabilities: { add: [SYS_CHROOT] }");
    same_in(&[Pod::root(cri_o.with("CAP_SYS_CHROOT"), CHROOT)]);
}

#[test]
fn in_a_container_that_a_user_started_there_are_namespaces() {
    let Some(podman) = Container::podman_default() else {
        return;
    };
    let user = user();
    let many = [[0, user.uid, 1], [1, FIRST_ID, 65_536]];
    let pod = |container: Container, rung| Pod {
        container,
        owner: Some(user.clone()),
        rung,
    };
    let range = podman.clone().with_ids(&many);
    same_in(&[
        pod(range.clone(), RANGE),
        pod(range.with_own_store(), CHROOT),
        pod(podman.with_ids(&many[..1]), SINGLE),
    ]);
}

/// What the doctor says in a container, in a project of the user if it is for one.
fn doctor(container: &Container, is_users: bool) -> Outcome {
    let project = if is_users {
        Project::new().owned_by(user())
    } else {
        Project::new()
    };
    project.builder(["doctor"]).inside(container).run()
}

#[test]
fn the_doctor_names_what_a_container_lacks() {
    let (Some(podman), Some(kubernetes)) =
        (Container::podman_default(), Container::kubernetes_default())
    else {
        return;
    };
    let works = doctor(&podman, false);
    works
        .prints("works  user namespace with subordinate ids")
        .prints("works  chroot");
    assert!(
        !works.stdout.contains("SYS_ADMIN"),
        "nothing to gain\n{works}"
    );

    let mapless = kubernetes.without(&["CAP_SETFCAP", "CAP_SYS_CHROOT"]);
    doctor(&mapless, false)
        .prints("failed to write `/proc/PID/uid_map`")
        .prints("`--cap-add SETFCAP`")
        .prints("`--cap-add SYS_CHROOT`");

    let volumeless = podman.clone().for_user(&user()).with_own_store();
    let told = doctor(&volumeless, true);
    assert_eq!(told.code, 3, "{told}");
    told.prints("put the store on a volume with --root DIR")
        .prints("run as root: in a container with its default capabilities");

    let single = podman.with_ids(&[[0, NOBODY_KNOWN, 1]]).with_own_store();
    let told = doctor(&single, true);
    assert_eq!(told.code, 3, "{told}");
    told.prints("root has too few ids here: 1, 65536 are needed")
        .prints("--add-subuids 100000-165535")
        .prints("root has one id here, and files may belong to others");
}

#[test]
fn a_command_changes_nothing_of_its_container() {
    let (Some(podman), Some(kubernetes), Some(docker)) = (
        Container::podman_default(),
        Container::kubernetes_default(),
        Container::docker_default(),
    ) else {
        return;
    };
    let in_a = |container: &Container, text: &str| {
        let project = Project::with_busybox()?.dockerfile(text);
        Some(project.build().inside(container).success())
    };
    for container in [podman.clone(), kubernetes] {
        // The processes of the container are root's, as the command is: to see, not to change.
        let built = in_a(
            &container,
            "
            FROM busybox
            RUN ! chmod 600 /dev/null && ! chown 5 /dev/zero && echo x > /dev/null
            RUN test -d /proc/1 && ! cat /proc/1/environ && ! ls /proc/1/root/ && ! readlink /proc/1/fd/1 && ! readlink /proc/1/cwd
            RUN ! sh -c 'echo 900 > /proc/1/oom_score_adj' && ! sh -c 'echo 900 > /proc/self/oom_score_adj'
            RUN ! kill -0 4000000 && ! mount -t tmpfs none /mnt && ! sh -c 'echo x > /proc/sys/kernel/hostname'
            ",
        );
        let Some(built) = built else { return };
        built.says("/proc shows processes outside of the sandbox, and is read-only");
    }
    // Without namespaces, devices are the container's, but not the names by which they are changed.
    for container in [podman.with_own_store(), docker.without(&["CAP_MKNOD"])] {
        in_a(
            &container,
            "
            FROM busybox
            RUN chmod 600 /dev/null && chown 5 /dev/zero && chmod 600 /dev/stdin && cd /dev && ! cat zero && rm full
            USER user
            RUN echo x > /dev/null && head -c 1 /dev/zero > /tmp/zero && test -e /dev/full && cat /dev/stdin
            ",
        );
    }
}

#[test]
fn one_store_serves_root_of_the_machine_and_of_its_containers() {
    let (Some(podman), Some(docker)) = (Container::podman_default(), Container::docker_default())
    else {
        return;
    };
    // Deletions, replaced directories and device nodes: overlays mark them in different ways.
    let lines = [
        "FROM busybox AS below\nRUN mkdir -p /d/sub && echo 1 > /d/one && echo 2 > /d/sub/two && mknod /null c 1 3",
        "RUN rm -r /d && mkdir /d && echo new > /d/new && rm /bin/vi && mv /null /d/device && mkfifo /p && chown 5:6 /p",
        "RUN find /d | sort > /list && test ! -e /bin/vi && chown 7:8 /d/device && rm -r /home && mkdir /home",
        "RUN find /d /home | sort > /more && mv /d/device /moved && ln -s d /l",
        "FROM busybox\nCOPY --from=below / /all/\nRUN find /all/d /all/moved -exec stat -c '%n %u:%g %a' {} + | sort > /told",
    ];
    let places = [None, Some(podman), Some(docker)];
    let build = |project: &Project, place: &Option<Container>| match place {
        None => project.build().success().digest(),
        Some(container) => project.build().inside(container).success().digest(),
    };
    let (Some(shared), Some(own)) = (Project::with_busybox(), Project::with_busybox()) else {
        return;
    };
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        text = format!("{text}{line}\n");
        shared.put("Dockerfile", &text);
        own.put("Dockerfile", &text);
        // Each line is run in another place, on top of what the others left.
        let digest = build(&shared, &places[number % places.len()]);
        assert_eq!(digest, build(&own, &None), "{line}");
    }
    shared.is_sound();
}

/// A tar with device nodes in a directory.
fn nodes(directory: &str) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let kinds = [
        ("null", tar::EntryType::Char, 1, 3),
        ("disk", tar::EntryType::Block, 8, 1),
    ];
    for (name, kind, major, minor) in kinds {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o620);
        header.set_uid(0);
        header.set_gid(5);
        header.set_mtime(1_000_000);
        header.set_size(0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_path(format!("{directory}/{name}")).unwrap();
        header.set_cksum();
        archive.append(&header, &[][..]).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn device_nodes_of_a_base_are_kept_in_dev_and_refused_elsewhere() {
    let Some(docker) = Container::docker_default() else {
        return;
    };
    let without = docker.without(&["CAP_MKNOD"]);
    let project = |directory: &str| {
        let project = Project::with_busybox()?.file("nodes.tar", nodes(directory));
        Some(project.dockerfile(
            "
            FROM busybox
            ADD nodes.tar /
            RUN echo x > /dev/null && echo done > /done
            RUN test -s /done && ls /dev > /dev/null && rm -rf /dev/disk
            ",
        ))
    };
    let (Some(here), Some(there)) = (project("dev"), project("dev")) else {
        return;
    };
    let here = here.build().success();
    let there = there.build().inside(&without).success();
    there.says("RUN can make no device nodes here");
    assert_eq!(there.digest(), here.digest());
    let Some(elsewhere) = project("srv/jail/dev") else {
        return;
    };
    let refused = elsewhere.build().inside(&without).failure(3);
    refused
        .says("of the layers below is a device node, which cannot be made here")
        .says("--cap-add MKNOD");
}

#[test]
fn a_distribution_is_the_same_in_containers() {
    let (Some(podman), Some(docker)) = (Container::podman_default(), Container::docker_default())
    else {
        return;
    };
    let fetching = fetching("iputils-ping libcap2-bin dbus openssh-client");
    let packages = packages(&fetching);
    let dockerfile = r#"
        FROM debian
        RUN --mount=source=packages,target=/packages --mount=type=cache,target=/var/cache/apt \
            apt-get install -y --no-install-recommends /packages/*.deb \
         && rm -rf /var/log/apt /var/log/*.log /var/cache/ldconfig /var/lib/apt/lists/* /var/lib/dbus/machine-id
        RUN useradd --create-home --uid 1000 app && cp /bin/true /set && chown app:5 /set && chmod 6755 /set
        RUN perl -e 'open R, "</dev/urandom" or die; sysread(R, $b, 16) == 16 or die; open N, ">>/dev/null" or die; -c N or die' \
         && ssh-keygen -q -t ed25519 -N "" -f /key && rm /key /key.pub && head -c 100000 /dev/zero | sha256sum > /zeros
        USER app
        RUN perl -e 'open N, "+</dev/null" or die; -c N or die; -c STDIN or die; defined(getc N) and die; print N "x" or die' \
         && gzip -c < /dev/null > ~/empty && sort -R /etc/passwd --random-source=/dev/urandom > /dev/null && dd if=/dev/zero of=/dev/null count=9
    "#;
    let build = |container: Option<&Container>| {
        let project = with_packages(with_debian().dockerfile(dockerfile), &packages);
        let run = project.build();
        let run = match container {
            Some(container) => run.inside(container),
            None => run,
        };
        run.success().digest()
    };
    let here = build(None);
    for container in [podman, docker.without(&["CAP_MKNOD"])] {
        assert_eq!(build(Some(&container)), here, "{container:?}");
    }
}
