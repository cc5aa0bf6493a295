//! What a caller means by a path.

use rustix::fs::{CWD, Mode, OFlags};

use crate::sys::supervise::{Call, descriptor};

/// A path of a caller from the top of its root, which is given, too; to be asked as the caller. `directory`: the
/// argument of the call that a relative path begins at, if it takes one.
pub(super) fn whole(
    call: &Call,
    directory: Option<usize>,
    path: &[u8],
) -> Option<(std::os::fd::OwnedFd, Vec<u8>)> {
    let process = format!("/proc/{}", call.thread);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root_link = format!("{process}/root");
    let root = rustix::fs::openat(CWD, &root_link, flags, Mode::empty()).ok()?;
    let mut whole = Vec::new();
    if !path.starts_with(b"/") {
        let base = match directory {
            None => format!("{process}/cwd"),
            Some(argument) => match descriptor(*call.args.get(argument)?) {
                libc::AT_FDCWD => format!("{process}/cwd"),
                number => format!("{process}/fd/{number}"),
            },
        };
        let base = rustix::fs::readlink(base, Vec::new()).ok()?.into_bytes();
        let top = rustix::fs::readlink(root_link, Vec::new())
            .ok()?
            .into_bytes();
        whole.extend_from_slice(below(&base, &top)?);
        whole.push(b'/');
    }
    whole.extend_from_slice(path);
    Some((root, whole))
}

/// A path as it is below another one, with the slash.
pub(super) fn below<'a>(path: &'a [u8], top: &[u8]) -> Option<&'a [u8]> {
    let top = top.strip_suffix(b"/").unwrap_or(top);
    let rest = path.strip_prefix(top)?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_below_a_root() {
        let told = |path: &str, top: &str| {
            let found = below(path.as_bytes(), top.as_bytes())?;
            Some(String::from_utf8(found.to_vec()).unwrap())
        };
        assert_eq!(told("/s/root/a/b", "/s/root").as_deref(), Some("/a/b"));
        assert_eq!(told("/s/root", "/s/root").as_deref(), Some(""));
        assert_eq!(told("/a", "/").as_deref(), Some("/a"));
        assert_eq!(told("/s/rooted", "/s/root"), None);
        assert_eq!(told("/else", "/s/root"), None);
    }
}
