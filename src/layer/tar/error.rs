//! What can be wrong with an archive.

use std::io;

/// An archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream below failed.
    #[error("failed to read the archive")]
    Read {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive ends in the middle of something.
    #[error("archive is cut off at byte {offset}")]
    Truncated {
        /// Where.
        offset: u64,
    },
    /// A header's checksum does not match: damaged, or no tar at all.
    #[error("no tar header at byte {offset}")]
    Checksum {
        /// Where.
        offset: u64,
    },
    /// A number field is not a number, or is out of range.
    #[error("tar header at byte {offset} has a bad {field}")]
    Field {
        /// The header.
        offset: u64,
        /// The field.
        field: &'static str,
    },
    /// An extended header breaks its own framing.
    #[error("extended tar header at byte {offset} is malformed")]
    Pax {
        /// The header.
        offset: u64,
    },
    /// Headers contradict each other, so that readers would disagree on what the entry is.
    #[error("tar headers before byte {offset} contradict each other: {what}")]
    Ambiguous {
        /// The header.
        offset: u64,
        /// What is said twice.
        what: &'static str,
    },
    /// A sparse map is malformed.
    #[error("sparse map of the tar entry at byte {offset} is malformed")]
    Sparse {
        /// The entry's header.
        offset: u64,
    },
    /// An entry is of a kind that layers do not have.
    #[error("tar entry at byte {offset} has the unsupported type {typeflag:?}")]
    Unsupported {
        /// The entry's header.
        offset: u64,
        /// Its type flag.
        typeflag: char,
    },
    /// A bound of what is accepted was passed.
    #[error("archive has more than {max} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        max: u64,
    },
}

impl TarError {
    /// Wraps an error of the stream; one that is already about the archive stays what it is.
    pub(super) fn read(source: io::Error, offset: u64) -> Self {
        if source.kind() == io::ErrorKind::UnexpectedEof && source.get_ref().is_none() {
            return Self::Truncated { offset };
        }
        Self::Read { source }
    }
}

impl From<TarError> for io::Error {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Read { source } => source,
            error => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}
