//! File systems as maps: of a directory, and of the layers of an OCI layout.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// An entry as far as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// `file`, `dir`, `link`, `fifo`, `char` or `block`.
    kind: &'static str,
    mode: u32,
    owner: (u64, u64),
    /// Content or target, shortened.
    value: String,
    xattrs: BTreeMap<String, String>,
    /// Seconds; only old times are compared, the others are those of the build.
    mtime: i64,
    /// Equal for the names of one file.
    inode: u64,
}

/// Path without leading slash → entry. The root itself has no name and is left out.
pub(crate) type Tree = BTreeMap<String, Node>;

/// The latest time that was set on purpose.
const OLD: i64 = 1_000_000_000;

impl Node {
    fn text(&self) -> String {
        let Self {
            kind,
            mode,
            owner: (uid, gid),
            value,
            ..
        } = self;
        let text = match *kind {
            "link" => format!("link {uid}:{gid} -> {value}"),
            _ => format!("{kind} {mode:o} {uid}:{gid} {value}"),
        };
        let mut words = vec![text.trim_end().to_owned()];
        let xattrs = self.xattrs.iter();
        words.extend(xattrs.map(|(name, value)| format!("{name}={value}")));
        if self.mtime > 0 && self.mtime < OLD && *kind != "dir" {
            words.push(format!("@{}", self.mtime));
        }
        words.join(" ")
    }
}

/// What is compared: each entry in words, hard links by their first name.
pub(crate) fn texts(tree: &Tree) -> BTreeMap<String, String> {
    let mut first: BTreeMap<u64, &str> = BTreeMap::new();
    let mut texts = BTreeMap::new();
    for (path, node) in tree {
        let text = match first.get(&node.inode) {
            Some(name) if node.kind != "dir" => format!("hard {name}"),
            _ => node.text(),
        };
        first.entry(node.inode).or_insert(path);
        texts.insert(path.clone(), text);
    }
    texts
}

fn shorten(content: &[u8]) -> String {
    match std::str::from_utf8(content) {
        Ok(text) if content.len() <= 200 => text.escape_debug().to_string(),
        _ => {
            let digest = Sha256::digest(content);
            format!(
                "{} bytes {:02x}{:02x}{:02x}",
                content.len(),
                digest[0],
                digest[1],
                digest[2]
            )
        }
    }
}

/// The file system below a directory.
pub(crate) fn of_directory(root: &Path) -> Tree {
    let mut tree = Tree::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let path = entry.path();
        let metadata = path.symlink_metadata().unwrap();
        let kind = metadata.file_type();
        let (kind, value) = if kind.is_dir() {
            ("dir", String::new())
        } else if kind.is_symlink() {
            ("link", fs::read_link(path).unwrap().display().to_string())
        } else if kind.is_fifo() {
            ("fifo", String::new())
        } else if kind.is_char_device() {
            ("char", metadata.rdev().to_string())
        } else if kind.is_block_device() {
            ("block", metadata.rdev().to_string())
        } else {
            ("file", shorten(&fs::read(path).unwrap()))
        };
        let node = Node {
            kind,
            mode: metadata.mode() & 0o7777,
            owner: (u64::from(metadata.uid()), u64::from(metadata.gid())),
            value,
            xattrs: xattrs(path),
            mtime: metadata.mtime(),
            inode: metadata.ino(),
        };
        let name = path.strip_prefix(root).unwrap();
        tree.insert(
            String::from_utf8_lossy(name.as_os_str().as_bytes()).into_owned(),
            node,
        );
    }
    tree
}

fn xattrs(path: &Path) -> BTreeMap<String, String> {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names).unwrap();
    let names = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let name = String::from_utf8_lossy(name).into_owned();
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name.as_str(), &mut value).unwrap();
            (name, builder::digest::hex(&value[..length]))
        })
        .collect()
}

/// An OCI layout with one image whose layers are not compressed.
#[derive(Debug)]
pub(crate) struct Image {
    /// The digest of the manifest.
    pub(crate) digest: String,
    /// The whole config.
    pub(crate) config: Value,
    /// What its layers make.
    pub(crate) tree: Tree,
}

/// Reads an OCI layout.
pub(crate) fn of_layout(layout: &Path) -> Image {
    let blobs = layout.join("blobs/sha256");
    let index = json(&fs::read(layout.join("index.json")).unwrap());
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    let manifest = json(&blob(&blobs, digest));
    of_manifest(&manifest, &blobs, digest)
}

