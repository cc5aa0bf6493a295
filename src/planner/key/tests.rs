//! Each field has its pair: what it observes changes the key, what it does not keeps it.

use proptest::prelude::*;

use super::super::Variable;
use super::super::tests::{Project, project, step};
use super::*;

/// The definition key of the last step that says `it`.
fn key_of(project: &Project) -> Key {
    let plan = project.plan();
    let id = step(&plan.graph, " it").id;
    plan.steps[id.0].key
}

macro_rules! invalidates {
    ($($name:ident: $before:expr => $after:expr;)*) => {
        $(
            #[test]
            fn $name() {
                assert_ne!(key_of(&$before), key_of(&$after));
            }
        )*
    };
}

macro_rules! keeps {
    ($($name:ident: $before:expr => $after:expr;)*) => {
        $(
            #[test]
            fn $name() {
                assert_eq!(key_of(&$before), key_of(&$after));
            }
        )*
    };
}

/// A project whose lines after FROM are these.
fn on_debian(lines: &str) -> Project {
    project(&format!("FROM debian\n{lines}\n"))
}

fn on(base: &str, lines: &str) -> Project {
    project(&format!("FROM {base}\n{lines}\n"))
}

fn from_stage(stage: &str, line: &str) -> Project {
    project(&format!("FROM debian AS s\n{stage}\nFROM alpine\n{line}\n"))
}

invalidates! {
    changing_the_command_invalidates_run: on_debian("RUN it") => on_debian("RUN it 2");
    changing_the_form_invalidates_run: on_debian("RUN it it") => on_debian("RUN [\"x\", \" it\"]");
    changing_the_script_invalidates_run: on_debian("RUN <<E\n#! it\n1\nE") => on_debian("RUN <<E\n#! it\n2\nE");
    changing_env_invalidates_run: on_debian("ENV A=1\nRUN it") => on_debian("ENV A=2\nRUN it");
    changing_a_declared_arg_invalidates_run:
        on_debian("ARG A\nRUN it").arg("A", "1") => on_debian("ARG A\nRUN it").arg("A", "2");
    changing_an_inherited_arg_invalidates_run:
        project("FROM debian AS a\nARG A=1\nFROM a\nRUN it") => project("FROM debian AS a\nARG A=2\nFROM a\nRUN it");
    declaring_a_proxy_as_arg_makes_it_part_of_run:
        on_debian("ARG HTTP_PROXY\nRUN it").arg("HTTP_PROXY", "1") => on_debian("ARG HTTP_PROXY\nRUN it").arg("HTTP_PROXY", "2");
    changing_the_directory_invalidates_run: on_debian("WORKDIR /\nRUN it") => on("debian2", "WORKDIR /a\nRUN it");
    changing_the_user_invalidates_run: on_debian("RUN it") => on_debian("USER 1\nRUN it");
    changing_the_shell_invalidates_run: on_debian("RUN it") => on_debian("SHELL [\"sh\"]\nRUN it");
    changing_the_network_invalidates_run: on_debian("RUN it") => on_debian("RUN --network=none  it");
    changing_the_security_invalidates_run: on_debian("RUN it") => on_debian("RUN --security=insecure  it");
    adding_a_device_invalidates_run: on_debian("RUN it") => on_debian("RUN --device=vendor/x  it");
    adding_a_host_name_invalidates_run: on_debian("RUN it") => on_debian("RUN it").host("h");
    changing_the_host_name_invalidates_run: on_debian("RUN it") => on_debian("RUN it").arg("BUILDKIT_SANDBOX_HOSTNAME", "h");
    changing_the_platform_invalidates_run:
        on_debian("RUN it").platform("linux/amd64") => on_debian("RUN it").platform("linux/arm64");
    changing_the_epoch_invalidates_run: on_debian("RUN it").epoch(1) => on_debian("RUN it").epoch(2);
    changing_the_base_invalidates_run: on("a", "RUN it") => on("b", "RUN it");
    changing_the_step_below_invalidates_run: on_debian("RUN a\nRUN it") => on_debian("RUN b\nRUN it");
    changing_a_mount_invalidates_run:
        on_debian("RUN --mount=type=tmpfs,target=/a  it") => on_debian("RUN --mount=type=tmpfs,target=/b  it");
    changing_mounted_files_invalidates_run:
        on_debian("RUN --mount=source=f,target=/a  it").file("f", "1") => on_debian("RUN --mount=source=f,target=/a  it").file("f", "2");
    changing_a_mounted_stage_invalidates_run:
        from_stage("RUN a", "RUN --mount=from=s,target=/a  it") => from_stage("RUN b", "RUN --mount=from=s,target=/a  it");
    changing_the_id_of_a_cache_invalidates_run:
        on_debian("RUN --mount=type=cache,target=/a,id=1  it") => on_debian("RUN --mount=type=cache,target=/a,id=2  it");
    changing_the_id_of_a_secret_invalidates_run:
        on_debian("RUN --mount=type=secret,id=1,target=/a  it") => on_debian("RUN --mount=type=secret,id=2,target=/a  it");

    changing_a_file_invalidates_copy: on_debian("COPY it /").file("it", "1") => on_debian("COPY it /").file("it", "2");
    changing_the_sources_invalidates_copy: on_debian("COPY it a /") => on_debian("COPY it b /");
    changing_an_inline_file_invalidates_copy: on_debian("COPY <<E it\n1\nE") => on_debian("COPY <<E it\n2\nE");
    changing_the_name_of_an_inline_file_invalidates_copy: on_debian("COPY <<E it/\n1\nE") => on_debian("COPY <<F it/\n1\nF");
    changing_the_destination_invalidates_copy: on_debian("COPY it /a") => on_debian("COPY it /b");
    changing_the_destination_into_a_directory_invalidates_copy: on_debian("COPY it /a") => on_debian("COPY it /a/");
    changing_chown_invalidates_copy: on_debian("COPY --chown=1 it /") => on_debian("COPY --chown=2 it /");
    changing_chmod_invalidates_copy: on_debian("COPY --chmod=600 it /") => on_debian("COPY --chmod=u=rw it /");
    adding_link_invalidates_copy: on_debian("COPY it /") => on_debian("COPY --link it /");
    adding_parents_invalidates_copy: on_debian("COPY it /") => on_debian("COPY --parents it /");
    adding_an_exclusion_invalidates_copy: on_debian("COPY it /") => on_debian("COPY --exclude=x it /");
    turning_copy_into_add_invalidates_it: on_debian("COPY it /") => on_debian("ADD it /");
    changing_unpack_invalidates_add: on_debian("ADD it /") => on_debian("ADD --unpack=false it /");
    changing_a_url_invalidates_add: on_debian("ADD http://h/1 it") => on_debian("ADD http://h/2 it");
    changing_keep_git_dir_invalidates_add: on_debian("ADD http://h/1.git it") => on_debian("ADD --keep-git-dir http://h/1.git it");
    changing_the_checksum_invalidates_add: on_debian("ADD http://h/1.git it") => on_debian("ADD --checksum=0123456789012345678901234567890123456789 http://h/1.git it");
    changing_the_epoch_invalidates_copy: on_debian("COPY it /").epoch(1) => on_debian("COPY it /").epoch(2);
    changing_the_base_invalidates_copy: on("a", "COPY it /") => on("b", "COPY it /");
    changing_the_source_stage_invalidates_copy:
        from_stage("RUN a", "COPY --from=s it /") => from_stage("RUN b", "COPY --from=s it /");

    changing_the_path_invalidates_workdir: on_debian("WORKDIR /a it") => on_debian("WORKDIR /b it");
    changing_the_user_invalidates_workdir: on_debian("WORKDIR /a it") => on_debian("USER 1\nWORKDIR /a it");
    changing_the_epoch_invalidates_workdir: on_debian("WORKDIR /a it").epoch(1) => on_debian("WORKDIR /a it").epoch(2);
    changing_the_base_invalidates_workdir: on("a", "WORKDIR /a it") => on("b", "WORKDIR /a it");
}

