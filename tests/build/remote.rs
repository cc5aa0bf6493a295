//! ADD of what comes from elsewhere: files of a web server and git trees, both on loopback.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use super::image::{Layout, tool};
use super::server::{Answer, Seen, Server};
use crate::common::{Outcome, Project, Run};

/// Builds into a layout and unpacks it with umoci.
fn files(project: &Project, run: Run) -> (Outcome, BTreeMap<String, String>) {
    let (layout, bundle) = (project.path("layout"), project.path("bundle"));
    for path in [&layout, &bundle] {
        drop(std::fs::remove_dir_all(path));
    }
    let spec = format!("type=oci,dest={},tar=false", layout.display());
    let built = run.tag("x").output_to(&spec).success();
    project.is_sound();
    (built, Layout::at(&layout).tree(&bundle))
}

/// The seconds since 1970 that an unpacked file has.
fn mtime(project: &Project, path: &str) -> i64 {
    use std::os::unix::fs::MetadataExt as _;
    let path = project.path("bundle/rootfs").join(path);
    path.metadata().unwrap().mtime()
}

/// A server with one file whose content and tag can be changed, and an archive.
struct Web {
    server: Server,
    file: Arc<Mutex<(String, &'static str)>>,
}

impl Web {
    fn start() -> Self {
        let file = Arc::new(Mutex::new(("\"one\"".to_owned(), "first\n")));
        let shared = Arc::clone(&file);
        let server = Server::start(move |request| answer(request, &shared.lock().unwrap()));
        Self { server, file }
    }

    fn change(&self, tag: &str, content: &'static str) {
        *self.file.lock().unwrap() = (tag.to_owned(), content);
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.host())
    }

    /// How many whole answers the file was given, and how many times it was only asked for.
    fn asked(&self) -> usize {
        let is_file = |line: &&String| line.contains("/dir/file.txt");
        self.server.lines().iter().filter(is_file).count()
    }
}

fn answer(request: &Seen, (tag, content): &(String, &'static str)) -> Answer {
    match request.path.as_str() {
        "/dir/file.txt" if request.header("if-none-match") == Some(tag) => Answer::new(304),
        "/dir/file.txt" => Answer::new(200)
            .header("etag", tag)
            .header("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")
            .body(*content),
        "/away" => Answer::new(302).header("location", "/dir/file.txt"),
        "/files.tar.gz" => Answer::new(200).body(archive()),
        "/untold" => Answer::new(200).body("untold\n"),
        _ => Answer::new(404),
    }
}

fn archive() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_path("sub/inner.txt").unwrap();
    header.set_mode(0o640);
    header.set_size(6);
    header.set_cksum();
    archive.append(&header, &b"inner\n"[..]).unwrap();
    archive.into_inner().unwrap()
}

#[test]
fn a_file_of_the_web_has_its_name_its_time_and_mode_0600() {
    let web = Web::start();
    let project = Project::new().dockerfile(&format!(
        "
        FROM scratch
        ADD {file} /named
        ADD {file} /in/
        ADD {away} /in/
        ADD --chmod=755 --chown=1:2 {file} /dressed
        ADD {untold} /in/
        ",
        file = web.url("/dir/file.txt"),
        away = web.url("/away"),
        untold = web.url("/untold"),
    ));
    let build = project.build().flag("--timestamp=2000000000");
    let (_, tree) = files(&project, build);
    for (path, entry) in [
        ("named", "file 600 0:0 first"),
        ("in/file.txt", "file 600 0:0 first"),
        ("in/away", "file 600 0:0 first"),
        ("dressed", "file 755 1:2 first"),
        ("in/untold", "file 600 0:0 untold"),
    ] {
        assert_eq!(tree.get(path).map(String::as_str), Some(entry), "{tree:#?}");
    }
    assert_eq!(mtime(&project, "named"), 784_111_777);
    assert_eq!(mtime(&project, "in/untold"), 0);
}

