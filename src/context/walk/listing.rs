//! The names of a directory.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, RawDir};

use crate::context::wanted::Reach;

/// The names of a directory, sorted; one buffer for all.
pub(super) struct Names {
    bytes: Vec<u8>,
    pub(super) spans: Vec<Span>,
    /// Whether these are all names of the directory.
    pub(super) complete: bool,
}

#[derive(Clone, Copy)]
pub(super) struct Span {
    start: usize,
    /// Without the NUL.
    end: usize,
    pub(super) file_type: FileType,
}

impl Names {
    /// Lists a directory, or takes the names that are asked for if they are known.
    pub(super) fn read(directory: &OwnedFd, reach: &Reach<'_>) -> io::Result<Self> {
        let mut names = Self {
            bytes: Vec::new(),
            spans: Vec::new(),
            complete: true,
        };
        if let Some(wanted) = reach.names() {
            names.complete = false;
            for name in wanted {
                names.push(name, FileType::Unknown);
            }
            return Ok(names);
        }
        list(directory, |name, file_type| {
            names.push(name.to_bytes(), file_type);
        })?;
        let bytes = &names.bytes;
        names.spans.sort_unstable_by(|one, other| {
            bytes[one.start..one.end].cmp(&bytes[other.start..other.end])
        });
        Ok(names)
    }

    fn push(&mut self, name: &[u8], file_type: FileType) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let end = self.bytes.len();
        self.bytes.push(0);
        self.spans.push(Span {
            start,
            end,
            file_type,
        });
    }

    pub(super) fn bytes(&self, span: &Span) -> &[u8] {
        &self.bytes[span.start..span.end]
    }

    pub(super) fn c_str(&self, span: &Span) -> &CStr {
        CStr::from_bytes_with_nul(&self.bytes[span.start..=span.end]).unwrap_or_default()
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.spans
            .binary_search_by(|span| self.bytes(span).cmp(name))
            .is_ok()
    }
}

/// Calls `each` for each name of a directory but `.` and `..`, in the directory's order.
pub(in crate::context) fn list(
    directory: &impl AsFd,
    mut each: impl FnMut(&CStr, FileType),
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(1 << 15);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            each(name, entry.file_type());
        }
    }
    Ok(())
}
