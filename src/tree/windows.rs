//! Layers of Windows images: the files are below `Files`, beside the registry's `Hives`, and tell
//! their attributes and their security descriptors by records of their own.
//!
//! The index of such a layer says what its tar says. Where paths mean places in the image, the
//! layer is [unwrapped](unwrap_windows); what is made for a Windows image is
//! [wrapped](wrap_windows) before it is written. Both as BuildKit has it (`util/winlayers`), except
//! that targets of symbolic links are left as they are: Windows itself does not move them.

use std::collections::BTreeMap;

use super::{Entry, Kind, Tree, TreePath};

/// Where the files of the image are.
const FILES: &str = "Files";

/// Where the changes of the registry are.
const HIVES: &str = "Hives";

/// The record that says what Windows knows of an entry: 16 for a directory, 32 for a file.
pub const WINDOWS_ATTRIBUTES: &[u8] = b"MSWINDOWS.fileattr";

/// The record with the owner and the rights.
const DESCRIPTOR: &[u8] = b"MSWINDOWS.rawsd";

/// Administrators and the system may do everything, users may read and run, in directories also
/// make things: `O:BAG:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;FA;;;BA)(A;OICIIO;GA;;;CO)
/// (A;OICI;0x1200a9;;;BU)(A;CI;LC;;;BU)(A;CI;DC;;;BU)`.
const DIRECTORY_DESCRIPTOR: &str = "AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgCoAAcAAAAAAxgA/wEfAAECAAAAAAAFIAAAACACAAAAAxQA/wEfAAEBAAAAAAAFEgAAAAAAGAD/AR8AAQIAAAAAAAUgAAAAIAIAAAALFAAAAAAQAQEAAAAAAAMAAAAAAAMYAKkAEgABAgAAAAAABSAAAAAhAgAAAAIYAAQAAAABAgAAAAAABSAAAAAhAgAAAAIYAAIAAAABAgAAAAAABSAAAAAhAgAA";

/// The same for files: `O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x1200a9;;;BU)`.
const FILE_DESCRIPTOR: &str = "AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgBMAAMAAAAAABgA/wEfAAECAAAAAAAFIAAAACACAAAAABQA/wEfAAEBAAAAAAAFEgAAAAAAGACpABIAAQIAAAAAAAUgAAAAIQIAAA==";

/// Whether an attribute of an entry is a record of Windows and no extended attribute.
pub fn is_windows_record(name: &[u8]) -> bool {
    name == WINDOWS_ATTRIBUTES || name == DESCRIPTOR
}

/// What a layer of a Windows image has of files, at their places in the image.
pub(super) fn unwrap_windows(tree: &Tree) -> Tree {
    let files = TreePath::clean(FILES);
    let inside = |path: &TreePath| path.below(&files);
    let unwrap = |entry: &Entry| {
        let path = inside(&entry.path).filter(|path| !path.is_root())?;
        let mut entry = entry.clone();
        entry.path = path;
        match &mut entry.kind {
            Kind::Hardlink { target } => *target = inside(target).unwrap_or_default(),
            // So BuildKit writes them.
            Kind::Symlink { target } => {
                if let Some(rest) = target.strip_prefix(b"Files/") {
                    *target = rest.to_vec();
                }
            }
            _ => {}
        }
        Some(entry)
    };
    let entries = tree.entries().iter().filter_map(unwrap).collect();
    Tree::new(entries, BTreeMap::new())
}

/// Where an unwrapped path is in its layer.
pub(super) fn stored(path: &TreePath) -> TreePath {
    TreePath::clean(FILES).join(path)
}

/// Entries at their places in the image, in tree order, as the layer of a Windows image that has
/// them, in tree order: `Files`, what is below it, `Hives`.
pub fn wrap_windows(entries: Vec<Entry>, mtime: i64) -> Vec<Entry> {
    let frame = |name: &str| {
        let mut entry = Entry::directory(TreePath::clean(name), mtime);
        entry.xattrs = attributes(&entry.kind);
        entry
    };
    let wrap = |mut entry: Entry| {
        let descriptor = match &mut entry.kind {
            Kind::Directory { .. } => Some(DIRECTORY_DESCRIPTOR),
            Kind::File { .. } => Some(FILE_DESCRIPTOR),
            Kind::Hardlink { target } => {
                *target = stored(target);
                None
            }
            _ => None,
        };
        entry.xattrs.extend(attributes(&entry.kind));
        let record = descriptor.map(|text| (DESCRIPTOR.to_vec(), text.as_bytes().to_vec()));
        entry.xattrs.extend(record);
        entry.path = stored(&entry.path);
        entry
    };
    std::iter::once(frame(FILES))
        .chain(entries.into_iter().map(wrap))
        .chain(std::iter::once(frame(HIVES)))
        .collect()
}

fn attributes(kind: &Kind) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let value = match kind {
        Kind::Directory { .. } => b"16",
        Kind::File { .. } => b"32",
        _ => return BTreeMap::new(),
    };
    BTreeMap::from([(WINDOWS_ATTRIBUTES.to_vec(), value.to_vec())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry {
            kind,
            ..Entry::directory(TreePath::clean(path), 5)
        }
    }

    #[test]
    fn what_is_wrapped_is_unwrapped_to_the_same() {
        let entries = vec![
            Entry::directory(TreePath::clean("app"), 5),
            entry("app/fifo", Kind::Fifo),
            entry(
                "app/link",
                Kind::Hardlink {
                    target: TreePath::clean("app/fifo"),
                },
            ),
            entry(
                "app/soft",
                Kind::Symlink {
                    target: b"fifo".to_vec(),
                },
            ),
            Entry::whiteout(TreePath::clean("gone")),
        ];
        let wrapped = wrap_windows(entries.clone(), 7);
        let paths: Vec<String> = wrapped.iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(paths[..2], ["/Files", "/Files/app"]);
        assert_eq!(paths[paths.len() - 1], "/Hives");
        assert!(paths.is_sorted());
        let unwrapped = unwrap_windows(&Tree::new(wrapped, BTreeMap::new()));
        let plain = unwrapped.entries().iter().cloned().map(|mut entry| {
            entry.xattrs.retain(|name, _| !is_windows_record(name));
            entry
        });
        assert_eq!(plain.collect::<Vec<_>>(), entries);
    }

    #[test]
    fn what_is_not_below_files_is_not_in_the_image() {
        let layer = Tree::new(
            vec![
                entry(
                    "Files/soft",
                    Kind::Symlink {
                        target: b"Files/x".to_vec(),
                    },
                ),
                entry("Hives/System_Delta", Kind::Fifo),
                entry("UtilityVM/Files/x", Kind::Fifo),
                entry("top", Kind::Fifo),
            ],
            BTreeMap::new(),
        );
        let seen = unwrap_windows(&layer);
        let soft = entry(
            "soft",
            Kind::Symlink {
                target: b"x".to_vec(),
            },
        );
        assert_eq!(seen.entries(), [soft]);
    }
}
