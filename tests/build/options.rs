//! What the flags of a build do to its commands and to its image.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::image::{Layout, tool};
use super::server::{Answer, Server};
use crate::common::{Project, User, busybox_layout};

#[test]
fn commands_see_hosts_memory_and_limits_as_asked() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox
        RUN cat /etc/hosts; df -m /dev/shm | tail -1; ulimit -n; ulimit -Hn; ulimit -u
        ",
    );
    let step = "RUN cat /etc/hosts; df -m /dev/shm | tail -1; ulimit -n; ulimit -Hn; ulimit -u";
    let asked = project.build().words([
        "--add-host=one:10.0.0.1",
        "--add-host=six=fd00::6",
        "--shm-size=16m",
        "--ulimit=nofile=100:200",
        "--ulimit=nproc=4000",
    ]);
    let seen = asked.success().output_of(step);
    for part in [
        "10.0.0.1\tone",
        "fd00::6\tsix",
        "16 ",
        "100\n",
        "200\n",
        "4000",
    ] {
        assert!(seen.contains(part), "no {part:?} in {seen}");
    }
    // Names are in the key, addresses and limits are the machine's business.
    let other = [
        "--add-host=one:10.0.0.9",
        "--add-host=six=fd00::6",
        "--ulimit=nofile=101:201",
    ];
    project.build().words(other).success().cached(step);
    project.build().success().ran(step);
}

#[test]
fn a_build_without_network_gives_its_commands_none() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let step = "RUN ls /sys/class/net";
    let project = project.dockerfile(&format!("FROM busybox\n{step}\n"));
    let seen = project.build().flag("--network=none").success();
    assert!(seen.output_of(step).trim().ends_with("lo"), "{seen}");
    let host = project.build().flag("--network=host").success();
    let mut names: Vec<String> = fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names {
        assert!(host.output_of(step).contains(&name), "no {name} in {host}");
    }
}

#[test]
fn standard_input_is_a_dockerfile_or_a_context() {
    let project = Project::new().file("Other", "FROM scratch\nCOPY file /from-other\n");
    let project = project
        .file("file", "f")
        .dockerfile("FROM scratch\nCOPY file /of-tar\n");
    let context = project.context();
    let context = context.to_str().unwrap();
    let tar =
        |words: &[&str]| tool("tar", &[&["-C", context, "-c"], words, &["."]].concat()).stdout;
    let target = project.path("out");
    let local = format!("type=local,dest={}", target.display());
    let has = |name: &str| {
        assert!(target.join(name).exists(), "{name} is missing");
        fs::remove_dir_all(&target).unwrap();
    };
    // A Dockerfile without any context.
    let alone = project.build().context("-").output_to(&local);
    alone
        .stdin("FROM scratch\nCOPY <<E /of-text\nE\n")
        .success();
    has("of-text");
    let missing = project
        .build()
        .context("-")
        .stdin("FROM scratch\nCOPY file /\n");
    missing.failure(1).says("file");
    // A Dockerfile for a context.
    let beside = project.build().words(["-f", "-"]).output_to(&local);
    beside.stdin("FROM scratch\nCOPY file /beside\n").success();
    has("beside");
    // A context, packed in any way, with either of its Dockerfiles.
    for compression in ["--no-auto-compress", "-z", "-j", "-J", "--zstd"] {
        let packed = match compression {
            "--no-auto-compress" => tar(&[]),
            flag => tar(&[flag]),
        };
        let build = project.build().context("-").output_to(&local);
        build.stdin(&packed).success();
        has("of-tar");
    }
    let other = project.build().context("-").words(["-f", "Other"]);
    other.output_to(&local).stdin(tar(&[])).success();
    has("from-other");
    // Nothing that is one of them.
    project.build().context("-").stdin("").failure(1);
    let odd = project
        .build()
        .context("-")
        .stdin([0x1f, 0x8b, 8, 0, 1, 2, 3]);
    odd.failure(1).does_not_say("panicked");
}

