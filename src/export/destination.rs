//! Files that appear complete or not at all.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::ExportError;

/// Writes the file at `path` through `write`: into a temporary file beside it, which takes its
/// place when all is written. Devices and pipes (`/dev/stdout`, `/dev/null`) are written to as they
/// are. Missing directories above it are made.
pub fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 18, file);
        write(&mut out)?;
        return out.flush().map_err(failed);
    }
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    replace_file(path, write)
}

/// The same for a file that is known to be regular or missing, in a directory that exists.
pub(super) fn replace_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write {
        path: path.to_owned(),
        source,
    };
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let file = tempfile::Builder::new()
        .prefix(".builder-")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(directory.unwrap_or(Path::new(".")))
        .map_err(failed)?;
    let mut out = BufWriter::with_capacity(1 << 18, file);
    write(&mut out)?;
    let file = out
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/out.tar");
        write_file(&path, |out| {
            out.write_all(b"old").unwrap();
            Ok(())
        })
        .unwrap();
        let result = write_file(&path, |out| {
            out.write_all(b"half").unwrap();
            Err(ExportError::Stream {
                source: io::ErrorKind::StorageFull.into(),
            })
        });
        assert!(result.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_device_stays_a_device() {
        write_file(Path::new("/dev/null"), |out| {
            out.write_all(b"x").unwrap();
            Ok(())
        })
        .unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