#[test]
fn a_file_that_did_not_change_is_asked_for_and_not_fetched() {
    let web = Web::start();
    let line = format!("ADD {} /", web.url("/dir/file.txt"));
    let project = Project::new().dockerfile(&format!("FROM scratch\n{line}"));
    let first = project.build().success();
    first.ran(&line);
    assert_eq!(web.asked(), 1, "{:?}", web.server.lines());
    project.build().success().all_cached();
    assert_eq!(web.asked(), 2);
    let seen = web.server.seen();
    assert_eq!(seen[1].header("if-none-match"), Some("\"one\""));
    // Another tag and the same bytes: the same file.
    web.change("\"two\"", "first\n");
    let same = project.build().success();
    same.all_cached();
    web.change("\"three\"", "second\n");
    let changed = project.build().success();
    changed.ran(&line);
    assert_ne!(changed.digest(), first.digest());
    // Without the server nothing is known.
    drop(web);
    project.build().failure(3).says("/dir/file.txt");
}

#[test]
fn a_checksum_is_held_to() {
    let web = Web::start();
    let url = web.url("/dir/file.txt");
    let project = Project::new().file("file", "first\n");
    let digest = tool(
        "sha256sum",
        &[project.context().join("file").to_str().unwrap()],
    )
    .stdout;
    let digest = String::from_utf8(digest).unwrap()[..64].to_owned();
    let zeros = "0".repeat(64);
    let bad = format!("FROM scratch\nADD --checksum=sha256:{zeros} {url} /");
    let project = project.dockerfile(&bad);
    let refused = project.build().failure(1);
    refused.says(&digest).says(&zeros);
    project.put(
        "Dockerfile",
        format!("FROM scratch\nADD --checksum=sha256:{digest} {url} /"),
    );
    let (_, tree) = files(&project, project.build());
    assert_eq!(tree["file.txt"], "file 600 0:0 first");
    // What is pinned is found without asking.
    let asked = web.asked();
    project.build().success().all_cached();
    assert_eq!(web.asked(), asked);
    for (checksum, words) in [
        ("sha256:12", "invalid checksum digest format"),
        ("first", "invalid checksum digest format"),
    ] {
        project.put(
            "Dockerfile",
            format!("FROM scratch\nADD --checksum={checksum} {url} /"),
        );
        project.build().failure(1).says(words).says("Dockerfile:2");
    }
}

#[test]
fn an_archive_of_the_web_is_unpacked_only_if_asked() {
    let web = Web::start();
    let url = web.url("/files.tar.gz");
    let project = Project::new().dockerfile(&format!(
        "
        FROM scratch
        ADD {url} /kept/
        ADD --unpack=true {url} /open/
        ADD --unpack --chown=5:6 {url} /owned/
        ADD --unpack=false {url} /closed/
        "
    ));
    let (_, tree) = files(&project, project.build());
    assert!(tree["kept/files.tar.gz"].starts_with("file 600 0:0 sub/inner.txt"));
    assert!(tree["closed/files.tar.gz"].starts_with("file 600 0:0 "));
    assert_eq!(tree["open/sub/inner.txt"], "file 640 0:0 inner");
    assert_eq!(tree["owned/sub/inner.txt"], "file 640 5:6 inner");
    assert!(!tree.contains_key("open/files.tar.gz"));
}

#[test]
fn what_a_server_refuses_is_an_error_at_its_line() {
    let web = Web::start();
    let project = Project::new().dockerfile(&format!("FROM scratch\nADD {} /", web.url("/gone")));
    project.build().failure(1).says("404").says("/gone");
}

/// Repositories behind git's own CGI program on loopback.
struct Forge {
    server: Server,
    place: tempfile::TempDir,
}

