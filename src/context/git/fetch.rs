//! Resolving and fetching a git tree.

use std::fs;
use std::path::{Path, PathBuf};

use super::command::{Git, GitError, GitOptions};
use super::reference::{GitMtime, GitRef, is_commit};
use crate::context::{ContextError, IgnoreSource, LocalContext, Modes};

/// A git address and how to reach it.
#[derive(Clone, Debug)]
pub struct GitSource {
    /// The address.
    pub address: GitRef,
    /// How to reach it.
    pub options: GitOptions,
    /// Whether `.git` stays when the address does not say so.
    pub keep_git_dir: bool,
}

/// A tree that was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedTree {
    /// The directory of the whole tree.
    pub directory: PathBuf,
    /// The directory inside it that was asked for.
    pub subdirectory: Option<String>,
    /// The commit, in full.
    pub commit: String,
    /// The time of the commit in seconds since 1970.
    pub commit_time: i64,
}

impl FetchedTree {
    /// Opens the directory that was asked for as a context: nothing is ignored, modes are git's.
    ///
    /// # Errors
    /// The sub-directory is missing, a link, or no directory.
    pub fn open(&self) -> Result<LocalContext, ContextError> {
        let tree = LocalContext::open(&self.directory, IgnoreSource::None, None)?;
        let tree = tree.with_modes(Modes::Git);
        match &self.subdirectory {
            Some(path) => tree.subdirectory(path),
            None => Ok(tree),
        }
    }
}

