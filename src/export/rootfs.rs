//! Outputs that are the files of an image: a directory or a tar.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::archive::end_of_archive;
use super::error::ExportError;
use super::set::ExportSet;
use super::source::RootfsSource;

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