keeps! {
    changing_unused_arg_keeps_run: on_debian("RUN it").arg("A", "1") => on_debian("RUN it").arg("A", "2");
    changing_a_later_arg_keeps_run: on_debian("RUN it\nARG A=1") => on_debian("RUN it\nARG A=2");
    changing_a_global_arg_keeps_run: project("ARG A=1\nFROM debian\nRUN it") => project("ARG A=2\nFROM debian\nRUN it");
    changing_a_proxy_keeps_run: on_debian("RUN it").proxy("HTTP_PROXY", "1") => on_debian("RUN it").arg("http_proxy", "2");
    changing_labels_keeps_run: on_debian("LABEL a=1\nRUN it") => on_debian("LABEL a=2\nRUN it").label("b", "c");
    changing_cmd_and_ports_keeps_run: on_debian("RUN it") => on_debian("EXPOSE 80\nCMD x\nVOLUME /v\nSTOPSIGNAL 9\nRUN it");
    renaming_a_stage_keeps_run: project("FROM debian AS a\nRUN it") => project("FROM debian AS b\nRUN it");
    comments_and_blanks_keep_run: on_debian("RUN it") => on_debian("# why\n\nrun   it");
    ordering_host_names_keeps_run: on_debian("RUN it").host("a").host("b") => on_debian("RUN it").host("b").host("a").host("a");
    sharing_a_cache_otherwise_keeps_run:
        on_debian("RUN --mount=type=cache,target=/a  it") => on_debian("RUN --mount=type=cache,target=/a,sharing=locked  it");
    changing_other_files_keeps_run:
        on_debian("RUN --mount=source=f,target=/a  it").file("g", "1") => on_debian("RUN --mount=source=f,target=/a  it").file("g", "2");
    the_config_of_the_base_keeps_run_where_it_is_not_seen:
        on("a", "RUN it") => on("a", "RUN it").image("a", |config| config.config.cmd = Some(vec!["x".to_owned()]));
    changing_what_is_copied_later_keeps_run: on_debian("RUN it\nCOPY f /").file("f", "1") => on_debian("RUN it\nCOPY f /").file("f", "2");

    changing_env_keeps_copy: on_debian("ENV A=1\nCOPY it /") => on_debian("ENV A=2\nCOPY it /");
    changing_the_user_keeps_copy: on_debian("COPY it /") => on_debian("USER 1\nCOPY it /");
    changing_the_platform_keeps_copy:
        on("scratch", "COPY it /").platform("linux/amd64") => on("scratch", "COPY it /").platform("linux/arm64");
    changing_the_base_keeps_linked_copy: on("a", "COPY --link it /").epoch(1) => on("b", "COPY --link it /").epoch(1);
    writing_the_destination_otherwise_keeps_copy: on_debian("WORKDIR /\nCOPY it a/") => on_debian("WORKDIR /\nCOPY it /./a//");
    changing_the_directory_keeps_copy_to_an_absolute_path:
        on_debian("COPY it /a") => on_debian("WORKDIR /\nCOPY it /a");
    changing_other_stages_keeps_copy:
        from_stage("RUN a\nFROM alpine AS t", "COPY --from=t it /") => from_stage("RUN b\nFROM alpine AS t", "COPY --from=t it /");

    changing_env_keeps_workdir: on_debian("WORKDIR /a it") => on_debian("ENV A=1\nWORKDIR /a it");
}

