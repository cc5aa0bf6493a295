//! COPY and ADD: destinations, wildcards, links, owners, modes, archives, ignore rules.

use super::common::{Outcome, Project};
use super::image::Layout;
use std::collections::BTreeMap;

/// Builds and unpacks with umoci.
fn tree(project: &Project) -> BTreeMap<String, String> {
    let layout = project.path("layout");
    drop(std::fs::remove_dir_all(&layout));
    let spec = format!("type=oci,dest={},tar=false", layout.display());
    let _: Outcome = project.build().tag("test").output_to(&spec).success();
    let bundle = project.path("bundle");
    drop(std::fs::remove_dir_all(&bundle));
    Layout::at(&layout).tree(&bundle)
}

fn files(project: Project) -> Project {
    project
        .file("a.txt", "a")
        .file("dir/b.txt", "b")
        .file("dir/sub/c.txt", "c")
}

#[test]
fn destinations_follow_dockers_rules() {
    let project = files(Project::new()).dockerfile(
        "
        FROM scratch
        COPY a.txt /file
        COPY a.txt /into/
        COPY dir /contents
        COPY dir/ /contents2/
        COPY a.txt dir/b.txt /both/
        COPY dir/* /globbed/
        WORKDIR /work
        COPY a.txt ./rel/
        COPY no-such-*.txt a.txt /optional/
        ",
    );
    let tree = tree(&project);
    for (path, entry) in [
        ("file", "file 644 0:0 a"),
        ("into/a.txt", "file 644 0:0 a"),
        ("contents", "dir 755 0:0"),
        ("contents/b.txt", "file 644 0:0 b"),
        ("contents/sub/c.txt", "file 644 0:0 c"),
        ("contents2/sub/c.txt", "file 644 0:0 c"),
        ("both/a.txt", "file 644 0:0 a"),
        ("both/b.txt", "file 644 0:0 b"),
        ("globbed/b.txt", "file 644 0:0 b"),
        ("globbed/c.txt", "file 644 0:0 c"),
        ("work/rel/a.txt", "file 644 0:0 a"),
        ("optional/a.txt", "file 644 0:0 a"),
    ] {
        assert_eq!(
            tree.get(path).map(String::as_str),
            Some(entry),
            "{path}: {tree:#?}"
        );
    }
}

#[test]
fn links_are_followed_as_sources_and_kept_in_directories() {
    let project = files(Project::new())
        .symlink("link", "a.txt")
        .symlink("dir/inner", "b.txt")
        .symlink("outside", "/etc/hostname")
        .dockerfile(
            "
            FROM scratch
            COPY link /followed
            COPY dir /kept
            ",
        );
    let tree = tree(&project);
    assert_eq!(tree["followed"], "file 644 0:0 a");
    assert_eq!(tree["kept/inner"], "link -> b.txt");
    let escape = Project::new()
        .symlink("outside", "/etc/hostname")
        .dockerfile("FROM scratch\nCOPY outside /x\n");
    escape.build().failure(1).says("not found");
}

#[test]
fn a_link_in_the_base_leads_the_destination_but_never_outside() {
    let project = files(Project::new())
        .directory("links")
        .symlink("links/to", "/real")
        .symlink("links/up", "../../../../..")
        .dockerfile(
            "
            FROM scratch
            COPY links /
            COPY dir /to
            COPY a.txt /up/
            ",
        );
    let tree = tree(&project);
    assert_eq!(tree["to"], "link -> /real");
    assert_eq!(tree["real/b.txt"], "file 644 0:0 b");
    assert_eq!(tree["a.txt"], "file 644 0:0 a");
}

#[test]
fn owners_and_modes() {
    let project = files(Project::new())
        .file("passwd", "root:x:0:0::/:/x\napp:x:1001:1002::/:/x\n")
        .file("group", "root:x:0:\nstaff:x:50:\n")
        .dockerfile(
            "
            FROM scratch
            COPY passwd group /etc/
            COPY --chown=app a.txt /named
            COPY --chown=app:staff a.txt /both
            COPY --chown=7 a.txt /number
            COPY --chown=1:2 dir /owned
            COPY --chmod=0751 a.txt /octal
            COPY --chmod=u=rwX,go=rX dir /symbolic
            ",
        );
    let tree = tree(&project);
    assert_eq!(tree["named"], "file 644 1001:1002 a");
    assert_eq!(tree["both"], "file 644 1001:50 a");
    assert_eq!(tree["number"], "file 644 7:7 a");
    assert_eq!(tree["owned"], "dir 755 1:2");
    assert_eq!(tree["owned/sub/c.txt"], "file 644 1:2 c");
    assert_eq!(tree["octal"], "file 751 0:0 a");
    assert_eq!(tree["symbolic/sub"], "dir 755 0:0");
    assert_eq!(tree["symbolic/b.txt"], "file 644 0:0 b");
}

#[test]
fn copy_from_a_stage_keeps_owners_and_add_extracts_archives() {
    let project = files(Project::new());
    let archive = project.context().join("x.tar.gz");
    super::image::tool(
        "tar",
        &[
            "-C",
            project.context().to_str().unwrap(),
            "--owner=5",
            "--group=6",
            "--numeric-owner",
            "-czf",
            archive.to_str().unwrap(),
            "dir",
        ],
    );
    let project = project.dockerfile(
        "
        FROM scratch AS one
        COPY --chown=3:4 a.txt /a
        FROM scratch
        COPY --from=one /a /b
        ADD x.tar.gz /extracted/
        COPY x.tar.gz /kept/
        ADD a.txt /plain/
        ",
    );
    let tree = tree(&project);
    assert_eq!(tree["b"], "file 644 3:4 a");
    assert_eq!(tree["extracted/dir/sub/c.txt"], "file 644 5:6 c");
    assert!(tree["kept/x.tar.gz"].starts_with("file 644 0:0"));
    assert_eq!(tree["plain/a.txt"], "file 644 0:0 a");
}

#[test]
fn ignored_files_never_arrive() {
    let project = files(Project::new())
        .file(
            ".dockerignore",
            "**/*.txt\n!dir/sub/c.txt\n.dockerignore\nDockerfile\n",
        )
        .file("keep.md", "k")
        .dockerfile("FROM scratch\nCOPY . /all/\n");
    let tree = tree(&project);
    let names: Vec<&str> = tree.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "all",
            "all/dir",
            "all/dir/sub",
            "all/dir/sub/c.txt",
            "all/keep.md"
        ]
    );
}

