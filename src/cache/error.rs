//! Why the store could not do what was asked.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, VerifyError};
use crate::failure::{Explain, Kind, io_hints};

/// A failure of the store. Damaged or missing objects are no failures: they are misses.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The root cannot be used.
    #[error("failed to open the store `{}`", path.display())]
    Open {
        /// The root.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The root belongs to somebody else.
    #[error("the store `{}` belongs to user {owner}", path.display())]
    Owner {
        /// The root.
        path: PathBuf,
        /// The user id of its owner.
        owner: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something must be written and the store is read-only.
    #[error("the store `{}` is read-only", path.display())]
    ReadOnly {
        /// The root.
        path: PathBuf,
    },
    /// The layout at the root is of a kind that this program does not write.
    #[error("the store `{}` has the layout version `{version}`, this program writes 1.0.0", path.display())]
    Layout {
        /// The file `oci-layout`.
        path: PathBuf,
        /// What it states.
        version: String,
    },
    /// A newer builder keeps objects here whose references this one cannot read.
    #[error("a newer builder uses this store: `{}`", path.display())]
    Newer {
        /// The directory of the newer format.
        path: PathBuf,
    },
    /// A file or directory cannot be made.
    #[error("failed to create `{}`", path.display())]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Bytes cannot be written.
    #[error("failed to write `{}` after {written} bytes", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Bytes that it had taken before.
        written: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Bytes cannot be made durable. Final: the object is dropped, nothing refers to it.
    #[error("failed to make `{}` durable", path.display())]
    Sync {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A finished file cannot be given its name.
    #[error("failed to publish `{}`", path.display())]
    Publish {
        /// The name.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Bytes cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something cannot be removed.
    #[error("failed to remove `{}`", path.display())]
    Remove {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A lock cannot be taken.
    #[error("failed to lock `{}`", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process holds what is needed, for too long.
    #[error("`{}` is in use by another builder", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// The caller stopped waiting because the build is being stopped.
    #[error("stopped while waiting for another builder")]
    Cancelled,
    /// What was written is not what its descriptor promised.
    #[error("the content is not what was promised")]
    Mismatch(#[source] VerifyError),
    /// A blob is not in the store.
    #[error("blob {digest} is not in the store")]
    Missing {
        /// Which.
        digest: Digest,
    },
    /// A blob was in the store and was not what its name says; it is out of the way now.
    #[error("blob {digest} in the store was damaged")]
    Damaged {
        /// Which.
        digest: Digest,
        /// How.
        #[source]
        source: io::Error,
    },
    /// A blob is larger than its use allows.
    #[error("blob {digest} has {size} bytes, more than the {max} that are allowed here")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// `index.json` is not an image index.
    #[error("`{}` is not an image index", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A value cannot be written as JSON.
    #[error("failed to encode `{}`", path.display())]
    Encode {
        /// The file it was meant for.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The name of an encoder cannot be part of a file name.
    #[error("`{name}` cannot name an encoder")]
    EncoderName {
        /// The name.
        name: String,
    },
}

/// Makes a variant with path and source: `failed(path, StoreError::…)`.
macro_rules! at {
    ($variant:ident, $path:expr) => {
        |source| $crate::cache::error::StoreError::$variant {
            path: std::path::PathBuf::from($path),
            source: std::io::Error::from(source),
        }
    };
}
pub(crate) use at;

impl StoreError {
    /// The error as an `io::Error` of the same kind, for writers that must return one.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = self
            .source_io()
            .map_or(io::ErrorKind::Other, io::Error::kind);
        io::Error::new(kind, self)
    }

    /// The error that [`StoreError::into_io`] hid, or a failed write of `path`.
    pub(crate) fn from_io(error: io::Error, path: &Path) -> Self {
        error
            .downcast::<Self>()
            .unwrap_or_else(|source| Self::Write {
                path: path.to_owned(),
                written: 0,
                source,
            })
    }

    fn source_io(&self) -> Option<&io::Error> {
        match self {
            Self::Open { source, .. }
            | Self::Owner { source, .. }
            | Self::Create { source, .. }
            | Self::Write { source, .. }
            | Self::Sync { source, .. }
            | Self::Publish { source, .. }
            | Self::Read { source, .. }
            | Self::Remove { source, .. }
            | Self::Lock { source, .. }
            | Self::Damaged { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl Explain for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Cancelled => Kind::Cancelled,
            Self::Encode { .. } | Self::EncoderName { .. } => Kind::Internal,
            Self::Missing { .. } => Kind::User,
            _ => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Owner { owner, .. } => {
                format!("run as user {owner}, or choose a store of your own with --root DIR")
            }
            Self::ReadOnly { .. } => "choose a writable store with --root DIR".to_owned(),
            Self::Layout { .. } => {
                "use the builder that made it, or choose another store with --root DIR".to_owned()
            }
            Self::Newer { .. } => {
                "run this command with the newer builder: it knows what both still need".to_owned()
            }
            Self::Lock { path, source } if locks_are_missing(source) => format!(
                "the file system of `{}` has no locks (NFS without lockd?): choose a store on a \
                 local disk with --root DIR",
                path.display()
            ),
            Self::Busy { .. } => {
                "wait until the other builder has ended, then try again".to_owned()
            }
            Self::Sync { .. } => {
                "the disk reported an error: check it (`dmesg`), or choose another store with \
                 --root DIR"
                    .to_owned()
            }
            Self::Index { path, .. } => index_hint(path),
            Self::Damaged { .. } => {
                "`builder fsck` lists all damage; building again makes what is missing".to_owned()
            }
            other => return other.source_io().map(io_hints).unwrap_or_default(),
        };
        let mut hints = vec![hint];
        if let Self::Sync { source, .. } = self {
            hints.splice(0..0, io_hints(source));
        }
        hints
    }
}

fn index_hint(path: &Path) -> String {
    format!(
        "no image is lost: move `{}` away and build or tag the images again (`builder fsck` lists \
         their manifests)",
        path.display()
    )
}

fn locks_are_missing(error: &io::Error) -> bool {
    let codes = [libc::ENOLCK, libc::EOPNOTSUPP, libc::ENOSYS, libc::EINVAL];
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_of_the_machine_says_what_to_do() {
        let path = || PathBuf::from("/s/x");
        let os = io::Error::from_raw_os_error;
        for (error, text, hint) in [
            (
                StoreError::Write {
                    path: path(),
                    written: 4096,
                    source: os(libc::ENOSPC),
                },
                "failed to write `/s/x` after 4096 bytes",
                "builder prune",
            ),
            (
                StoreError::Create {
                    path: path(),
                    source: os(libc::EROFS),
                },
                "failed to create `/s/x`",
                "writable store",
            ),
            (
                StoreError::Owner {
                    path: path(),
                    owner: 7,
                    source: os(libc::EACCES),
                },
                "the store `/s/x` belongs to user 7",
                "run as user 7",
            ),
            (
                StoreError::Newer { path: path() },
                "a newer builder",
                "newer builder",
            ),
            (
                StoreError::Lock {
                    path: path(),
                    source: os(libc::ENOLCK),
                },
                "failed to lock `/s/x`",
                "local disk",
            ),
            (
                StoreError::Sync {
                    path: path(),
                    source: os(libc::EIO),
                },
                "failed to make `/s/x` durable",
                "dmesg",
            ),
            (
                StoreError::ReadOnly { path: path() },
                "is read-only",
                "--root DIR",
            ),
        ] {
            assert_eq!(error.kind(), Kind::Environment, "{error}");
            assert!(error.to_string().contains(text), "{error}");
            let hints = error.hints().join("\n");
            assert!(hints.contains(hint), "{error}: {hints}");
        }
    }
}
