//! Extended attributes of a name in an open directory, links never followed.
//!
//! Linux 6.13 has calls for exactly this (`getxattrat(2)` and family). Before it the same is said
//! through `/proc/self/fd/<directory>/<name>`, where the directory part is a kernel object, not a
//! path that somebody could change.

#![expect(unsafe_code, reason = "system calls that no crate wraps yet")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::XattrFlags;

// The numbers are those of all architectures that came after the unified table.
const SYS_SETXATTRAT: libc::c_long = 463;
const SYS_GETXATTRAT: libc::c_long = 464;
const SYS_LISTXATTRAT: libc::c_long = 465;

/// The largest value and the largest list of names that the kernel has (`limits.h`).
const SIZE_MAX: usize = 64 << 10;

/// Whether this kernel lacks the calls, once that is known. A fact of the machine, not a state.
static IS_OLD_KERNEL: AtomicBool = AtomicBool::new(false);

/// `struct xattr_args` of `linux/xattr.h`.
#[repr(C)]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

/// The names of all attributes of `name` in `directory`; none where attributes are not supported.
pub fn list_at(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Vec<Vec<u8>>> {
    let mut small = [0_u8; 512];
    let listed = match list_into(directory, name, &mut small) {
        Ok(size) => split_names(&small[..size]),
        Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {
            let mut large = vec![0; SIZE_MAX];
            let size = list_into(directory, name, &mut large)?;
            split_names(&large[..size])
        }
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(listed)
}

fn split_names(list: &[u8]) -> Vec<Vec<u8>> {
    let names = list.split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty());
    names.map(<[u8]>::to_vec).collect()
}

fn list_into(directory: BorrowedFd<'_>, name: &CStr, list: &mut [u8]) -> io::Result<usize> {
    let new = new_call(|| {
        // SAFETY: the kernel reads the NUL-terminated `name` and writes at most `list.len()` bytes
        // to `list`, both of which outlive the call; the descriptor is borrowed.
        unsafe {
            libc::syscall(
                SYS_LISTXATTRAT,
                directory.as_raw_fd(),
                name.as_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
                list.as_mut_ptr(),
                list.len(),
            )
        }
    })?;
    match new {
        Some(size) => Ok(size),
        None => Ok(rustix::fs::llistxattr(old_path(directory, name)?, list)?),
    }
}

/// The value of an attribute of `name` in `directory`; `None` if there is none.
pub fn get_at(directory: BorrowedFd<'_>, name: &CStr, key: &CStr) -> io::Result<Option<Vec<u8>>> {
    let mut small = [0_u8; 256];
    let value = match get_into(directory, name, key, &mut small) {
        Ok(size) => small[..size].to_vec(),
        Err(error) if error.raw_os_error() == Some(libc::ERANGE) => {
            let mut large = vec![0; SIZE_MAX];
            let size = get_into(directory, name, key, &mut large)?;
            large.truncate(size);
            large
        }
        Err(error) => {
            let none = [libc::ENODATA, libc::EOPNOTSUPP];
            return match error.raw_os_error() {
                Some(code) if none.contains(&code) => Ok(None),
                _ => Err(error),
            };
        }
    };
    Ok(Some(value))
}

fn get_into(
    directory: BorrowedFd<'_>,
    name: &CStr,
    key: &CStr,
    value: &mut [u8],
) -> io::Result<usize> {
    let mut args = XattrArgs {
        value: value.as_mut_ptr().expose_provenance() as u64,
        size: u32::try_from(value.len()).unwrap_or(u32::MAX),
        flags: 0,
    };
    let new = new_call(|| {
        // SAFETY: `args` is `repr(C)`, laid out as `struct xattr_args`, and its exact size is
        // passed; it points to `value`, of which the kernel writes at most `args.size` bytes.
        unsafe {
            libc::syscall(
                SYS_GETXATTRAT,
                directory.as_raw_fd(),
                name.as_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
                key.as_ptr(),
                &raw mut args,
                size_of::<XattrArgs>(),
            )
        }
    })?;
    match new {
        Some(size) => Ok(size),
        None => Ok(rustix::fs::lgetxattr(
            old_path(directory, name)?,
            key,
            value,
        )?),
    }
}

/// Sets an attribute of `name` in `directory`.
pub fn set_at(directory: BorrowedFd<'_>, name: &CStr, key: &CStr, value: &[u8]) -> io::Result<()> {
    let size = u32::try_from(value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut args = XattrArgs {
        value: value.as_ptr().expose_provenance() as u64,
        size,
        flags: 0,
    };
    let new = new_call(|| {
        // SAFETY: as in `get_into`; here the kernel only reads `args.size` bytes of `value`.
        unsafe {
            libc::syscall(
                SYS_SETXATTRAT,
                directory.as_raw_fd(),
                name.as_ptr(),
                libc::AT_SYMLINK_NOFOLLOW,
                key.as_ptr(),
                &raw mut args,
                size_of::<XattrArgs>(),
            )
        }
    })?;
    if new.is_none() {
        let path = old_path(directory, name)?;
        rustix::fs::lsetxattr(path, key, value, XattrFlags::empty())?;
    }
    Ok(())
}

/// Removes an attribute of `name` in `directory`.
pub fn remove_at(directory: BorrowedFd<'_>, name: &CStr, key: &CStr) -> io::Result<()> {
    Ok(rustix::fs::lremovexattr(old_path(directory, name)?, key)?)
}

/// Makes a call of the new family; `None` if the kernel does not have it.
fn new_call(call: impl FnOnce() -> libc::c_long) -> io::Result<Option<usize>> {
    if IS_OLD_KERNEL.load(Ordering::Relaxed) {
        return Ok(None);
    }
    if let Ok(size) = usize::try_from(call()) {
        return Ok(Some(size));
    }
    let error = io::Error::last_os_error();
    // Old seccomp profiles answer EPERM to calls that they do not know; so may the file system,
    // and then the old way gives the same answer again.
    match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            IS_OLD_KERNEL.store(true, Ordering::Relaxed);
            Ok(None)
        }
        Some(libc::EPERM) => Ok(None),
        _ => Err(error),
    }
}

fn old_path(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<CString> {
    let mut path = format!("/proc/self/fd/{}/", directory.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn attributes_are_set_listed_and_read_by_both_families() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("f"), b"").unwrap();
        std::os::unix::fs::symlink("f", directory.path().join("l")).unwrap();
        let open = std::fs::File::open(directory.path()).unwrap();
        let directory = open.as_fd();
        let value = vec![7_u8; 300];
        if let Err(error) = set_at(directory, c"f", c"user.a", &value) {
            assert_eq!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP),
                "no xattrs here"
            );
            return;
        }
        for is_old in [false, true] {
            IS_OLD_KERNEL.fetch_or(is_old, Ordering::Relaxed);
            assert_eq!(list_at(directory, c"f").unwrap(), [b"user.a"]);
            assert_eq!(
                get_at(directory, c"f", c"user.a").unwrap().as_ref(),
                Some(&value)
            );
            assert_eq!(get_at(directory, c"f", c"user.b").unwrap(), None);
            // A link has none of its own, and is not followed.
            assert_eq!(list_at(directory, c"l").unwrap(), Vec::<Vec<u8>>::new());
            set_at(directory, c"f", c"user.a", &value).unwrap();
        }
        remove_at(directory, c"f", c"user.a").unwrap();
        assert_eq!(list_at(directory, c"f").unwrap(), Vec::<Vec<u8>>::new());
    }
}
