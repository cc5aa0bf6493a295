//! What instructions mean: RUN, configs, history, scopes, ONBUILD.

use super::common::{Project, User};
use super::image::Layout;
use serde_json::{Value, json};

fn layout(project: &Project) -> Layout {
    let path = project.path("layout");
    drop(std::fs::remove_dir_all(&path));
    let spec = format!("type=oci,dest={},tar=false", path.display());
    project.build().tag("test").output_to(&spec).success();
    Layout::at(&path)
}

fn config(dockerfile: &str) -> Value {
    let project = Project::new().file("f", "1").dockerfile(dockerfile);
    layout(&project).config()
}

#[test]
fn metadata_becomes_config_and_history() {
    let config = config(
        r#"
        FROM scratch
        ENV A=1 B="two words"
        ENV A=3
        LABEL l=v
        EXPOSE 80 53/udp 90-91
        VOLUME /data
        WORKDIR /srv
        USER 1000:2000
        STOPSIGNAL SIGUSR1
        HEALTHCHECK --interval=5s CMD true
        SHELL ["/bin/x", "-c"]
        ENTRYPOINT ["/entry"]
        CMD ["a", "b"]
        MAINTAINER me
        COPY f /f
        "#,
    );
    let part = &config["config"];
    assert_eq!(
        part["Env"],
        json!([
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "A=3",
            "B=two words"
        ])
    );
    assert_eq!(part["Labels"], json!({ "l": "v" }));
    assert_eq!(
        part["ExposedPorts"],
        json!({ "53/udp": {}, "80/tcp": {}, "90/tcp": {}, "91/tcp": {} })
    );
    assert_eq!(part["Volumes"], json!({ "/data": {} }));
    assert_eq!(part["WorkingDir"], "/srv");
    assert_eq!(part["User"], "1000:2000");
    assert_eq!(part["StopSignal"], "SIGUSR1");
    assert_eq!(part["Healthcheck"]["Interval"], 5_000_000_000_u64);
    assert_eq!(part["Shell"], json!(["/bin/x", "-c"]));
    assert_eq!(part["Entrypoint"], json!(["/entry"]));
    assert_eq!(part["Cmd"], json!(["a", "b"]));
    assert_eq!(config["author"], "me");
    assert_eq!(config["created"], "1970-01-01T00:00:00Z");
    let history: Vec<&str> = config["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["created_by"].as_str().unwrap())
        .collect();
    assert!(history.contains(&"COPY f /f # buildkit"), "{history:?}");
    assert!(history.contains(&"CMD [\"a\" \"b\"]"), "{history:?}");
    let layers = config["history"].as_array().unwrap().iter();
    let layers = layers.filter(|entry| entry["empty_layer"] != true).count();
    assert_eq!(
        layers,
        config["rootfs"]["diff_ids"].as_array().unwrap().len()
    );
}

#[test]
fn run_sees_its_sandbox() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox
        ARG ONE=1
        ENV TWO=2
        RUN env | sort > /env; hostname > /hostname; id > /id; umask > /umask
        USER user
        WORKDIR /home
        RUN id > /tmp/user-id; pwd > /tmp/pwd
        ",
    );
    let tree = layout(&project).tree(&project.path("bundle"));
    let rootfs = project.path("bundle").join("rootfs");
    let read = |path: &str| std::fs::read_to_string(rootfs.join(path)).unwrap();
    let env = read("env");
    assert!(env.contains("ONE=1\n") && env.contains("TWO=2\n"), "{env}");
    assert!(
        env.contains("HOME=/root\n") && env.contains("SOURCE_DATE_EPOCH="),
        "{env}"
    );
    assert!(
        !env.contains("CARGO"),
        "the builder's environment does not leak: {env}"
    );
    assert_eq!(read("hostname"), "buildkitsandbox\n");
    assert!(read("id").starts_with("uid=0(root) gid=0(root)"));
    assert_eq!(read("umask"), "0022\n");
    assert!(read("tmp/user-id").starts_with("uid=1000(user) gid=1000(user)"));
    assert!(
        read("tmp/user-id").contains("2000(extra)"),
        "supplementary groups"
    );
    assert_eq!(read("tmp/pwd"), "/home\n");
    assert!(!tree.contains_key("etc/resolv.conf"), "{tree:#?}");
    assert!(!tree.contains_key("etc/hosts"), "{tree:#?}");
}

