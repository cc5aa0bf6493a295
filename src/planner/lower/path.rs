//! Paths of WORKDIR, destinations and mounts: joined and cleaned as text, before any file system
//! is known.

/// Joins `path` to `directory` (absolute) and cleans the result: absolute, without `.`, `..`,
/// doubled and trailing slashes.
pub(crate) fn join(directory: &str, path: &str) -> String {
    let all = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{directory}/{path}")
    };
    format!("/{}", clean(&all))
}

/// Cleans a path as seen from the root and drops the leading slash; empty for the root.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The last component.
pub(crate) fn base_name(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path)
}

/// Makes a path of a Windows image one with slashes and without drive letter.
pub(crate) fn from_windows(path: &str) -> String {
    let slashed = path.replace('\\', "/");
    match slashed.split_once(':') {
        Some((drive, rest)) if drive.len() == 1 => rest.to_owned(),
        _ => slashed,
    }
}

/// The form that a Windows image's config has: `C:\app`.
pub(crate) fn to_windows(path: &str) -> String {
    format!("C:{}", path.replace('/', "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_cleaned() {
        for (directory, path, joined) in [
            ("/", "a", "/a"),
            ("/app", "b/../c/", "/app/c"),
            ("/app", "/abs//x/.", "/abs/x"),
            ("/app", "../../..", "/"),
            ("/app", "", "/app"),
            ("/app", ".", "/app"),
        ] {
            assert_eq!(join(directory, path), joined, "{directory} {path}");
        }
    }

    #[test]
    fn windows_paths_lose_and_regain_their_drive() {
        assert_eq!(from_windows(r"C:\app\x"), "/app/x");
        assert_eq!(from_windows(r"app\x"), "app/x");
        assert_eq!(to_windows("/app/x"), r"C:\app\x");
    }
}