/// Reads what skopeo's `dir:` writes, where the config is the very one of the image.
pub(crate) fn of_skopeo(directory: &Path) -> Image {
    let manifest = json(&fs::read(directory.join("manifest.json")).unwrap());
    of_manifest(&manifest, directory, "")
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn blob(blobs: &Path, digest: &str) -> Vec<u8> {
    fs::read(blobs.join(digest.strip_prefix("sha256:").unwrap())).unwrap()
}

fn of_manifest(manifest: &Value, blobs: &Path, digest: &str) -> Image {
    let blob = |descriptor: &Value| blob(blobs, descriptor["digest"].as_str().unwrap());
    let mut tree = Tree::new();
    let mut inodes = 0;
    for layer in manifest["layers"].as_array().unwrap() {
        apply(&blob(layer), &mut tree, &mut inodes);
    }
    Image {
        digest: digest.to_owned(),
        config: json(&blob(&manifest["config"])),
        tree,
    }
}

/// Removes a path and what is below it.
fn remove(tree: &mut Tree, path: &str, itself: bool) {
    let below = format!("{path}/");
    tree.retain(|name, _| !(name.starts_with(&below) || (itself && name == path)));
}

/// Applies a layer as the OCI image specification says.
fn apply(blob: &[u8], tree: &mut Tree, inodes: &mut u64) {
    let mut archive = tar::Archive::new(blob);
    let mut entries = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == ".wh..wh..opq" {
            remove(tree, parent, false);
            continue;
        }
        if let Some(name) = name.strip_prefix(".wh.") {
            let hidden = if parent.is_empty() {
                name.to_owned()
            } else {
                format!("{parent}/{name}")
            };
            remove(tree, &hidden, true);
            continue;
        }
        *inodes += 1;
        let node = node(&mut entry, *inodes);
        entries.push((path, node));
    }
    // Whiteouts hide what is below, never what the layer itself holds.
    for (path, node) in entries {
        if path.is_empty() {
            continue;
        }
        match node {
            Ok(node) => {
                if node.kind != "dir" {
                    remove(tree, &path, true);
                }
                tree.insert(path, node);
            }
            Err(target) => {
                let node = tree
                    .get(&target)
                    .unwrap_or_else(|| panic!("{path} links {target}"));
                let node = node.clone();
                remove(tree, &path, true);
                tree.insert(path, node);
            }
        }
    }
}

/// A node, or the target of a hard link.
fn node(entry: &mut tar::Entry<'_, &[u8]>, inode: u64) -> Result<Node, String> {
    use tar::EntryType;
    let header = entry.header();
    let target = |entry: &tar::Entry<'_, &[u8]>| {
        String::from_utf8_lossy(&entry.link_name_bytes().unwrap()).into_owned()
    };
    let device = |header: &tar::Header| {
        let number = |number: Option<u32>| u64::from(number.unwrap_or(0));
        let major = number(header.device_major().unwrap());
        let minor = number(header.device_minor().unwrap());
        libc::makedev(major.try_into().unwrap(), minor.try_into().unwrap()).to_string()
    };
    let (kind, value) = match header.entry_type() {
        EntryType::Directory => ("dir", String::new()),
        EntryType::Symlink => ("link", target(entry)),
        EntryType::Link => return Err(target(entry).trim_start_matches("./").to_owned()),
        EntryType::Fifo => ("fifo", String::new()),
        EntryType::Char => ("char", device(header)),
        EntryType::Block => ("block", device(header)),
        EntryType::Regular => ("file", String::new()),
        other => panic!("unexpected entry {other:?}"),
    };
    let mut node = Node {
        kind,
        mode: header.mode().unwrap() & 0o7777,
        owner: (header.uid().unwrap(), header.gid().unwrap()),
        value,
        xattrs: BTreeMap::new(),
        mtime: i64::try_from(header.mtime().unwrap()).unwrap(),
        inode,
    };
    let extensions = entry.pax_extensions().unwrap().into_iter().flatten();
    for extension in extensions {
        let extension = extension.unwrap();
        let key = extension.key().unwrap();
        if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
            node.xattrs.insert(
                name.to_owned(),
                builder::digest::hex(extension.value_bytes()),
            );
        }
    }
    if kind == "file" {
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        node.value = shorten(&content);
    }
    Ok(node)
}