#[test]
fn run_in_all_its_forms() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile(
        r#"
        FROM busybox
        RUN ["/bin/sh", "-c", "echo exec > /exec"]
        RUN echo one && \
            # a comment inside
            echo two > /continued
        RUN <<EOF
        echo first > /heredoc
        echo second >> /heredoc
        EOF
        RUN <<EOF
        #!/bin/busybox sh
        echo "script $0" > /script
        EOF
        RUN cat <<A > /complex && cat <<B >> /complex
        a
        A
        b
        B
        SHELL ["/bin/sh", "-e", "-c"]
        RUN echo "$-" > /shell
        "#,
    );
    layout(&project).unpack(&project.path("bundle"));
    let rootfs = project.path("bundle").join("rootfs");
    let read = |path: &str| std::fs::read_to_string(rootfs.join(path)).unwrap();
    assert_eq!(read("exec"), "exec\n");
    assert_eq!(read("continued"), "two\n");
    assert_eq!(read("heredoc"), "first\nsecond\n");
    assert!(read("script").starts_with("script /"), "{}", read("script"));
    assert_eq!(read("complex"), "a\nb\n");
    assert!(read("shell").contains('e'));
}

#[test]
fn deletions_modes_and_links_of_run_arrive() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox
        RUN mkdir -p /d/e && echo 1 > /d/one && echo 2 > /d/e/two && ln /d/one /hard && ln -s d /soft
        RUN rm /d/one && rm -r /d/e && mkdir /d/e && chown 5:6 /hard && chmod 4755 /hard
        ",
    );
    let tree = layout(&project).tree(&project.path("bundle"));
    assert!(
        !tree.contains_key("d/one") && !tree.contains_key("d/e/two"),
        "{tree:#?}"
    );
    assert_eq!(tree["d/e"], "dir 755 0:0");
    assert_eq!(tree["hard"], "file 4755 5:6 1");
    assert_eq!(tree["soft"], "link -> d");
}

#[test]
fn mounts_are_there_and_leave_nothing() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project
        .file("ctx/a", "from context")
        .file("s", "hush-hush-secret")
        .dockerfile(
            "
        FROM busybox AS other
        RUN echo stage > /from-stage
        FROM busybox
        RUN --mount=type=bind,source=ctx,target=/m cat /m/a > /bind
        RUN --mount=type=bind,from=other,source=/from-stage,target=/f cat /f > /stage
        RUN --mount=type=cache,target=/c echo $(( $(cat /c/n 2>/dev/null || echo 0) + 1 )) > /c/n
        RUN --mount=type=cache,target=/c cat /c/n > /cached
        RUN --mount=type=tmpfs,target=/t echo x > /t/x
        RUN --mount=type=secret,id=s cat /run/secrets/s | wc -c > /secret
        RUN --mount=type=secret,id=s,env=S echo ${#S} > /secret-env
        ",
        );
    let path = project.path("layout");
    let spec = format!("type=oci,dest={},tar=false", path.display());
    let secret = format!("id=s,src={}", project.context().join("s").display());
    project
        .build()
        .words(["--secret", &secret])
        .tag("test")
        .output_to(&spec)
        .success();
    let tree = Layout::at(&path).tree(&project.path("bundle"));
    assert_eq!(tree["bind"], "file 644 0:0 from context");
    assert_eq!(tree["stage"], "file 644 0:0 stage");
    assert_eq!(tree["cached"], "file 644 0:0 1");
    assert_eq!(tree["secret"], "file 644 0:0 16");
    assert_eq!(tree["secret-env"], "file 644 0:0 16");
    for stub in ["m", "f", "c", "t", "run"] {
        assert!(!tree.contains_key(stub), "{stub} is left: {tree:#?}");
    }
}

#[test]
fn args_env_and_onbuild_have_dockers_scopes() {
    let config = config(
        "
        ARG GLOBAL=g
        FROM scratch AS base
        ONBUILD ENV FROM_TRIGGER=yes
        ARG GLOBAL
        ARG LOCAL=l
        ENV A=$GLOBAL B=$LOCAL C=${UNSET:-default}
        FROM base
        ENV D=$A$LOCAL
        ",
    );
    let env = config["config"]["Env"].as_array().unwrap();
    for wanted in ["A=g", "B=l", "C=default", "FROM_TRIGGER=yes", "D=gl"] {
        assert!(env.contains(&json!(wanted)), "{wanted} in {env:?}");
    }
    assert!(config["config"]["OnBuild"].is_null());
}

#[test]
fn the_same_image_for_root_and_for_a_user() {
    let dockerfile = "
        FROM busybox
        RUN echo x > /x && chown 12:34 /x && mkdir -m 1777 /d && ln /x /y && rm /bin/ls
        RUN mknod /fifo p && chmod 2755 /d
        COPY --chown=7:8 f /f
        ";
    let Some(user) = User::with_subuids() else {
        return;
    };
    let Some(root) = Project::with_busybox() else {
        return;
    };
    let root = root.file("f", "1").dockerfile(dockerfile);
    let Some(other) = Project::with_busybox() else {
        return;
    };
    let other = other.file("f", "1").dockerfile(dockerfile).owned_by(user);
    let ours = root.build().success().digest();
    assert_eq!(other.build().success().digest(), ours);
    other.build().success().all_cached();
}
