//! Dockerfiles, stages and contexts that want out, beside canaries: trees outside of the store that
//! must stay as they are, with a mark in them that must not come out. See docs/security.md.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::{Outcome, Project};
use crate::ladder::Place;

/// In every canary; it must be in nothing that a build makes or says.
const MARK: &str = "canary-6d1f0c9e";

/// A project with canaries beside it.
struct Cage {
    project: Project,
    before: String,
}

impl Cage {
    fn new(place: &Place, dockerfile: &str) -> Option<Self> {
        let mut project = Project::with_busybox()?.dockerfile(dockerfile);
        let canaries = project.path("canaries");
        fs::create_dir_all(canaries.join("empty")).unwrap();
        fs::write(canaries.join("file"), MARK).unwrap();
        fs::write(canaries.join("empty/nothing"), "").unwrap();
        if let Place::UserRange(user) | Place::UserSingle(user) = place {
            project = project.owned_by(user.clone());
        }
        let before = state(&canaries);
        Some(Self { project, before })
    }

    fn canaries(&self) -> PathBuf {
        self.project.path("canaries")
    }

    /// Nothing happened to the canaries, and nothing of them is in store, outputs or log.
    fn holds(&self, outcome: &Outcome) {
        assert_eq!(state(&self.canaries()), self.before, "{outcome}");
        outcome.does_not_say(MARK);
        for place in [self.project.store(), self.project.path("out")] {
            for entry in walkdir::WalkDir::new(place).into_iter().flatten() {
                if entry.file_type().is_file() {
                    let bytes = fs::read(entry.path()).unwrap_or_default();
                    let leaked = String::from_utf8_lossy(&bytes).contains(MARK);
                    assert!(!leaked, "{} has the mark", entry.path().display());
                }
            }
        }
        self.project.is_sound();
    }
}

/// All that can be seen of a tree without changing it.
fn state(root: &Path) -> String {
    let mut text = String::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let content = fs::read_to_string(entry.path()).unwrap_or_default();
        let (mode, nlink) = (meta.mode(), meta.nlink());
        let owner = (meta.uid(), meta.gid());
        let times = (meta.mtime(), meta.mtime_nsec(), meta.ctime_nsec());
        let line = format!(
            "{} {mode:o} {nlink} {owner:?} {times:?} {content}\n",
            entry.path().display()
        );
        text.push_str(&line);
    }
    text
}

/// Builds a Dockerfile on every rung; `@` in it stands for the canaries' directory.
fn everywhere(dockerfile: &str, prepare: impl Fn(&Cage)) {
    for place in Place::all() {
        let Some(cage) = Cage::new(&place, "FROM scratch") else {
            return;
        };
        let text = dockerfile.replace('@', cage.canaries().to_str().unwrap());
        cage.project.put("Dockerfile", crate::common::dedent(&text));
        prepare(&cage);
        let outcome = place.build(&cage.project).run();
        assert_eq!(outcome.code, 0, "{place:?}\n{outcome}");
        cage.holds(&outcome);
    }
}

#[test]
fn a_bind_of_a_link_stays_in_its_stage() {
    everywhere(
        r"
        FROM busybox AS evil
        RUN ln -s / /all && ln -s @ /far && ln -s ../../../../../../../..@ /up && ln -s /proc/1/root /magic
        FROM busybox
        RUN --mount=type=bind,from=evil,source=/all,target=/x,rw test -e /x/bin/busybox && touch /x/PWN
        RUN --mount=type=tmpfs,target=/tmp sh -c 'test ! -e @/file'
        ",
        |_| (),
    );
}

