//! What can be wrong with trees and with questions about them.

use super::TreePath;
use crate::failure::{Explain, Kind};

/// Bytes are not an encoded tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They were written by another version of this program, or are something else.
    #[error("tree index has an unknown format")]
    Format,
    /// They end too early or promise more than they hold.
    #[error("tree index is cut off at byte {offset}")]
    Truncated {
        /// Where.
        offset: usize,
    },
    /// They break a rule of trees (order, clean paths, known kinds).
    #[error("tree index is malformed at byte {offset}")]
    Malformed {
        /// Where.
        offset: usize,
    },
}

impl Explain for DecodeError {
    fn kind(&self) -> Kind {
        Kind::Environment
    }

    fn hints(&self) -> Vec<String> {
        vec!["the store is damaged: run `builder fsck`".to_owned()]
    }
}

/// A path does not name anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nothing is there.
    #[error("`{path}` does not exist")]
    NotFound {
        /// The path after the links resolved so far.
        path: TreePath,
    },
    /// A component that is used as a directory is something else.
    #[error("`{path}` is not a directory")]
    NotDirectory {
        /// The component.
        path: TreePath,
    },
    /// More than 255 symbolic links: a loop.
    #[error("too many symbolic links on the way to `{path}`")]
    Loop {
        /// The link that was one too many.
        path: TreePath,
    },
}

impl Explain for ResolveError {
    fn kind(&self) -> Kind {
        Kind::User
    }
}

/// An owner cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// A name on a file system without any user database, in BuildKit's words.
    #[error("invalid user index: -1")]
    NoUsers,
    /// The user database is there but was too large to keep, or is not a regular file.
    #[error("`{path}` is too large or not a regular file")]
    Unreadable {
        /// The user database.
        path: TreePath,
    },
}

impl Explain for OwnerError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn hints(&self) -> Vec<String> {
        vec!["write the owner as numbers (`--chown=1000:1000`)".to_owned()]
    }
}
