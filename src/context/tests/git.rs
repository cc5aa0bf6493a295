//! Repositories as contexts: addresses, what is fetched, and what hostile ones cannot do.

use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::super::git::{
    FetchedTree, GitError, GitMtime, GitOptions, GitRef, GitRefError, GitSource, is_git_url,
};
use super::*;

#[test]
fn addresses_are_taken_apart_as_buildkit_does() {
    let table = include_str!("../../../testdata/references/git.txt");
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split(" | ").map(str::trim).collect();
        let parsed = GitRef::parse(fields[0]);
        match fields[1..] {
            ["no"] => assert!(
                matches!(parsed, Err(GitRefError::NotGit { .. })) && !is_git_url(fields[0]),
                "{line}"
            ),
            ["bad"] => assert!(parsed.is_err() && is_git_url(fields[0]), "{line}"),
            [remote, reference, subdirectory] => {
                let parsed = parsed.unwrap();
                let text = |field: &Option<String>| field.clone().unwrap_or("-".to_owned());
                assert_eq!(parsed.remote, remote, "{line}");
                assert_eq!(text(&parsed.reference), reference, "{line}");
                assert_eq!(text(&parsed.subdirectory), subdirectory, "{line}");
            }
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn the_query_form_sets_everything() {
    let parsed = GitRef::parse(
        "https://user:pass@h/r.git?commit=ABCDEF0&submodules=0&keep-git-dir=true&mtime=commit\
         &fetch-by-commit=1",
    )
    .unwrap();
    assert_eq!(parsed.checksum.as_deref(), Some("abcdef0"));
    assert_eq!(parsed.submodules, Some(false));
    assert_eq!(parsed.keep_git_dir, Some(true));
    assert_eq!(parsed.mtime, GitMtime::Commit);
    assert!(parsed.fetch_by_commit);
    assert_eq!(parsed.redacted(), "https://h/r.git");
}

proptest! {
    #[test]
    fn no_address_becomes_an_option_or_leaves_the_tree(
        text in "(https://h/r\\.git|git@h:r|ssh://h/r)[#?][-a-z./:=&%~^ ]{0,20}",
    ) {
        if let Ok(parsed) = GitRef::parse(&text) {
            prop_assert!(!parsed.remote.starts_with('-'));
            if let Some(reference) = parsed.reference {
                prop_assert!(!reference.starts_with('-') && !reference.contains(".."));
            }
            if let Some(subdirectory) = parsed.subdirectory {
                prop_assert!(!subdirectory.starts_with('/'));
                prop_assert!(subdirectory.split('/').all(|part| part != ".."));
            }
        }
    }
}

/// A repository on disk; `None` where there is no git, which is said.
struct Repository {
    place: tempfile::TempDir,
}

impl Repository {
    fn new() -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mut version = Command::new("git");
        if version
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            crate::testing::skip("git is not installed");
            return None;
        }
        fs::create_dir(place.path().join("repo")).unwrap();
        let repository = Self { place };
        repository.git(&["init", "-q", "-b", "main"]);
        Some(repository)
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("repo")
    }

    fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "protocol.file.allow=always"])
            .args(["-c", "user.name=n", "-c", "user.email=e"])
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_COMMITTER_DATE", "1000000000 +0000")
            .current_dir(self.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, path: &str, content: &str) -> String {
        let file = self.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "m"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A source of this repository; the protocol of local files is let in for it.
    fn source(&self, suffix: &str) -> GitSource {
        let mut address = GitRef::parse(&format!("https://host/r.git{suffix}")).unwrap();
        address.remote = format!("file://{}", self.path().display());
        let mut options = GitOptions {
            environment: vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())],
            ..GitOptions::default()
        };
        options.protocols = ":file";
        GitSource {
            address,
            options,
            keep_git_dir: false,
        }
    }

    fn fetch(source: &GitSource) -> Result<(FetchedTree, tempfile::TempDir), GitError> {
        let directory = tempfile::tempdir().unwrap();
        let commit = source.resolve(directory.path())?;
        let tree = source.fetch(&commit, directory.path())?;
        Ok((tree, directory))
    }
}

fn names(directory: &Path) -> Vec<String> {
    let context = LocalContext::open(directory, IgnoreSource::None, None).unwrap();
    let scan = context.with_modes(Modes::Git).scan(&[Wanted::All]).unwrap();
    scan.entries.iter().map(show).collect()
}

