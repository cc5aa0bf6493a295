//! Finding and reading the Dockerfile and the ignore file.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::ContextError;
use super::local::IgnoreSource;
use super::root::{FILE, open_following, open_root, read_bounded, regular};
use crate::pattern::Ignore;
use crate::tree::TreePath;

/// The largest Dockerfile that is read, in bytes.
pub const DOCKERFILE_BYTES_MAX: u64 = 16 << 20;

/// The largest ignore file that is read, in bytes.
pub const IGNORE_BYTES_MAX: u64 = 16 << 20;

/// A Dockerfile that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDockerfile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name as messages show it.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Finds and reads the Dockerfile of a directory.
///
/// Without `file`: `Dockerfile`, else `dockerfile` in `context`; links are followed inside the
/// context only. With `file` (relative to the context, or absolute; it may lie outside): exactly
/// that one, which the user named, so links in it are followed.
///
/// # Errors
/// There is none, it is no regular file, unreadable or larger than [`DOCKERFILE_BYTES_MAX`].
pub fn find_dockerfile(
    context: &Path,
    file: Option<&Path>,
) -> Result<FoundDockerfile, ContextError> {
    let Some(file) = file else {
        let root = open_root(context).map_err(|source| ContextError::OpenContext {
            path: context.to_path_buf(),
            source,
        })?;
        return find_inside(&root, context, None);
    };
    let path = context.join(file);
    let name = file.display().to_string();
    let bytes = rustix::fs::openat(
        rustix::fs::CWD,
        &path,
        FILE - rustix::fs::OFlags::NOFOLLOW,
        rustix::fs::Mode::empty(),
    )
    .map_err(Into::into)
    .and_then(|opened| read(opened, DOCKERFILE_BYTES_MAX));
    found(path, name, bytes)
}

/// Finds the Dockerfile below `root`, which is `directory`, and never outside.
pub(super) fn find_inside(
    root: &OwnedFd,
    directory: &Path,
    file: Option<&Path>,
) -> Result<FoundDockerfile, ContextError> {
    let read_inside = |path: &[u8]| {
        open_following(root, path, FILE).and_then(|opened| read(opened, DOCKERFILE_BYTES_MAX))
    };
    if let Some(file) = file {
        let clean = TreePath::clean(file.as_os_str().as_bytes());
        let path = directory.join(super::os_path(&clean));
        let name = file.display().to_string();
        return found(path, name, read_inside(clean.as_bytes()));
    }
    for name in ["Dockerfile", "dockerfile"] {
        match read_inside(name.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            bytes => return found(directory.join(name), name.to_owned(), bytes),
        }
    }
    Err(ContextError::NoDockerfile {
        name: "Dockerfile".to_owned(),
    })
}

fn found(
    path: PathBuf,
    name: String,
    bytes: io::Result<Vec<u8>>,
) -> Result<FoundDockerfile, ContextError> {
    match bytes {
        Ok(bytes) => Ok(FoundDockerfile { path, name, bytes }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(ContextError::NoDockerfile { name })
        }
        Err(source) => Err(ContextError::ReadDockerfile { name, source }),
    }
}

/// The ignore file of a Dockerfile: `<Dockerfile>.dockerignore` beside it.
pub fn ignore_path_of(dockerfile: &Path) -> PathBuf {
    let mut name = dockerfile
        .file_name()
        .map_or_else(OsString::new, ToOwned::to_owned);
    name.push(".dockerignore");
    dockerfile.with_file_name(name)
}

/// Reads the rules of a context. A missing file means no rules; one that is there and cannot be
/// used is an error, because going on could ship what its author meant to hide (B7).
pub(super) fn read_ignore(
    root: &OwnedFd,
    directory: &Path,
    source: IgnoreSource,
) -> Result<Ignore, ContextError> {
    let dockerfile = match source {
        IgnoreSource::None => return Ok(Ignore::default()),
        IgnoreSource::Rules(rules) => return Ok(rules),
        IgnoreSource::Root => None,
        IgnoreSource::Dockerfile(path) => Some(path),
    };
    if let Some(dockerfile) = dockerfile {
        let path = ignore_path_of(&directory.join(dockerfile));
        let parent = path.parent().unwrap_or(directory);
        let name = path.file_name().unwrap_or_default().as_bytes();
        let text = read_within(parent, name, IGNORE_BYTES_MAX);
        if let Some(rules) = parse_ignore(path, text)? {
            return Ok(rules);
        }
    }
    let name = ".dockerignore";
    let text = open_following(root, name.as_bytes(), FILE)
        .and_then(|opened| read(opened, IGNORE_BYTES_MAX));
    let rules = parse_ignore(directory.join(name), text)?;
    Ok(rules.unwrap_or_default())
}

fn parse_ignore(path: PathBuf, read: io::Result<Vec<u8>>) -> Result<Option<Ignore>, ContextError> {
    let text = match read {
        Ok(text) => text,
        // A link whose target is missing is not a missing file.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
            return Ok(None);
        }
        Err(source) => return Err(ContextError::ReadIgnore { path, source }),
    };
    match Ignore::parse(&text) {
        Ok(rules) => Ok(Some(rules)),
        Err(source) => Err(ContextError::ParseIgnore { path, source }),
    }
}

/// Reads a file inside a directory; links are followed as long as they stay inside.
fn read_within(directory: &Path, path: &[u8], limit: u64) -> io::Result<Vec<u8>> {
    let root = open_root(directory)?;
    read(open_following(&root, path, FILE)?, limit)
}

fn read(opened: OwnedFd, limit: u64) -> io::Result<Vec<u8>> {
    let (file, _) = regular(opened)?;
    read_bounded(&file, limit)
}