impl Forge {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().to_owned();
        let server = Server::start(move |request| backend(&root, request));
        let forge = Self { server, place };
        for name in ["lib.git", "app.git"] {
            std::fs::create_dir(forge.path(name)).unwrap();
            forge.git(name, &["init", "-q", "-b", "main"]);
        }
        forge.commit("lib.git", &[("lib.txt", "library\n")]);
        forge.commit(
            "app.git",
            &[("top.txt", "one\n"), ("sub/dir/deep.txt", "deep\n")],
        );
        forge.git("app.git", &["tag", "v1"]);
        forge.git("app.git", &["checkout", "-q", "-b", "next"]);
        let lib = forge.url("lib.git");
        forge.git(
            "app.git",
            &["submodule", "--quiet", "add", &lib, "vendor/lib"],
        );
        forge.commit("app.git", &[("top.txt", "two\n")]);
        forge.git("app.git", &["checkout", "-q", "main"]);
        forge
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.server.host())
    }

    fn git(&self, name: &str, words: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=n", "-c", "user.email=e"])
            .args(words)
            .current_dir(self.path(name))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_COMMITTER_DATE", "1000000000 +0000")
            .env("GIT_AUTHOR_DATE", "1000000000 +0000")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits files: the commit.
    fn commit(&self, name: &str, files: &[(&str, &str)]) -> String {
        for (path, content) in files {
            let file = self.path(name).join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        self.git(name, &["add", "-A"]);
        self.git(name, &["commit", "-q", "-m", "change"]);
        self.git(name, &["rev-parse", "HEAD"])
    }
}

/// `git http-backend` as a web server would run it (RFC 3875).
fn backend(root: &Path, request: &Seen) -> Answer {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let mut command = Command::new("git");
    command
        .args(["-c", "safe.directory=*", "http-backend"])
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", &request.method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_LENGTH", request.body.len().to_string());
    for (header, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "GIT_PROTOCOL"),
    ] {
        command.envs(request.header(header).map(|value| (variable, value)));
    }
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = streams.stderr(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let body = request.body.clone();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&body)));
    let output = child.wait_with_output().unwrap().stdout;
    feeder.join().unwrap();
    let end = output.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.unwrap_or(output.len() - 4);
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let headers: Vec<(&str, &str)> = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .collect();
    let status = headers.iter().find(|(name, _)| *name == "Status");
    let status = status.map_or(200, |(_, text)| text[..3].parse().unwrap());
    let answer = Answer::new(status).body(&output[end + 4..]);
    let told = headers.into_iter().filter(|(name, _)| *name != "Status");
    told.fold(answer, |answer, (name, value)| answer.header(name, value))
}

#[test]
fn git_trees_come_by_branch_tag_commit_and_directory() {
    let forge = Forge::start();
    let url = forge.url("app.git");
    let commit = forge.git("app.git", &["rev-parse", "v1"]);
    let project = Project::new().dockerfile(&format!(
        "
        FROM scratch
        ADD {url} /head
        ADD {url}#v1 /tag
        ADD {url}#{commit} /commit
        ADD {url}#next:sub/dir /deep
        ADD {url}?branch=next&subdir=sub /query
        ADD --chown=3:4 --chmod=600 {url}#v1:sub /owned
        ADD --exclude=top.txt {url}#v1 /less
        "
    ));
    let (_, tree) = files(&project, project.build());
    for (path, entry) in [
        ("head/top.txt", Some("file 644 0:0 one")),
        ("tag/top.txt", Some("file 644 0:0 one")),
        ("commit/sub/dir/deep.txt", Some("file 644 0:0 deep")),
        ("deep/deep.txt", Some("file 644 0:0 deep")),
        ("query/dir/deep.txt", Some("file 644 0:0 deep")),
        ("owned/dir/deep.txt", Some("file 600 3:4 deep")),
        ("less/sub/dir/deep.txt", Some("file 644 0:0 deep")),
        ("less/top.txt", None),
        ("head/.git", None),
        ("deep/top.txt", None),
    ] {
        assert_eq!(
            tree.get(path).map(String::as_str),
            entry,
            "{path} {tree:#?}"
        );
    }
    project.build().success().all_cached();
    forge.commit("app.git", &[("top.txt", "three\n")]);
    let changed = project.build().success();
    changed.ran(&format!("ADD {url} /head"));
    changed.cached(&format!("ADD {url}#v1 /tag"));
}

