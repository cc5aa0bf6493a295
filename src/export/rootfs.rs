//! Outputs that are the files of an image: a directory or a tar.

use std::ffi::{CStr, OsStr};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::archive::end_of_archive;
use super::error::ExportError;
use super::set::ExportSet;
use super::source::RootfsSource;
use crate::rooted::{DirEntry, read_directory, remove_all_at};

/// Writes the files of all images as one tar; with `split` each below `os_arch/`.
pub fn write_rootfs_tar(
    set: &ExportSet,
    split: bool,
    rootfs: &dyn RootfsSource,
    out: &mut dyn Write,
) -> Result<(), ExportError> {
    for (number, name) in directories(set, split) {
        let prefix = name.map(|name| format!("{name}/")).unwrap_or_default();
        rootfs
            .tar(number, &prefix, out)
            .map_err(|source| ExportError::Rootfs { source })?;
    }
    end_of_archive(out).map_err(|source| ExportError::Stream { source })
}

/// Writes the files of all images into a directory, beside what is there; with `split` each below
/// `os_arch/`.
pub fn write_rootfs_directory(
    set: &ExportSet,
    split: bool,
    rootfs: &dyn RootfsSource,
    directory: &Path,
) -> Result<(), ExportError> {
    for (number, name) in directories(set, split) {
        let target = directory.join(name.unwrap_or_default());
        fs::create_dir_all(&target).map_err(|source| ExportError::Write {
            path: target.clone(),
            source,
        })?;
        rootfs
            .extract(number, &target)
            .map_err(|source| ExportError::Rootfs { source })?;
    }
    Ok(())
}

/// The same in place of what is there: whatever the result does not have goes, once the result is
/// complete. Links are removed, never followed.
pub fn replace_rootfs_directory(
    set: &ExportSet,
    split: bool,
    rootfs: &dyn RootfsSource,
    directory: &Path,
) -> Result<(), ExportError> {
    let failed = |source| ExportError::Write {
        path: directory.to_owned(),
        source,
    };
    fs::create_dir_all(directory).map_err(failed)?;
    let draft = tempfile::Builder::new()
        .prefix(".builder-")
        .tempdir_in(directory)
        .map_err(failed)?;
    write_rootfs_directory(set, split, rootfs, draft.path())?;
    let replaced = open(CWD, draft.path()).and_then(|from| {
        let name = draft.path().file_name().unwrap_or_default();
        replace(&from, &open(CWD, directory)?, Some(name))
    });
    replaced.map_err(failed)
}

fn open<P: rustix::path::Arg>(parent: impl AsFd, path: P) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, path, flags, Mode::empty())?)
}

/// What a name in a directory is; a link is a link.
fn kind(parent: &OwnedFd, name: &CStr) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(FileType::from_raw_mode(status.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes `to` have what `from` has and nothing else but `kept`; `from` is empty of files then.
fn replace(from: &OwnedFd, to: &OwnedFd, kept: Option<&OsStr>) -> io::Result<()> {
    for DirEntry { name, .. } in read_directory(to.as_fd())? {
        let is_kept = kept.is_some_and(|kept| kept.as_bytes() == name.to_bytes());
        let both = [kind(from, &name)?, kind(to, &name)?];
        if !is_kept && both != [Some(FileType::Directory); 2] {
            remove_all_at(to.as_fd(), &name)?;
        }
    }
    for DirEntry { name, .. } in read_directory(from.as_fd())? {
        if kind(to, &name)?.is_none() {
            rustix::fs::renameat(from, &name, to, &name)?;
            continue;
        }
        let status = rustix::fs::statat(from, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let (inner, target) = (open_inner(from, &name)?, open_inner(to, &name)?);
        replace(&inner, &target, None)?;
        rustix::fs::fchmod(&target, Mode::from_raw_mode(status.st_mode))?;
    }
    Ok(())
}

fn open_inner(parent: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// The images and the directory of each, if they are split. One name is used once: of two images
/// for one platform the second has a number.
fn directories(set: &ExportSet, split: bool) -> Vec<(usize, Option<String>)> {
    let mut used = std::collections::BTreeSet::new();
    let images = set.images.iter().enumerate();
    images
        .map(|(number, image)| {
            let mut name = image.platform.to_string().replace('/', "_");
            if !used.insert(name.clone()) {
                name = format!("{name}_{number}");
                used.insert(name.clone());
            }
            (number, split.then_some(name))
        })
        .collect()
}