#[test]
fn a_server_has_a_dockerfile_or_a_context() {
    let project = Project::new().file("file", "f");
    let project = project.dockerfile("FROM scratch\nCOPY file /of-tar\n");
    let context = project.context();
    let packed = tool("tar", &["-C", context.to_str().unwrap(), "-cz", "."]).stdout;
    let server = Server::start(move |request| match request.path.as_str() {
        "/context.tar.gz" => Answer::new(200).body(packed.clone()),
        "/Dockerfile" => Answer::new(200).body("FROM scratch\nCOPY <<E /of-text\nE\n"),
        "/for-local" => Answer::new(200).body("FROM scratch\nCOPY file /for-local\n"),
        "/data.txt" => Answer::new(200).body("data"),
        _ => Answer::new(404),
    });
    let url = |path: &str| format!("http://{}{path}", server.host());
    let target = project.path("out");
    let local = format!("type=local,dest={}", target.display());
    for (context, file, made) in [
        (Some("/context.tar.gz"), None, "of-tar"),
        (Some("/Dockerfile"), None, "of-text"),
        (None, Some("/for-local"), "for-local"),
    ] {
        let mut build = project.build().output_to(&local);
        build = match context {
            Some(path) => build.context(&url(path)),
            None => build,
        };
        build = match file {
            Some(path) => build.words(["-f", &url(path)]),
            None => build,
        };
        build.success();
        assert!(target.join(made).exists(), "{made} is missing");
        fs::remove_dir_all(&target).unwrap();
    }
    project
        .build()
        .context(&url("/gone"))
        .failure(1)
        .says("404");
    project.put(
        "Dockerfile",
        "FROM scratch\nCOPY --from=web context /data\n",
    );
    let named = format!("--build-context=web={}", url("/data.txt"));
    project.build().flag(&named).output_to(&local).success();
    assert_eq!(fs::read(target.join("data")).unwrap(), b"data");
}