#[test]
fn branches_tags_and_commits_are_fetched_without_git_directory() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let first = repository.commit("dir/file", "1");
    repository.git(&["tag", "-a", "v1", "-m", "t"]);
    let second = repository.commit("dir/file", "2");
    for (suffix, commit) in [
        ("", &second),
        ("#main", &second),
        ("?branch=main", &second),
        ("#v1", &first),
        ("?tag=v1", &first),
        ("#refs/tags/v1", &first),
        (&format!("#{first}")[..], &first),
        (&format!("?ref=v1&checksum={}", &first[..7])[..], &first),
    ] {
        let (tree, _place) = Repository::fetch(&repository.source(suffix)).unwrap();
        assert_eq!(&tree.commit, commit, "{suffix}");
        assert_eq!(tree.commit_time, 1_000_000_000);
        assert_eq!(names(&tree.directory), ["dir/", "dir/file"], "{suffix}");
    }
    let (tree, _place) = Repository::fetch(&repository.source("#main:dir")).unwrap();
    let scan = tree.open().unwrap().scan(&[Wanted::All]).unwrap();
    assert_eq!(scan.entries.iter().map(show).collect::<Vec<_>>(), ["file"]);
    let missing = Repository::fetch(&repository.source("#none")).unwrap_err();
    assert!(matches!(missing, GitError::NoReference { .. }));
    let other = repository.source("?ref=main&checksum=0000000");
    let error = Repository::fetch(&other).unwrap_err();
    assert!(matches!(error, GitError::Checksum { .. }), "{error}");
}

#[test]
fn the_git_directory_stays_when_asked_and_times_can_be_the_commits() {
    let Some(repository) = Repository::new() else {
        return;
    };
    repository.commit("file", "1");
    let source = repository.source("?keep-git-dir=1&mtime=commit");
    let (tree, _place) = Repository::fetch(&source).unwrap();
    assert!(tree.directory.join(".git/HEAD").exists());
    let file = fs::File::open(tree.directory.join("file")).unwrap();
    assert_eq!(
        Stamp::of(&file).unwrap().mtime_ns,
        1_000_000_000_000_000_000
    );
}

#[test]
fn submodules_come_along_and_leave_no_link() {
    let Some(outer) = Repository::new() else {
        return;
    };
    let Some(inner) = Repository::new() else {
        return;
    };
    inner.commit("inside", "i");
    outer.commit("file", "o");
    let address = format!("file://{}", inner.path().display());
    outer.git(&["submodule", "--quiet", "add", &address, "sub"]);
    outer.git(&["commit", "-q", "-m", "s"]);
    let (tree, _place) = Repository::fetch(&outer.source("")).unwrap();
    assert_eq!(
        names(&tree.directory),
        [".gitmodules", "file", "sub/", "sub/inside"]
    );
    let (tree, _place) = Repository::fetch(&outer.source("?submodules=0")).unwrap();
    assert_eq!(names(&tree.directory), [".gitmodules", "file", "sub/"]);
    // Without the leave that tests have, a submodule cannot read the machine's files.
    let mut strict = outer.source("");
    strict.options.protocols = "";
    assert!(matches!(
        Repository::fetch(&strict),
        Err(GitError::Failed { .. })
    ));
}

#[test]
fn hostile_repositories_run_nothing_and_show_nothing() {
    let Some(repository) = Repository::new() else {
        return;
    };
    fs::write(repository.place.path().join("canary"), "secret").unwrap();
    symlink("..", repository.path().join("up")).unwrap();
    repository.commit(".gitattributes", "* filter=evil\n");
    repository.git(&["update-ref", "refs/heads/--upload-pack=touch", "HEAD"]);
    let (tree, _place) = Repository::fetch(&repository.source("#main:up")).unwrap();
    let error = tree.open().unwrap_err();
    assert_eq!(error.to_string(), "path \"up\" not found in the context");
}

#[test]
fn a_password_is_in_no_message() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let mut source = repository.source("");
    source.address.remote = "http://user:hunter2@127.0.0.1:1/r.git".to_owned();
    source.options.token = Some("hunter3".to_owned());
    let error = Repository::fetch(&source).unwrap_err().to_string();
    assert!(!error.contains("hunter"), "{error}");
}
