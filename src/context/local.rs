//! A directory as a context.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::ContextError;
use super::dockerfile::{FoundDockerfile, find_inside, read_ignore};
use super::follow::follow;
use super::index::StatIndex;
use super::root::{DIRECTORY, FILE, open_beneath, open_following, open_root, regular};
use super::stamp::Stamp;
use super::walk::{Progress, Walk};
use super::wanted::{Reach, Wanted};
use crate::clock;
use crate::pattern::Ignore;
use crate::tree::{Entry, TreePath};

/// Where the ignore rules of a directory come from.
#[derive(Clone, Debug)]
pub enum IgnoreSource {
    /// Nothing is ignored: fetched contexts.
    None,
    /// `.dockerignore` in the root of the directory, if there is one: named contexts.
    Root,
    /// `<Dockerfile>.dockerignore` beside the Dockerfile at this path, else as [`Self::Root`].
    Dockerfile(PathBuf),
    /// These.
    Rules(Ignore),
}

/// What the permission bits of files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Modes {
    /// Those of the directory: local contexts and unpacked archives.
    #[default]
    Source,
    /// 0755 for directories and executables, 0644 for other files, whatever the umask was: what git
    /// knows.
    Git,
}

/// A directory, opened; everything in it is reached through its descriptor.
#[derive(Debug)]
pub struct LocalContext {
    root: OwnedFd,
    directory: PathBuf,
    ignore: Ignore,
    index_path: Option<PathBuf>,
    modes: Modes,
}

/// What a scan found.
#[derive(Debug)]
pub struct Scan {
    /// In tree order, without the root.
    pub entries: Vec<Entry>,
    /// Files whose content was read because the stat index did not vouch for it.
    pub hashed_files: u64,
    /// Bytes of them.
    pub hashed_bytes: u64,
}

impl LocalContext {
    /// Opens a directory. `index_path` is the file of its stat index, made and renewed by scans;
    /// without it every scan reads every file.
    ///
    /// # Errors
    /// The directory cannot be opened, or its ignore file exists and cannot be used.
    pub fn open(
        directory: &Path,
        ignore: IgnoreSource,
        index_path: Option<PathBuf>,
    ) -> Result<Self, ContextError> {
        let root = open_root(directory).map_err(|source| {
            let path = directory.to_path_buf();
            match source.kind() {
                io::ErrorKind::NotFound => ContextError::NoContext { path },
                _ => ContextError::OpenContext { path, source },
            }
        })?;
        let ignore = read_ignore(&root, directory, ignore)?;
        Ok(Self {
            root,
            directory: directory.to_path_buf(),
            ignore,
            index_path,
            modes: Modes::Source,
        })
    }

    /// The same context with other permission bits.
    #[must_use]
    pub fn with_modes(self, modes: Modes) -> Self {
        Self { modes, ..self }
    }

    /// The same context seen from a sub-directory of it; links on the way are refused (B2).
    ///
    /// # Errors
    /// It is missing, a link, or no directory.
    pub fn subdirectory(self, path: &str) -> Result<Self, ContextError> {
        let clean = TreePath::clean(path);
        let root = open_beneath(&self.root, clean.as_bytes(), DIRECTORY).map_err(|_| {
            ContextError::NoSubdirectory {
                path: path.to_owned(),
            }
        })?;
        let directory = self.directory.join(super::os_path(&clean));
        Ok(Self {
            root,
            directory,
            ..self
        })
    }

    /// Finds and reads the Dockerfile of a fetched context: `file`, or `Dockerfile`, or
    /// `dockerfile`. Nothing outside of the context is read, whatever `file` or a link says. For a
    /// directory that the user named see [`super::dockerfile::find_dockerfile`].
    ///
    /// # Errors
    /// There is none, it is no regular file, unreadable or too large.
    pub fn dockerfile(&self, file: Option<&Path>) -> Result<FoundDockerfile, ContextError> {
        find_inside(&self.root, &self.directory, file)
    }

