//! The memory of a process that waits for the answer to a call.

use std::io::{IoSlice, IoSliceMut};

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use rustix::io::Errno;

use crate::sys::supervise::Call;

/// The longest path that the kernel takes, with its end.
const PATH_MAX: usize = 4096;
/// Memory is read up to the end of a page: the next one may not be there.
const PAGE: u64 = 4096;

/// Reads the path at an address of the caller, with the errors of the kernel.
pub(super) fn path(call: &Call, address: u64) -> Result<Vec<u8>, Errno> {
    match read_path(call, address) {
        Some(path) => Ok(path),
        None if read_all(call, address, PATH_MAX).is_ok() => Err(Errno::NAMETOOLONG),
        None => Err(Errno::FAULT),
    }
}

/// Reads so many bytes of a caller, all or none.
pub(super) fn read_all(call: &Call, address: u64, length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; length];
    let read = if length == 0 {
        Some(0)
    } else {
        read(call, address, &mut bytes)
    };
    if read == Some(length) {
        Ok(bytes)
    } else {
        Err(Errno::FAULT)
    }
}

/// How much of a path is looked at first.
pub(super) const START: usize = 64;

/// Reads the path at an address of the caller; `None` if there is none.
pub(super) fn read_path(call: &Call, address: u64) -> Option<Vec<u8>> {
    read_path_if(call, address, |_| true)
}

/// The same for paths whose beginning is of a certain kind; of others little is read.
pub(super) fn read_path_if(
    call: &Call,
    address: u64,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    let mut path = vec![0; PATH_MAX];
    let mut length = 0;
    let mut is_first = true;
    while length < PATH_MAX {
        let at = address.checked_add(u64::try_from(length).ok()?)?;
        let to_page = usize::try_from(PAGE - at % PAGE).ok()?;
        let limit = if is_first { START } else { PATH_MAX };
        let end = (length + to_page.min(limit)).min(PATH_MAX);
        let count = read(call, at, &mut path[length..end])?;
        if count == 0 {
            return None;
        }
        if let Some(position) = path[length..length + count]
            .iter()
            .position(|byte| *byte == 0)
        {
            path.truncate(length + position);
            return is_wanted(&path).then_some(path);
        }
        length += count;
        // It may go on behind the end of a page.
        if is_first && length >= START {
            if !is_wanted(&path[..length]) {
                return None;
            }
            is_first = false;
        }
    }
    None
}

/// Reads the first bytes of the path at an address; `None` if there are fewer before the end of a page.
pub(super) fn read_start<'a>(
    call: &Call,
    address: u64,
    into: &'a mut [u8; START],
) -> Option<&'a [u8]> {
    let to_page = usize::try_from(PAGE - address % PAGE).ok()?;
    let count = read(call, address, &mut into[..to_page.min(START)])?;
    let start = &into[..count];
    match start.iter().position(|byte| *byte == 0) {
        Some(end) => Some(&start[..end]),
        None => (count == START).then_some(start),
    }
}

/// Reads memory of a caller; gives how much there was.
pub(super) fn read(call: &Call, address: u64, into: &mut [u8]) -> Option<usize> {
    let remote = RemoteIoVec {
        base: usize::try_from(address).ok()?,
        len: into.len(),
    };
    let thread = Pid::from_raw(i32::try_from(call.thread).ok()?);
    process_vm_readv(thread, &mut [IoSliceMut::new(into)], &[remote]).ok()
}

/// Writes memory of a caller; `None` if it cannot be written.
pub(super) fn write(call: &Call, address: u64, bytes: &[u8]) -> Option<()> {
    let remote = RemoteIoVec {
        base: usize::try_from(address).ok()?,
        len: bytes.len(),
    };
    let thread = Pid::from_raw(i32::try_from(call.thread).ok()?);
    let written = process_vm_writev(thread, &[IoSlice::new(bytes)], &[remote]).ok()?;
    (written == bytes.len()).then_some(())
}

/// Reads so many numbers of 32 bits of a caller, all or none.
#[expect(
    clippy::host_endian_bytes,
    reason = "the memory of a process of this machine"
)]
pub(super) fn words(call: &Call, address: u64, count: usize) -> Result<Vec<u32>, Errno> {
    let bytes = read_all(call, address, count * size_of::<u32>())?;
    let words = bytes.as_chunks().0.iter();
    Ok(words.map(|word| u32::from_ne_bytes(*word)).collect())
}

/// Writes numbers of 32 bits to a caller.
pub(super) fn write_words(call: &Call, address: u64, words: &[u32]) -> Result<(), Errno> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    if bytes.is_empty() {
        return Ok(());
    }
    write(call, address, &bytes).ok_or(Errno::FAULT)
}