#[test]
fn a_bind_whose_source_leads_outside_is_refused() {
    for source in ["far", "up", "far/file"] {
        for place in [Place::Root, Place::Chroot] {
            let Some(cage) = Cage::new(&place, "FROM scratch") else {
                return;
            };
            let canaries = cage.canaries();
            let canaries = canaries.to_str().unwrap();
            let text = format!(
                "FROM busybox AS evil\n\
                RUN ln -s {canaries} /far && ln -s ../../../../../../..{canaries} /up\n\
                FROM busybox\n\
                RUN --mount=type=bind,from=evil,source=/{source},target=/x,rw cat /x/file /x\n"
            );
            cage.project.put("Dockerfile", text);
            let outcome = place.build(&cage.project).run();
            assert_ne!(outcome.code, 0, "{source} {place:?}\n{outcome}");
            cage.holds(&outcome);
        }
    }
}

#[test]
fn cache_ids_and_sources_are_no_paths() {
    everywhere(
        r"
        FROM busybox
        RUN --mount=type=cache,id=../../../canaries,target=/c echo x > /c/PWN
        RUN --mount=type=cache,id=@,target=/c test ! -e /c/file && echo x > /c/PWN
        RUN --mount=type=cache,id=.,target=/c echo x > /c/PWN
        ",
        |_| (),
    );
}

#[test]
fn stubs_are_removed_where_they_were_made() {
    everywhere(
        r"
        FROM busybox
        RUN --mount=type=tmpfs,target=/a/empty/nothing/b true
        RUN --mount=type=tmpfs,target=/a/empty (mv /a /moved; ln -s @ /a) 2>/dev/null; true
        RUN --mount=type=tmpfs,target=/b/empty (mv /b /moved; ln -s @ /b) 2>/dev/null; true
        ",
        |_| (),
    );
}

#[test]
fn a_working_directory_through_links_stays_inside() {
    everywhere(
        r"
        FROM busybox
        RUN ln -s / /root-link && ln -s ../../../../../../../..@ /up && ln -s @ /far
        WORKDIR /root-link/w
        RUN test $PWD = /root-link/w || test $PWD = /w; touch here; test -e /w/here
        WORKDIR /far/w
        RUN touch PWN
        WORKDIR /up
        RUN touch PWN && test ! -e file
        COPY Dockerfile /far/copied
        ADD Dockerfile /up/added
        ",
        |_| (),
    );
}

#[test]
fn links_of_a_context_are_copied_as_links() {
    everywhere(
        r"
        FROM busybox
        COPY . /all
        RUN test -L /all/far && test -L /all/up && test ! -e /all/up/file
        ",
        |cage| {
            let context = cage.project.context();
            symlink(cage.canaries(), context.join("far")).unwrap();
            symlink("../canaries", context.join("up")).unwrap();
            symlink("../canaries/file", context.join("leak")).unwrap();
        },
    );
}

#[test]
fn a_link_of_a_context_is_no_source_outside() {
    for source in ["leak", "up/file", "up/*", "far/file"] {
        let Some(cage) = Cage::new(&Place::Root, "FROM scratch") else {
            return;
        };
        let context = cage.project.context();
        symlink(cage.canaries(), context.join("far")).unwrap();
        symlink("../canaries", context.join("up")).unwrap();
        symlink("../canaries/file", context.join("leak")).unwrap();
        cage.project
            .put("Dockerfile", format!("FROM busybox\nCOPY {source} /x/\n"));
        let outcome = cage.project.build().run();
        // A wildcard may match nothing.
        let refused = outcome.code != 0 || source.contains('*');
        assert!(refused, "{source}\n{outcome}");
        cage.holds(&outcome);
    }
}

#[test]
fn the_program_and_the_control_groups_are_out_of_reach() {
    everywhere(
        r"
        FROM busybox
        RUN for p in /proc/self/exe /proc/1/exe /proc/2/exe; do (echo x >> $p) 2>/dev/null && readlink $p | grep -q builder && exit 1; done; true
        RUN ! mkdir /sys/fs/cgroup/x 2>/dev/null && ! mkdir /sys/fs/cgroup/pids/x 2>/dev/null
        RUN for f in $(ls -d /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/cgroup.procs 2>/dev/null); do (echo 1 > $f) 2>/dev/null && exit 1; done; true
        RUN ! grep -E 'shared:|master:' /proc/self/mountinfo
        ",
        |_| (),
    );
}

