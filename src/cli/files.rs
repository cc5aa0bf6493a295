//! Files of results: complete or absent, never half.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::CliError;

/// Removes what an earlier build left, so that a failing build leaves nothing. Devices and pipes
/// stay.
pub(super) fn clear(path: &Path) {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        // A file that cannot be removed cannot be replaced either, and that is reported then.
        let _ = fs::remove_file(path);
    }
}

/// Writes a file that others see only when it is complete. A path that leads to something else
/// than a file (`/dev/stdout`, a pipe) is written as it is.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let error = |source| CliError::Write {
        path: path.to_owned(),
        source,
    };
    // A symbolic link stays; its target is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file()) {
        return fs::write(&target, bytes).map_err(error);
    }
    let directory = target.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".builder-")
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(error)?;
    file.write_all(bytes).map_err(error)?;
    file.persist(&target)
        .map_err(|refused| error(refused.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_and_links_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        write(&file, b"long text").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        clear(&file);
        assert!(!file.exists());
        clear(&file);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = write(Path::new("/nowhere/at/all"), b"").unwrap_err();
        assert_eq!(error.to_string(), "failed to write `/nowhere/at/all`");
        write(Path::new("/dev/null"), b"x").unwrap();
    }
}