#[test]
fn named_contexts_stand_for_directories_layouts_and_images() {
    let Some(busybox) = busybox_layout() else {
        return;
    };
    let project = Project::new().dockerfile(
        "
        FROM base AS one
        COPY --from=files sub/a /from-files
        COPY --from=golang /etc/passwd /from-layout
        RUN --mount=type=bind,from=files,target=/mnt cat /mnt/sub/a > /from-mount
        FROM stage
        ",
    );
    let files = project.path("files");
    fs::create_dir_all(files.join("sub")).unwrap();
    fs::write(files.join("sub/a"), "a").unwrap();
    fs::write(files.join("skipped"), "never").unwrap();
    let index = fs::read(busybox.join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let layout = format!("oci-layout://{}", busybox.display());
    let target = project.path("out");
    let named = [
        format!("--build-context=base={layout}@{digest}"),
        format!("--build-context=golang={layout}:latest"),
        format!("--build-context=files={}", files.display()),
        format!("--build-context=stage={}", files.display()),
    ];
    // A stage of files takes the place of an image.
    let build = project.build().words(&named);
    build
        .output_to(&format!("type=local,dest={}", target.display()))
        .success();
    assert_eq!(fs::read(target.join("sub/a")).unwrap(), b"a");
    let other = project.path("one");
    let build = project.build().words(&named).target("one");
    build
        .output_to(&format!("type=local,dest={}", other.display()))
        .success();
    for name in ["from-files", "from-mount"] {
        assert_eq!(fs::read(other.join(name)).unwrap(), b"a");
    }
    let zeros = "0".repeat(64);
    for (value, words) in [
        ("/no/such/directory".to_owned(), "/no/such/directory"),
        (format!("{layout}:none"), "none"),
        (format!("{layout}@sha256:{zeros}"), &zeros),
        ("oci-layout:///no/such".to_owned(), "/no/such"),
        ("target:other".to_owned(), "target:other"),
    ] {
        let flag = format!("--build-context=base={value}");
        let refused = project.build().words(&named[1..]).flag(&flag);
        refused.target("one").failure(1).says(words);
    }
}

#[test]
fn annotations_go_to_the_documents_they_name() {
    let project = Project::new()
        .file("f", "1")
        .dockerfile("FROM scratch\nCOPY f /\n");
    let archive = project.path("image.tar");
    let build = project.build().words([
        "--platform=linux/amd64,linux/arm64",
        "--annotation=plain=1",
        "--annotation=manifest:m=2",
        "--annotation=index:i=3",
        "--annotation=index-descriptor:id=4",
        "--annotation=manifest-descriptor:md=5",
        "--annotation=manifest[linux/arm64]:arm=6",
    ]);
    let layout = project.path("layout");
    fs::create_dir(&layout).unwrap();
    build
        .output_to(&format!("type=oci,dest={}", archive.display()))
        .success();
    tool(
        "tar",
        &[
            "-xf",
            archive.to_str().unwrap(),
            "-C",
            layout.to_str().unwrap(),
        ],
    );
    let json = |path: std::path::PathBuf| -> Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let blob = |descriptor: &Value| {
        let hex = &descriptor["digest"].as_str().unwrap()[7..];
        json(layout.join("blobs/sha256").join(hex))
    };
    let top = json(layout.join("index.json"));
    assert_eq!(top["manifests"][0]["annotations"]["id"], "4");
    let index = blob(&top["manifests"][0]);
    assert_eq!(index["annotations"], json!({ "i": "3" }));
    for (number, arm) in [(0, Value::Null), (1, json!("6"))] {
        let descriptor = &index["manifests"][number];
        assert_eq!(descriptor["annotations"]["md"], "5");
        let manifest = blob(descriptor);
        assert_eq!(manifest["annotations"]["plain"], "1");
        assert_eq!(manifest["annotations"]["m"], "2");
        assert_eq!(
            manifest["annotations"]
                .get("arm")
                .cloned()
                .unwrap_or_default(),
            arm
        );
    }
}

#[test]
fn layers_are_compressed_as_asked() {
    let Some(busybox) = busybox_layout() else {
        return;
    };
    let project = Project::new()
        .flag(&format!(
            "--build-context=busybox=oci-layout://{}",
            busybox.display()
        ))
        .file("text", "text ".repeat(10_000))
        .dockerfile("FROM busybox\nCOPY text /\n");
    let media_types = |attributes: &str| -> Vec<String> {
        let layout = project.path("layout");
        drop(fs::remove_dir_all(&layout));
        let spec = format!("type=oci,tar=false,dest={}{attributes}", layout.display());
        project.build().tag("x").output_to(&spec).success();
        let reference = format!("oci:{}", layout.display());
        let manifest = tool("skopeo", &["inspect", "--raw", &reference]).stdout;
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let layers = manifest["layers"].as_array().unwrap().iter();
        let layers = layers.map(|layer| {
            let name = layer["mediaType"].as_str().unwrap();
            let hex = &layer["digest"].as_str().unwrap()[7..];
            let bytes = fs::read(layout.join("blobs/sha256").join(hex)).unwrap();
            let magic = match bytes[..4] {
                [0x1f, 0x8b, ..] => "gzip",
                [0x28, 0xb5, 0x2f, 0xfd] => "zstd",
                _ => "plain",
            };
            let name = name.rsplit("layer.v1.").next().unwrap();
            format!("{name} {magic}")
        });
        let layers = layers.collect();
        // Whoever else reads it finds the same files.
        let tree = Layout::at(&layout).tree(&project.path("bundle"));
        assert!(tree["text"].starts_with("file 644 0:0 text"));
        fs::remove_dir_all(project.path("bundle")).unwrap();
        layers
    };
    assert_eq!(media_types(""), ["tar plain", "tar+gzip gzip"]);
    assert_eq!(
        media_types(",compression=gzip,compression-level=9")[1],
        "tar+gzip gzip"
    );
    assert_eq!(
        media_types(",compression=gzip,force-compression=true"),
        ["tar+gzip gzip", "tar+gzip gzip"]
    );
    assert_eq!(
        media_types(",compression=uncompressed"),
        ["tar plain", "tar plain"]
    );
    let refused = project
        .build()
        .output_to("type=oci,dest=x,compression=estargz");
    refused.failure(2).says("estargz");
}

#[test]
fn metadata_names_what_was_made() {
    let project = Project::new()
        .file("f", "1")
        .dockerfile("FROM scratch\nCOPY f /\n");
    let ids = project.path("iid");
    let build = project.build().tag("one/name:1").tag("two:2");
    let outcome = build.words(["--iidfile", ids.to_str().unwrap()]).success();
    let metadata = outcome.metadata();
    let config = metadata["containerimage.config.digest"].as_str().unwrap();
    let digest = metadata["containerimage.digest"].as_str().unwrap();
    let descriptor = &metadata["containerimage.descriptor"];
    assert_eq!(descriptor["digest"], digest);
    assert_eq!(
        descriptor["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        metadata["image.name"],
        "docker.io/one/name:1,docker.io/library/two:2"
    );
    let id = fs::read_to_string(&ids).unwrap();
    assert!(id == config || id == digest, "{id} {metadata}");
    let other = project.path("layout");
    let spec = format!("type=oci,tar=false,dest={}", other.display());
    project.build().output_to(&spec).success();
    let seen = tool("skopeo", &["inspect", &format!("oci:{}", other.display())]).stdout;
    let seen: Value = serde_json::from_slice(&seen).unwrap();
    assert_eq!(seen["Digest"], digest);
}

#[test]
fn a_tar_of_the_files_is_what_tar_takes() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project =
        project.dockerfile("FROM busybox\nRUN echo x > /x && chown 5:6 /x && rm /bin/vi\n");
    let archive = project.path("files.tar");
    let build = project.build();
    build
        .output_to(&format!("type=tar,dest={}", archive.display()))
        .success();
    let listed = tool(
        "tar",
        &["--numeric-owner", "-tvf", archive.to_str().unwrap()],
    )
    .stdout;
    let listed = String::from_utf8(listed).unwrap();
    let line = listed.lines().find(|line| line.ends_with(" x")).unwrap();
    assert!(line.starts_with("-rw-r--r-- 5/6"), "{line}");
    assert!(
        listed.contains("bin/busybox") && !listed.contains("bin/vi\n"),
        "{listed}"
    );
    assert!(!listed.contains(".wh."), "{listed}");
    // The directory that it is unpacked in keeps its mode.
    assert!(
        !listed.lines().any(|line| line.ends_with(" ./")),
        "{listed}"
    );
    let streamed = project.build().output_to("-").success();
    assert_eq!(streamed.stdout_bytes, fs::read(&archive).unwrap());
}

#[test]
fn a_group_of_control_groups_holds_the_commands() {
    if !User::is_root() {
        crate::common::skip("only root may make control groups");
        return;
    }
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile("FROM busybox\nRUN echo be''gun; sleep 600\n");
    let parent = format!("builder-test-{}", std::process::id());
    let running = project
        .build()
        .flag(&format!("--cgroup-parent={parent}"))
        .start();
    let running = running.wait_for("begun");
    let found = Command::new("find")
        .args([
            "/sys/fs/cgroup",
            "-path",
            &format!("*{parent}*"),
            "-name",
            "cgroup.procs",
        ])
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let holders = found.lines().filter(|path| {
        let ids = fs::read_to_string(path).unwrap_or_default();
        ids.lines().any(|id| {
            let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains("sleep\x00600")
        })
    });
    let count = holders.count();
    let ended = running.signal(nix::sys::signal::Signal::SIGTERM).finish();
    if ended
        .stderr
        .contains("is not in the group of --cgroup-parent")
    {
        crate::common::skip("control groups cannot be made here");
        return;
    }
    assert!(count > 0, "nobody sleeps below {parent}:\n{found}");
    // The groups of steps are gone; the one that was named is not ours to remove.
    for path in found.lines() {
        let group = std::path::Path::new(path).parent().unwrap();
        if group.ends_with(&parent) {
            fs::remove_dir(group).unwrap();
        }
    }
}

#[test]
fn a_directory_is_replaced_only_where_that_is_allowed() {
    let project = Project::new().file("f", "new").dockerfile(
        "
        FROM scratch
        COPY f /kept/f
        COPY f /was-directory
        COPY --chmod=750 f /sub/deep/f
        ",
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let outside = elsewhere.path().to_owned();
    fs::write(outside.join("precious"), "p").unwrap();
    // The working directory is the project's.
    let target = project.path("out");
    let fill = || {
        for name in ["kept", "stale/inner", "was-directory"] {
            fs::create_dir_all(target.join(name)).unwrap();
        }
        for name in ["kept/f", "kept/old", "stale/inner/x", "old"] {
            fs::write(target.join(name), "old").unwrap();
        }
        std::os::unix::fs::symlink(&outside, target.join("link")).unwrap();
        std::os::unix::fs::symlink(&outside, target.join("sub")).unwrap();
    };
    let found = || super::image::list(&target).into_keys().collect::<Vec<_>>();
    fill();
    let spec = "type=local,dest=out,mode=delete";
    project.build().output_to(spec).success();
    let exact = [
        "kept",
        "kept/f",
        "sub",
        "sub/deep",
        "sub/deep/f",
        "was-directory",
    ];
    assert_eq!(found(), exact);
    assert_eq!(fs::read(target.join("kept/f")).unwrap(), b"new");
    // Again, and for two platforms: each has a directory, and nothing else stays.
    project.build().output_to(spec).success();
    assert_eq!(found(), exact);
    let two = project.build().flag("--platform=linux/amd64,linux/arm64");
    two.output_to(spec).success();
    let top: Vec<String> = found()
        .into_iter()
        .filter(|path| !path.contains('/'))
        .collect();
    assert_eq!(top, ["linux_amd64", "linux_arm64"]);
    // A build that fails deletes nothing.
    fs::remove_dir_all(&target).unwrap();
    fill();
    let before = found();
    project.put("Dockerfile", "FROM scratch\nCOPY none /\n");
    project.build().output_to(spec).failure(1);
    assert_eq!(found(), before);
    project.put("Dockerfile", "FROM scratch\nCOPY f /\n");
    // Without it, what is there stays.
    project.build().output_to("type=local,dest=out").success();
    assert!(target.join("stale/inner/x").exists());
    // Elsewhere, or through a link that leads there, it must be allowed.
    for dest in [".", "out/link", "/tmp", "out/none/../../.."] {
        let spec = format!("type=local,dest={dest},mode=delete");
        let refused = project.build().output_to(&spec).failure(2);
        refused.says("--allow=buildx.local.delete");
    }
    assert!(outside.join("precious").exists());
    let link = "type=local,dest=out/link,mode=delete";
    let allowed = project.build().flag("--allow=buildx.local.delete");
    allowed.output_to(link).success();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert!(outside.join("f").exists());
    // The store never goes.
    let own = project.build().flag("--allow=buildx.local.delete");
    let refused = own.output_to("type=local,dest=.,mode=delete").failure(2);
    refused.says("the store");
    project.is_sound();
}