#[test]
fn windows_layers_have_keys_of_their_own() {
    let windows = on("scratch", "COPY it /").platform("windows/amd64");
    assert_ne!(key_of(&windows), key_of(&on("scratch", "COPY it /")));
}

fn copy_step(lines: &str) -> Step {
    let graph = on_debian(lines).graph();
    step(&graph, " it").clone()
}

fn taken(text: &str) -> SelectionDigest {
    SelectionDigest(ContentDigest::of(text.as_bytes()))
}

#[test]
fn the_layers_below_invalidate_the_content_of_run() {
    let step = copy_step("RUN --mount=from=alpine,target=/m  it");
    let Op::Run(run) = &step.op else { panic!() };
    let key = |below: &[&str], shown: Option<&str>| {
        let below: Vec<DiffId> = below
            .iter()
            .map(|name| DiffId(crate::digest::Digest::of(name.as_bytes())))
            .collect();
        let selections = Selections {
            copy: None,
            mounts: vec![shown.map(taken)],
        };
        run_content(&step, run, &below, &selections).key()
    };
    let mut keys = vec![
        key(&[], None),
        key(&["a"], None),
        key(&["a", "b"], None),
        key(&["b", "a"], None),
        key(&["a"], Some("x")),
        key(&["a"], Some("y")),
    ];
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 6);
}

#[test]
fn operations_are_the_same_whatever_their_inputs() {
    let same = |one: &str, two: &str| {
        operation(&copy_step(one).op).key() == operation(&copy_step(two).op).key()
    };
    assert!(same("RUN it", "ENV A=1\nUSER 2\nRUN it"));
    assert!(!same("RUN it", "RUN it 2"));
    assert!(same("COPY it /", "RUN x\nCOPY --chown=1 it /"));
    assert!(!same("COPY it /", "COPY it /b"));
}

proptest! {
    /// Different commands never have equal keys, wherever one argument ends and the next begins.
    #[test]
    fn keys_are_injective_over_commands_and_variables(
        one in (proptest::collection::vec("[ab=,\"]{0,3}", 0..3), proptest::collection::vec(("[AB]{1,2}", "[ab=]{0,2}"), 0..3)),
        two in (proptest::collection::vec("[ab=,\"]{0,3}", 0..3), proptest::collection::vec(("[AB]{1,2}", "[ab=]{0,2}"), 0..3)),
    ) {
        let mut step = copy_step("RUN it");
        let mut key = |(args, env): &(Vec<String>, Vec<(String, String)>)| {
            if let Op::Run(run) = &mut step.op {
                run.args.clone_from(args);
                let variable = |(name, value): &(String, String)| Variable::new(name, value);
                run.env = env.iter().map(variable).collect();
            }
            definition(&step, &[Material::new("x").key()], &Selections::default()).key()
        };
        prop_assert_eq!(key(&one) == key(&two), one == two);
    }
}

proptest! {
    /// What variables remember of their text makes no other key than the text itself.
    #[test]
    fn the_variables_of_a_key_are_their_lines(
        env in proptest::collection::vec(("[A-C]{1,2}", any::<String>()), 0..6),
    ) {
        let mut step = copy_step("RUN it");
        if let Op::Run(run) = &mut step.op {
            run.env = env.iter().map(|(name, value)| Variable::new(name, value)).collect();
        }
        let material = definition(&step, &[Material::new("x").key()], &Selections::default());
        let lines: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        prop_assert_eq!(material.field("env"), Some(&json!(lines)));
        let mut plain = Material::new("run");
        for (name, value) in material.fields().filter(|(name, _)| !["op", "version"].contains(name)) {
            let name = NAMES.iter().find(|known| **known == name).expect("a field of RUN");
            plain = plain.with(name, value);
        }
        prop_assert_eq!(plain.key(), material.key());
    }
}

/// The fields of a plain RUN.
const NAMES: [&str; 6] = ["args", "base", "cwd", "env", "epoch", "platform"];