#[test]
fn submodules_come_along_and_the_git_directory_if_asked() {
    let forge = Forge::start();
    let url = forge.url("app.git");
    let project = Project::new().dockerfile(&format!(
        "
        FROM scratch
        ADD {url}#next /all
        ADD {url}?ref=next&submodules=false /bare
        ADD --keep-git-dir=true {url}#v1 /kept
        ADD --keep-git-dir=false {url}#v1 /plain
        "
    ));
    let (_, tree) = files(&project, project.build());
    assert_eq!(tree["all/vendor/lib/lib.txt"], "file 644 0:0 library");
    assert_eq!(tree["all/top.txt"], "file 644 0:0 two");
    assert!(!tree.contains_key("all/vendor/lib/.git"));
    assert!(!tree.contains_key("bare/vendor/lib/lib.txt"), "{tree:#?}");
    assert!(tree.contains_key("kept/.git/HEAD"));
    assert!(!tree.contains_key("plain/.git"));
    let kept = project.path("bundle/rootfs/kept");
    let log = tool(
        "git",
        &[
            "-c",
            "safe.directory=*",
            "-C",
            kept.to_str().unwrap(),
            "log",
            "--format=%s",
        ],
    );
    assert_eq!(String::from_utf8_lossy(&log.stdout).trim(), "change");
}

#[test]
fn a_commit_that_was_promised_is_held_to() {
    let forge = Forge::start();
    let url = forge.url("app.git");
    let commit = forge.git("app.git", &["rev-parse", "v1"]);
    let add = |flag: &str, address: &str| format!("FROM scratch\nADD {flag} {address} /app/");
    let project = Project::new();
    for pinned in [commit.as_str(), &commit[..10]] {
        let project = Project::new();
        let line = add(&format!("--checksum={pinned}"), &format!("{url}#v1"));
        let project = project.dockerfile(&line);
        let (_, tree) = files(&project, project.build());
        assert_eq!(tree["app/top.txt"], "file 644 0:0 one");
    }
    let zeros = "0".repeat(40);
    let mismatch = format!("expected checksum to match {zeros}, got {commit}");
    let conflict = format!("{url}?ref=v1&checksum={commit}");
    for (flag, address, words) in [
        (
            format!("--checksum={zeros}"),
            format!("{url}#v1"),
            mismatch.as_str(),
        ),
        (
            String::new(),
            format!("{url}?ref=v1&checksum={zeros}"),
            &mismatch,
        ),
        (format!("--checksum={zeros}"), conflict, "checksum"),
        ("--checksum=sha256:00".to_owned(), url.clone(), "checksum"),
        (
            String::new(),
            format!("{url}#no-such"),
            "does not contain ref no-such",
        ),
    ] {
        project.put("Dockerfile", add(&flag, &address));
        project.build().failure(1).says(words);
    }
    // Nothing the user wrote is wrong with a server that has nothing there.
    project.put("Dockerfile", add("", &forge.url("none.git")));
    project.build().failure(3).says("none.git");
}

#[test]
fn git_and_web_are_contexts_too() {
    let forge = Forge::start();
    forge.commit(
        "app.git",
        &[(
            "Dockerfile",
            "FROM scratch\nCOPY . /all\nCOPY --from=lib / /lib\n",
        )],
    );
    let project = Project::new();
    let lib = format!("--build-context=lib={}", forge.url("lib.git"));
    let build = project.build().context(&forge.url("app.git")).flag(&lib);
    let (outcome, tree) = files(&project, build);
    assert_eq!(tree["all/sub/dir/deep.txt"], "file 644 0:0 deep");
    assert_eq!(tree["lib/lib.txt"], "file 644 0:0 library");
    outcome.ran("COPY . /all");
    let again = project.build().context(&forge.url("app.git")).flag(&lib);
    again.success().all_cached();
}
