//! The identity of a file's content without reading it.
//!
//! Like git's index entry, with all that the kernel changes when content changes. BuildKit served
//! stale content when size and mtime were equal (dockerfile.md §12): inode, device and ctime are
//! therefore part of it; no ordinary program can set a ctime.
//!
//! *Racy* files: file systems stamp with the granularity of a tick. A file that changed within the
//! tick in which it was read may change again with the same stamp. So a digest is remembered only
//! if, when its reading began, the stamp was older than a tick ([`Stamp::is_settled`]). A file
//! that is not settled is simply read again next time.
//!
//! What no stamp can see, here as in git and make: a store through a shared memory mapping whose
//! page is already dirty changes no time until the page has been written back.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags};

/// The longest tick of the kernel's coarse clock (HZ=100) and as much again for its lag behind the
/// clock that we read.
const TICK_NS: i64 = 20_000_000;

/// Whole seconds: ext4 with small inodes, HFS+; two of them: FAT.
const COARSE_TICK_NS: i64 = 2_100_000_000;

const SECOND_NS: i64 = 1_000_000_000;

/// What identifies a file's content as long as it does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Device, major number in the upper half.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Modification time in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change time in nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl Stamp {
    /// The stamp of an open file.
    ///
    /// # Errors
    /// What `statx` says.
    pub fn of(file: &impl AsFd) -> io::Result<Self> {
        let stat = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, MASK)?;
        Ok(Self::from_stat(&stat))
    }

    pub(super) fn from_stat(stat: &Statx) -> Self {
        let time = |time: &rustix::fs::StatxTimestamp| {
            time.tv_sec
                .saturating_mul(SECOND_NS)
                .saturating_add(i64::from(time.tv_nsec))
        };
        Self {
            device: u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor),
            inode: stat.stx_ino,
            size: stat.stx_size,
            mode: u32::from(stat.stx_mode),
            mtime_ns: time(&stat.stx_mtime),
            ctime_ns: time(&stat.stx_ctime),
        }
    }

    /// Whether a change after `now_ns` must give another stamp. `now_ns` is the wall clock before
    /// the content was read; `coarse` says that the file system's clock is not ours.
    pub fn is_settled(&self, now_ns: i64, coarse: bool) -> bool {
        let whole_seconds = self.mtime_ns % SECOND_NS == 0 && self.ctime_ns % SECOND_NS == 0;
        let tick = if coarse || whole_seconds {
            COARSE_TICK_NS
        } else {
            TICK_NS
        };
        let newest = self.mtime_ns.max(self.ctime_ns);
        newest < now_ns.saturating_sub(tick)
    }

    /// What kind of file it is.
    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Permission bits, set-id and sticky bits included.
    pub(super) fn permissions(&self) -> u32 {
        self.mode & 0o7777
    }

    /// Modification time in seconds since 1970, rounded down.
    pub(super) fn mtime_seconds(&self) -> i64 {
        self.mtime_ns.div_euclid(SECOND_NS)
    }
}

/// What is asked of the kernel.
pub(super) const MASK: StatxFlags = StatxFlags::BASIC_STATS;

/// Whether an open file still has the stamp that it had: content read in between is that of one
/// moment.
///
/// # Errors
/// What `statx` says.
pub fn unchanged(file: &File, stamp: &Stamp) -> io::Result<bool> {
    Ok(Stamp::of(file)? == *stamp)
}