/// The commit time of a local work tree's HEAD in seconds since 1970; `None` if it is none or has no
/// commit.
///
/// # Errors
/// Git cannot be run.
pub fn head_time(
    directory: &Path,
    environment: &[(String, String)],
) -> Result<Option<i64>, GitError> {
    let options = GitOptions {
        environment: environment.to_vec(),
        ..GitOptions::default()
    };
    let git = Git {
        options: &options,
        directory,
        remote: "",
    };
    match git.run("read the time of", ["log", "-1", "--format=%ct"]) {
        Ok(time) => Ok(time.trim().parse().ok()),
        Err(GitError::Failed { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl GitSource {
    /// Finds the commit that the address means now; asks the server unless the address has it in
    /// full. `scratch` is any directory.
    ///
    /// # Errors
    /// The server does not answer, or has no such reference, or it is not the promised commit.
    pub fn resolve(&self, scratch: &Path) -> Result<String, GitError> {
        let commit = match self.address.commit() {
            Some(commit) => commit.to_ascii_lowercase(),
            None => self.ask(scratch)?,
        };
        self.verify(&commit)?;
        Ok(commit)
    }

    /// Compares a commit with the one that is pinned, if one is.
    ///
    /// # Errors
    /// It is another one.
    pub fn verify(&self, commit: &str) -> Result<(), GitError> {
        match &self.address.checksum {
            Some(expected) if !commit.starts_with(expected) => Err(GitError::Checksum {
                expected: expected.clone(),
                actual: commit.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Fetches the tree of a resolved commit into `directory`, which exists and is empty.
    ///
    /// # Errors
    /// The server does not answer or has the commit no more, or the disk cannot take the tree.
    pub fn fetch(&self, commit: &str, directory: &Path) -> Result<FetchedTree, GitError> {
        let git = self.git(directory);
        let format = if commit.len() == 64 { "sha256" } else { "sha1" };
        let format = format!("--object-format={format}");
        git.run("initialise", ["init", "--quiet", "--template=", &format])?;
        git.run(
            "initialise",
            ["config", "remote.origin.url", &self.address.remote],
        )?;
        self.get(&git, commit)?;
        let checkout = ["checkout", "--quiet", "--force", "--detach", commit];
        git.run("check out", checkout)?;
        let show = [
            "show",
            "--no-patch",
            "--format=%ct",
            "--end-of-options",
            commit,
        ];
        let time = git.run("read the commit of", show)?;
        if self.address.submodules != Some(false) && directory.join(".gitmodules").exists() {
            let mut args = vec!["submodule", "--quiet", "update", "--init", "--recursive"];
            args.push("--depth=1");
            git.run("fetch the submodules of", args)?;
        }
        let commit_time = time.trim().parse().unwrap_or(0);
        self.tidy(&git, directory)?;
        if self.address.mtime == GitMtime::Commit {
            set_times(directory, commit_time)?;
        }
        Ok(FetchedTree {
            directory: directory.to_path_buf(),
            subdirectory: self.address.subdirectory.clone(),
            commit: commit.to_owned(),
            commit_time,
        })
    }

    fn git<'a>(&'a self, directory: &'a Path) -> Git<'a> {
        Git {
            options: &self.options,
            directory,
            remote: &self.address.remote,
        }
    }

    /// Asks the server for the reference; branches go before tags, as in `git checkout`.
    fn ask(&self, scratch: &Path) -> Result<String, GitError> {
        let git = self.git(scratch);
        let reference = self.address.reference.as_deref().unwrap_or("HEAD");
        let peeled = format!("{reference}^{{}}");
        let remote = self.address.remote.as_str();
        let args = ["ls-remote", "--end-of-options", remote, reference, &peeled];
        let listing = git.run("list the references of", args)?;
        let find = |wanted: &str| {
            listing.lines().find_map(|line| {
                let (commit, name) = line.split_once('\t')?;
                (name == wanted && is_commit(commit)).then(|| commit.to_owned())
            })
        };
        let short = reference.strip_prefix("refs/").unwrap_or(reference);
        let tag = format!("refs/tags/{}", short.trim_start_matches("tags/"));
        [
            format!("refs/{short}^{{}}"),
            format!("refs/{short}"),
            format!("refs/heads/{}", short.trim_start_matches("heads/")),
            format!("{tag}^{{}}"),
            tag,
            reference.to_owned(),
        ]
        .iter()
        .find_map(|name| find(name))
        .ok_or_else(|| GitError::NoReference {
            remote: self.address.redacted(),
            reference: reference.to_owned(),
        })
    }

    /// Gets the commit: alone if the server gives it out, else through its reference, else with all
    /// history.
    fn get(&self, git: &Git<'_>, commit: &str) -> Result<(), GitError> {
        const ACTION: &str = "fetch";
        const SHALLOW: [&str; 6] = [
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--no-recurse-submodules",
            "--end-of-options",
        ];
        let fetch = |what: &str| git.run(ACTION, SHALLOW.into_iter().chain(["origin", what]));
        let exists = || {
            let object = format!("{commit}^{{commit}}");
            git.run(ACTION, ["cat-file", "-e", &object]).is_ok()
        };
        if fetch(commit).is_ok() && exists() {
            return Ok(());
        }
        let reference = self.address.reference.as_deref();
        if let Some(reference) = reference.filter(|_| self.address.commit().is_none())
            && fetch(reference).is_ok()
            && exists()
        {
            return Ok(());
        }
        git.run(
            ACTION,
            [
                "fetch",
                "--quiet",
                "--tags",
                "--force",
                "--no-recurse-submodules",
                "--end-of-options",
                "origin",
                "+refs/heads/*:refs/remotes/origin/*",
            ],
        )?;
        if exists() {
            return Ok(());
        }
        Err(GitError::NoReference {
            remote: self.address.redacted(),
            reference: commit.to_owned(),
        })
    }

    /// Removes `.git`, also of submodules, or what in it must not reach an image.
    fn tidy(&self, git: &Git<'_>, directory: &Path) -> Result<(), GitError> {
        if self.address.keep_git_dir.unwrap_or(self.keep_git_dir) {
            // A password in the address would be in the image.
            let url = self.address.redacted();
            git.run("initialise", ["config", "remote.origin.url", &url])?;
            return Ok(());
        }
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| GitError::Prepare { path, source }
        };
        let top = directory.join(".git");
        fs::remove_dir_all(&top).map_err(failed(&top))?;
        if !directory.join(".gitmodules").exists() {
            return Ok(());
        }
        // Git never checks out a file of this name, so each one is the link of a submodule.
        for entry in walkdir::WalkDir::new(directory).into_iter().flatten() {
            if entry.file_name() == ".git" && entry.file_type().is_file() {
                fs::remove_file(entry.path()).map_err(failed(entry.path()))?;
            }
        }
        Ok(())
    }
}

/// Stamps every file of a tree.
fn set_times(directory: &Path, seconds: i64) -> Result<(), GitError> {
    let time = rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    let entries = walkdir::WalkDir::new(directory).contents_first(true);
    for entry in entries.into_iter().flatten() {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, entry.path(), &times, flags).map_err(|errno| {
            GitError::Prepare {
                path: entry.path().to_path_buf(),
                source: errno.into(),
            }
        })?;
    }
    Ok(())
}