#[test]
fn parents_exclude_and_link() {
    let project = files(Project::new()).dockerfile(
        "
        FROM scratch
        COPY --parents dir/sub/c.txt /p/
        COPY --parents ./dir/./sub/c.txt /q/
        COPY --exclude=*.txt dir /e/
        COPY --link a.txt /l/
        ",
    );
    let tree = tree(&project);
    assert_eq!(tree["p/dir/sub/c.txt"], "file 644 0:0 c");
    assert_eq!(tree["q/sub/c.txt"], "file 644 0:0 c");
    assert!(!tree.contains_key("e/b.txt"), "{tree:#?}");
    assert_eq!(tree["e/sub/c.txt"], "file 644 0:0 c");
    assert_eq!(tree["l/a.txt"], "file 644 0:0 a");
}

#[test]
fn heredocs_become_files() {
    let project = Project::new().dockerfile(
        r#"
        FROM scratch
        ARG WHO=world
        COPY <<one <<"two" /d/
        hello $WHO
        one
        hello $WHO
        two
        "#,
    );
    let tree = tree(&project);
    assert_eq!(tree["d/one"], "file 644 0:0 hello world");
    assert_eq!(tree["d/two"], "file 644 0:0 hello $WHO");
}

/// Two stages in which one of two names of a file was changed: of the same length, so that only the
/// content tells.
#[test]
fn a_name_of_a_changed_file_keeps_its_content_when_it_is_copied() {
    let Some(project) = Project::with_busybox() else {
        return;
    };
    let project = project.dockerfile(
        "
        FROM busybox AS base
        RUN mkdir /f && echo old > /f/a && ln /f/a /f/b && ln /f/a /f/c
        RUN rm /f/a && echo new > /f/a
        FROM scratch
        COPY --from=base /f /f
        COPY --from=base /f/b /f/c /f/a /g/
        ",
    );
    for _ in 0..2 {
        let tree = tree(&project);
        for (path, content) in [
            ("f/a", "new"),
            ("f/b", "old"),
            ("f/c", "old"),
            ("g/a", "new"),
            ("g/b", "old"),
            ("g/c", "old"),
        ] {
            let told = tree.get(path).map_or("", String::as_str);
            assert!(told.ends_with(content), "{path}: {tree:#?}");
        }
    }
}

#[test]
fn names_that_mean_deletions_are_refused_before_anything_is_written() {
    let project = Project::new().file("t/.wh.a", "x").file("t/b", "b");
    let archive = project.context().join("x.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(archive).unwrap());
    let mut header = tar::Header::new_ustar();
    header.set_size(0);
    header.set_mode(0o644);
    tar.append_data(&mut header, "d/.wh.a", std::io::empty())
        .unwrap();
    tar.finish().unwrap();
    for (line, place) in [
        ("COPY t /d", "/d/.wh.a"),
        ("COPY t/b /.wh.c", "/.wh.c"),
        ("COPY --parents t/.wh.a /", "/t/.wh.a"),
        ("COPY <<.wh.here /\nx\n.wh.here", "/.wh.here"),
        ("ADD t/.wh.a /d/", "/d/.wh.a"),
        ("ADD x.tar /", "/d/.wh.a"),
        ("WORKDIR /.wh.dir", "/.wh.dir"),
    ] {
        project.put("Dockerfile", format!("FROM scratch\n{line}\n"));
        project
            .build()
            .failure(1)
            .says(&format!(
                "`{place}` has a name that is reserved for deletions"
            ))
            .says("Dockerfile:2");
    }
}
