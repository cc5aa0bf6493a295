//! Paths of WORKDIR, destinations and mounts: joined and cleaned as text, before any file system
//! is known.

/// Joins `path` to `directory` (absolute) and cleans the result: absolute, without `.`, `..`,
/// doubled and trailing slashes.
pub(crate) fn join(directory: &str, path: &str) -> String {
    let mut joined = String::with_capacity(directory.len() + path.len() + 2);
    if !path.starts_with('/') {
        descend(&mut joined, directory);
    }
    descend(&mut joined, path);
    if joined.is_empty() {
        joined.push('/');
    }
    joined
}

/// Cleans a path as seen from the root and drops the leading slash; empty for the root.
pub(crate) fn clean(path: &str) -> String {
    let mut cleaned = join("/", path);
    cleaned.remove(0);
    cleaned
}

/// Walks from a clean directory, whose slash at the end is left out, along a path.
fn descend(directory: &mut String, path: &str) {
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => directory.truncate(directory.rfind('/').unwrap_or(0)),
            name => {
                directory.push('/');
                directory.push_str(name);
            }
        }
    }
}

/// The last component.
pub(crate) fn base_name(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(path)
}

/// Makes a path of a Windows image one with slashes and without drive letter. What has no place
/// below the root is refused in BuildKit's words.
pub(crate) fn from_windows(path: &str) -> Result<String, String> {
    let slashed = path.replace('\\', "/");
    if slashed.len() == 2 && slashed.ends_with(':') {
        return Err(format!("No relative path specified in {path:?}"));
    }
    if slashed.starts_with("//") {
        return Err("UNC paths are not supported".to_owned());
    }
    match slashed.split_once(':') {
        Some((drive, rest)) if drive.eq_ignore_ascii_case("c") => Ok(rest.to_owned()),
        Some(_) => Err("The specified path is not on the system drive (C:)".to_owned()),
        None => Ok(slashed),
    }
}

/// The form that the config of a Windows image has: `\app`.
pub(crate) fn to_windows(path: &str) -> String {
    path.replace('/', "\\")
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
    fn windows_paths_are_on_the_system_drive() {
        for (path, expected) in [
            (r"C:\app\x", Ok("/app/x")),
            (r"c:/app", Ok("/app")),
            (r"app\x", Ok("app/x")),
            (r"C:app", Ok("app")),
            (r"C:", Err(r#"No relative path specified in "C:""#)),
            (r"\\server\share", Err("UNC paths are not supported")),
            (
                r"D:\app",
                Err("The specified path is not on the system drive (C:)"),
            ),
        ] {
            let found = from_windows(path);
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        }
        assert_eq!(to_windows("/app/x"), r"\app\x");
    }
}