    /// The directory as it was named.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Lists what is wanted, with contents by digest, in tree order: for each entry also its
    /// directories. Uses and renews the stat index; that it cannot be written is no error.
    ///
    /// One call for all that a build wants is cheaper than many. Works on the current rayon pool:
    /// not to be called from a pool whose jobs block for long.
    ///
    /// # Errors
    /// [`ContextError::Read`] for what is wanted and cannot be read. What is missing is not here:
    /// see [`Self::missing`].
    pub fn scan(&self, wanted: &[Wanted]) -> Result<Scan, ContextError> {
        let sources = wanted.iter().filter_map(|wanted| match wanted {
            Wanted::Source(glob) | Wanted::Parents { way: glob, .. } => Some(glob),
            Wanted::All => None,
        });
        let followed = follow(&self.root, sources)?;
        let Some(reach) = Reach::of_root(wanted, &followed) else {
            return Ok(Scan {
                entries: Vec::new(),
                hashed_files: 0,
                hashed_bytes: 0,
            });
        };
        let now_ns = clock::now_ns();
        let index = self.index_path.as_deref().map(StatIndex::load);
        let index = index.unwrap_or_default();
        let root = self
            .root
            .try_clone()
            .map_err(|source| self.failed(source))?;
        let walk = Walk {
            ignore: &self.ignore,
            index: &index,
            modes: self.modes,
            now_ns,
            coarse: has_own_clock(&self.root),
            progress: Progress::default(),
        };
        let found = walk.run(root, reach)?;
        if let Some(path) = &self.index_path
            && found.visited.iter().any(|(_, block)| block.is_some())
            && let Err(error) = index.store(path, &found.visited)
        {
            tracing::debug!(path = %path.display(), %error, "stat index not written");
        }
        Ok(Scan {
            entries: found.entries,
            hashed_files: found.hashed_files,
            hashed_bytes: found.hashed_bytes,
        })
    }

    /// Opens a regular file of the context for reading. No component is followed if it is a link,
    /// a FIFO does not block, a device is not read. The caller compares the content's digest with
    /// the entry's, so a file that changed since the scan cannot go unnoticed.
    ///
    /// # Errors
    /// It is gone, or something else than a regular file.
    pub fn open_file(&self, path: &TreePath) -> Result<File, ContextError> {
        self.open_stamped(path).map(|(file, _)| file)
    }

    /// As [`Self::open_file`], with the file's stamp for [`super::unchanged`].
    ///
    /// # Errors
    /// It is gone, or something else than a regular file.
    pub fn open_stamped(&self, path: &TreePath) -> Result<(File, Stamp), ContextError> {
        open_beneath(&self.root, path.as_bytes(), FILE)
            .and_then(regular)
            .map_err(|source| ContextError::Read {
                path: path.clone(),
                source,
            })
    }

    /// Whether a cleaned path is excluded by the ignore rules.
    pub fn ignores(&self, path: &TreePath) -> bool {
        self.ignore.excluded(path.as_bytes())
    }

    /// Whether the ignore file leaves nothing of a path.
    pub fn ignores_wholly(&self, path: &TreePath) -> bool {
        self.ignore.excludes_wholly(path.as_bytes())
    }

    /// The error for a source without wildcards that is not among the entries: BuildKit's sentence,
    /// and whether an ignore file is to blame.
    pub fn missing(&self, source: &str) -> ContextError {
        let clean = TreePath::clean(source);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let exists = open_following(&self.root, clean.as_bytes(), flags).is_ok();
        ContextError::NotFound {
            path: clean.to_string(),
            ignored: exists && self.ignores(&clean),
        }
    }

    fn failed(&self, source: io::Error) -> ContextError {
        ContextError::OpenContext {
            path: self.directory.clone(),
            source,
        }
    }
}

/// Whether a file system is stamped by another machine's clock, or remembers attributes that may
/// be out of date: network file systems and FUSE.
fn has_own_clock(root: &OwnedFd) -> bool {
    const FOREIGN: [i64; 9] = [
        0x6969,      // NFS
        0xFF53_4D42, // CIFS
        0xFE53_4D42, // SMB2
        0x517B,      // SMB
        0x6573_5546, // FUSE, virtiofs
        0x0102_1997, // 9P
        0x786F_4256, // vboxsf
        0x00C3_6400, // Ceph
        0x5346_414F, // AFS
    ];
    rustix::fs::fstatfs(root).map_or(true, |stat| FOREIGN.contains(&stat.f_type))
}
