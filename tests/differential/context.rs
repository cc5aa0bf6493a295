//! Contexts and archives made from the cases.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use super::case::{Case, Item};

/// The time of archive members: older than any epoch, so that it must survive.
const MEMBER_TIME: u64 = 86_400;

/// Writes the context and the Dockerfile of a case.
pub(crate) fn write(case: &Case, directory: &Path) {
    for item in &case.items {
        put(item, directory);
    }
    // Last: modes of directories would be in the way.
    for item in case.items.iter().rev().filter(|item| item.mode.is_some()) {
        let permissions = fs::Permissions::from_mode(item.mode.unwrap());
        fs::set_permissions(directory.join(&item.path), permissions).unwrap();
    }
    let dockerfile = directory.join(&case.dockerfile_name);
    fs::create_dir_all(dockerfile.parent().unwrap()).unwrap();
    fs::write(dockerfile, &case.dockerfile).unwrap();
}

fn put(item: &Item, directory: &Path) {
    let path = directory.join(&item.path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match item.kind.as_str() {
        "file" => fs::write(&path, &item.value).unwrap(),
        "dir" => fs::create_dir_all(&path).unwrap(),
        "link" => symlink(&item.value, &path).unwrap(),
        "hard" => fs::hard_link(directory.join(&item.value), &path).unwrap(),
        "fifo" => {
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
        }
        "xattr" => {
            let (name, value) = item.value.split_once(' ').expect("`NAME VALUE`");
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(&path, name, value.as_bytes(), flags).unwrap();
        }
        "archive" => fs::write(&path, archive(item)).unwrap(),
        other => panic!("unknown entry `{other}`"),
    }
}

fn archive(item: &Item) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for member in &item.members {
        append(&mut tar, member);
    }
    let bytes = tar.into_inner().unwrap();
    let (packing, rest) = item.value.split_once('+').unwrap_or((&item.value, ""));
    let mut archive = match packing {
        "none" => bytes,
        program => compress(program, bytes),
    };
    match rest {
        "" => {}
        "zeros" => archive.extend([0; 1000]),
        "text" => archive.extend(b"no part of the archive\n".repeat(40)),
        other => panic!("unknown rest `{other}`"),
    }
    archive
}

fn append(tar: &mut tar::Builder<Vec<u8>>, member: &Item) {
    use tar::EntryType;
    let mut header = tar::Header::new_ustar();
    let (kind, content, target) = match member.kind.as_str() {
        "file" => (EntryType::Regular, member.value.as_bytes(), None),
        "cap" => (EntryType::Regular, b"program".as_slice(), None),
        "dir" => (EntryType::Directory, b"".as_slice(), None),
        "link" => (EntryType::Symlink, b"".as_slice(), Some(&member.value)),
        "hard" => (EntryType::Link, b"".as_slice(), Some(&member.value)),
        "fifo" => (EntryType::Fifo, b"".as_slice(), None),
        other => panic!("unknown member `{other}`"),
    };
    if member.kind == "cap" {
        let value = unhex(member.value.strip_prefix("hex:").expect("`hex:…`"));
        tar.append_pax_extensions([("SCHILY.xattr.security.capability", value.as_slice())])
            .unwrap();
    }
    header.set_entry_type(kind);
    // `set_path` refuses `..` and leading slashes, which are what some cases are about.
    let name = &mut header.as_old_mut().name;
    name[..member.path.len()].copy_from_slice(member.path.as_bytes());
    if let Some(target) = target {
        let name = &mut header.as_old_mut().linkname;
        name[..target.len()].copy_from_slice(target.as_bytes());
    }
    header.set_mode(member.mode.unwrap());
    header.set_uid(member.owner.0);
    header.set_gid(member.owner.1);
    header.set_mtime(MEMBER_TIME);
    header.set_size(u64::try_from(content.len()).unwrap());
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .map(|digit| digit.to_digit(16).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

fn compress(program: &str, bytes: Vec<u8>) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(["-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} ({error}): scripts/test installs it"));
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{program} failed");
    output.stdout
}