#[test]
fn programs_and_variables_of_the_image_are_never_used_by_the_builder() {
    let evil = r"
        FROM busybox
        ENV PATH=/evil:/bin LD_PRELOAD=/evil/x.so BUILDER_ROOT=/evil HTTP_PROXY=http://127.0.0.1:1
        COPY --chmod=755 <<E /evil/gzip
        #!/bin/sh
        echo x > @/PWN
        E
        RUN mkdir -p /usr/bin && for p in xz tar zstd mount newuidmap sh git slirp4netns pasta; do cp /evil/gzip /evil/$p; done
        ADD a.tar.gz /
        RUN unset LD_PRELOAD; true
        ";
    everywhere(evil, |cage| {
        let tar = std::process::Command::new("tar")
            .args(["-czf", "a.tar.gz", "--files-from=/dev/null"])
            .current_dir(cage.project.context())
            .status();
        assert!(tar.unwrap().success());
    });
}

#[test]
fn an_exported_directory_is_written_only_below_itself() {
    let Some(cage) = Cage::new(
        &Place::Root,
        "FROM scratch\nCOPY Dockerfile /etc/passwd\nCOPY Dockerfile /deep/er/file\nCOPY Dockerfile /file\n",
    ) else {
        return;
    };
    let out = cage.project.path("out");
    fs::create_dir_all(out.join("deep")).unwrap();
    symlink(cage.canaries(), out.join("etc")).unwrap();
    symlink(cage.canaries().join("file"), out.join("file")).unwrap();
    symlink("../../canaries", out.join("deep/er")).unwrap();
    let spec = format!("type=local,dest={}", out.display());
    let outcome = cage.project.build().output_to(&spec).run();
    assert_eq!(state(&cage.canaries()), cage.before, "{outcome}");
}

#[test]
fn a_shared_cache_that_is_swapped_never_leads_outside() {
    let Some(cage) = Cage::new(&Place::Root, "FROM scratch") else {
        return;
    };
    let canaries = cage.canaries();
    let canaries = canaries.to_str().unwrap();
    let swapper = format!(
        "FROM busybox\n\
        RUN --mount=type=cache,id=shared,target=/c mkdir -p /c/sel /c/aside; echo swa''pping; \
        while [ ! -e /c/stop ]; do \
        mv -T /c/sel /c/aside/d; ln -s {canaries} /c/sel; rm /c/sel; mv -T /c/aside/d /c/sel; \
        done\n"
    );
    let visitor = "FROM busybox\n\
        ARG N\n\
        RUN --mount=type=cache,id=shared,source=sel,target=/x ls /x; cat /x/file; touch /x/in-$N; true\n\
        RUN --mount=type=cache,id=shared,target=/c --mount=type=tmpfs,target=/c/sel/t touch /c/sel/t/x; true\n";
    cage.project.put("Dockerfile", swapper);
    let swapping = cage.project.build().start().wait_for(" swapping");
    let visits = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..40 {
                let name = format!("Visitor{number}");
                cage.project.put(&name, visitor);
                // It may find the directory gone, and fail; it may not find the canaries.
                let visit = cage.project.build().arg("N", &number.to_string());
                let outcome = visit
                    .words([
                        "-f".to_owned(),
                        cage.project.context().join(&name).display().to_string(),
                    ])
                    .run();
                outcome.does_not_say(MARK);
                assert_eq!(state(&cage.canaries()), cage.before, "{outcome}");
            }
            visits.store(true, Ordering::SeqCst);
        });
    });
    assert!(visits.load(Ordering::SeqCst));
    cage.project.put(
        "Stopper",
        "FROM busybox\nRUN --mount=type=cache,id=shared,target=/c touch /c/stop\n",
    );
    let stopper = cage.project.context().join("Stopper").display().to_string();
    cage.project
        .build()
        .words(["-f".to_owned(), stopper])
        .success();
    cage.holds(&swapping.finish());
}
