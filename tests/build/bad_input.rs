//! What cannot be built says so: place, remedy, documented exit code; and the next build works.

use super::common::Project;

/// Bytes that do not compress.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_le_bytes()[7]
    };
    (0..size).map(|_| next()).collect()
}

fn fails(dockerfile: &str, code: i32, says: &[&str]) {
    let project = Project::new().file("a", "1").file("Dockerfile", dockerfile);
    let outcome = project.build().tag("broken").failure(code);
    for text in says {
        outcome.says(text);
    }
    outcome.does_not_say("panicked");
    project.builder(["inspect", "broken"]).failure(1);
    project
        .file("Dockerfile", "FROM scratch\nCOPY a /\n")
        .build()
        .tag("broken")
        .success();
}

#[test]
fn what_the_dockerfile_says_wrong() {
    fails(
        "FROM scratch\nCOPPY a /\n",
        1,
        &["unknown instruction: COPPY", "COPY", "Dockerfile:2"],
    );
    fails(
        "FROM scratch\nCOPY missing /\n",
        1,
        &["\"/missing\": not found", "Dockerfile:2"],
    );
    fails(
        "FROM scratch\nCOPY --frm=x a /\n",
        1,
        &["unknown flag", "Dockerfile:2"],
    );
    fails("FROM scratch\nCOPY --from=nowhere a /\n", 3, &["nowhere"]);
    fails(
        "FROM scratch\nCOPY <<EOF /x\nhello\n",
        1,
        &["unterminated heredoc", "Dockerfile:2"],
    );
    fails("", 1, &["the Dockerfile cannot be empty"]);
    fails("# only\n", 1, &["file with no instructions"]);
    fails("ARG x\n", 1, &["no stages to build"]);
    fails("FROM scratch\nENV\n", 1, &["ENV", "Dockerfile:2"]);
    fails(
        "FROM a AS b\nCOPY --from=c x /\nFROM b AS c\n",
        1,
        &["circular dependency", "Dockerfile:1"],
    );
}

#[test]
fn a_device_is_refused_even_if_allowed() {
    let text = "FROM scratch\nRUN --device=vendor.example/class=one [\"/a\"]\n";
    let project = Project::new().file("Dockerfile", text);
    let outcome = project.build().words(["--allow", "device"]).failure(1);
    outcome.says("`RUN --device=vendor.example/class=one` is not supported");
}

#[test]
fn a_failing_run_reports_code_output_and_line() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile("FROM busybox\nRUN echo before; exit 7\n");
    let outcome = project.build().tag("x").failure(1);
    outcome
        .says("process \"/bin/sh -c echo before; exit 7\" did not complete successfully: exit code: 7")
        .says("before")
        .says("Dockerfile:2");
    project.builder(["inspect", "x"]).failure(1);
    let project = project.file("Dockerfile", "FROM busybox\nRUN echo before; exit 0\n");
    project.build().tag("x").success();
    project.is_sound();
}

#[test]
fn not_utf8_and_too_big() {
    let project = Project::new().file("Dockerfile", b"FROM scratch\nLABEL a=\xff\xfe\n");
    project
        .build()
        .failure(1)
        .says("UTF-8")
        .says("Dockerfile:2");
    let huge = "# a comment line that is repeated\n".repeat(3_200_000);
    let project = Project::new().file("Dockerfile", huge);
    project.build().failure(1).says("Dockerfile");
}

#[test]
fn missing_things_outside() {
    let project = Project::new();
    project.build().failure(1).says("failed to read dockerfile");
    let project = Project::new().dockerfile("FROM 127.0.0.1:1/nobody/home\n");
    let outcome = project.build().env("BUILDER_RETRIES", "1").failure(3);
    outcome.says("127.0.0.1:1");
    let project = Project::new().dockerfile("FROM scratch\nCOPY x /\n");
    project
        .build()
        .context("/nonexistent")
        .failure(1)
        .says("not found");
    let project = Project::new().dockerfile("FROM scratch AS a\nCOPY . /\n");
    project
        .build()
        .target("b")
        .failure(1)
        .says("target stage \"b\" could not be found");
}

#[test]
fn special_files_in_the_context() {
    let project = Project::new()
        .file("plain", "p")
        .directory("dir")
        .symlink("loop", "loop")
        .symlink("dir/up", "../..")
        .dockerfile("FROM scratch\nCOPY . /\n");
    let fifo = project.context().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(project.context().join("socket")).unwrap();
    // A tree with links that loop, sockets and FIFOs is either built or refused by name; never a hang.
    let outcome = project.build().run();
    assert!(
        outcome.code == 0 || outcome.stderr.contains("fifo"),
        "{}",
        outcome.stderr
    );
    let project = Project::new()
        .dockerfile("FROM scratch\nCOPY loop /x\n")
        .symlink("loop", "loop");
    project.build().failure(1).says("loop");
}

#[test]
fn a_read_only_store_and_a_full_one() {
    if !super::common::User::is_root() {
        return super::common::skip("mounting needs root");
    }
    let project = Project::new()
        .file("a", noise(3 << 20))
        .dockerfile("FROM scratch\nCOPY a /\n");
    let small = project.path("small");
    std::fs::create_dir(&small).unwrap();
    let mount = |options: &str| {
        super::image::tool(
            "mount",
            &[
                "-t",
                "tmpfs",
                "-o",
                options,
                "tmpfs",
                small.to_str().unwrap(),
            ],
        )
    };
    mount("size=1m");
    let root = small.to_str().unwrap().to_owned();
    let outcome = project.build().words(["--root", &root]).run();
    super::image::tool("umount", &[&root]);
    assert_eq!(outcome.code, 3, "{}", outcome.stderr);
    outcome.says("No space left").does_not_say("panicked");
    mount("ro");
    let outcome = project.build().words(["--root", &root]).run();
    super::image::tool("umount", &[&root]);
    assert_eq!(outcome.code, 3, "{}", outcome.stderr);
    outcome.says("ead-only");
    project.build().success();
}

#[test]
fn a_missing_source_of_copy_is_told_with_its_instruction() {
    let project = Project::new().dockerfile("FROM scratch\nCOPY package.json ./\n");
    project.build().failure(1).says(
        "Dockerfile:2\n--------------------\n   1 |     FROM scratch\n   2 | >>> COPY package.json ./\n",
    ).says(
        "ERROR: failed to build: failed to solve: failed to compute cache key: failed to calculate checksum of ref context: \"/package.json\": not found",
    );
}
