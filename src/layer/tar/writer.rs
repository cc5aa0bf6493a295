//! Headers as layers have them: ustar where it can say it, PAX where it cannot; whole seconds, no
//! names of users, no access or change times, records in order of their keys.

use std::collections::BTreeMap;

use super::{BLOCK, pax};
use crate::tree::{Entry, Kind, WINDOWS_ATTRIBUTES, is_windows_record};

/// The largest numbers of the octal fields of eight and of twelve bytes.
const OCTAL_7_MAX: u64 = 0o777_7777;
const OCTAL_11_MAX: u64 = 0o777_7777_7777;

/// What a header is written for: an entry under a name, at a time.
#[derive(Clone, Copy, Debug)]
pub struct TarEntry<'a, C> {
    /// The entry.
    pub entry: &'a Entry<C>,
    /// Its modification time, already clamped.
    pub mtime: i64,
}

/// Appends the header blocks of an entry, and after the header of an opaque directory the marker
/// that makes it so. `false` if tar cannot say it: a device number beyond 21 bits.
pub fn append_header<C>(out: &mut Vec<u8>, tar_entry: TarEntry<'_, C>) -> bool {
    let TarEntry { entry, mtime } = tar_entry;
    let path = entry.path.as_bytes();
    let mut fields = Fields {
        path: path.to_vec(),
        typeflag: b'0',
        link: Vec::new(),
        size: 0,
        mode: entry.mode,
        ids: (entry.uid, entry.gid),
        mtime,
        device: None,
        windows: false,
    };
    let mut opaque_marker = None;
    match &entry.kind {
        Kind::Directory { opaque } => {
            if *opaque {
                opaque_marker = Some(entry.path.join_name(b".wh..wh..opq"));
            }
            fields.typeflag = b'5';
            if path.is_empty() {
                fields.path.push(b'.');
            }
            fields.path.push(b'/');
        }
        Kind::File { size, .. } => fields.size = *size,
        Kind::Symlink { target } => {
            fields.typeflag = b'2';
            fields.link.clone_from(target);
        }
        Kind::Hardlink { target } => {
            fields.typeflag = b'1';
            fields.link = target.as_bytes().to_vec();
        }
        Kind::CharDevice { major, minor } => {
            fields.typeflag = b'3';
            fields.device = Some((*major, *minor));
        }
        Kind::BlockDevice { major, minor } => {
            fields.typeflag = b'4';
            fields.device = Some((*major, *minor));
        }
        Kind::Fifo => fields.typeflag = b'6',
        Kind::Whiteout => {
            let name = [b".wh.", entry.path.name()].concat();
            let parent = entry.path.parent().unwrap_or_default();
            append_marker(out, parent.join_name(&name).as_bytes());
            return true;
        }
    }
    if entry.xattrs.contains_key(WINDOWS_ATTRIBUTES) {
        fields.windows = true;
        // As BuildKit writes them: with the bits of the kind.
        fields.mode |= if fields.typeflag == b'5' {
            0o40000
        } else {
            0o100_000
        };
    }
    let fits = fields.append(out, &entry.xattrs);
    if let Some(marker) = opaque_marker {
        append_marker(out, marker.as_bytes());
    }
    fits
}

/// The two zero blocks that end an archive.
pub fn end_of_archive() -> [u8; 2 * BLOCK] {
    [0; 2 * BLOCK]
}

/// The zeros that follow `size` bytes of content.
pub fn padding(size: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let count = size.wrapping_neg() % BLOCK as u64;
    &ZEROS[..usize::try_from(count).unwrap_or(0)]
}

/// An empty file that says something of lower layers. Nothing about it but its name matters, so
/// that its bytes do not depend on any epoch.
fn append_marker(out: &mut Vec<u8>, path: &[u8]) {
    let marker = Fields {
        path: path.to_vec(),
        typeflag: b'0',
        link: Vec::new(),
        size: 0,
        mode: 0,
        ids: (0, 0),
        mtime: 0,
        device: None,
        windows: false,
    };
    marker.append(out, &BTreeMap::new());
}

struct Fields {
    path: Vec<u8>,
    typeflag: u8,
    link: Vec<u8>,
    size: u64,
    mode: u32,
    ids: (u32, u32),
    mtime: i64,
    device: Option<(u32, u32)>,
    /// Whether it is for a layer of a Windows image.
    windows: bool,
}

impl Fields {
    fn append(self, out: &mut Vec<u8>, xattrs: &BTreeMap<Vec<u8>, Vec<u8>>) -> bool {
        let mut records: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut record = |key: &str, value: Vec<u8>| {
            records.insert(key.as_bytes().to_vec(), value);
        };
        let mut text = |key: &str, value: &[u8]| {
            if value.len() > 100 || !value.is_ascii() {
                record(key, value.to_vec());
            }
        };
        text("path", &self.path);
        text("linkpath", &self.link);
        let (uid, gid) = (u64::from(self.ids.0), u64::from(self.ids.1));
        let mtime = u64::try_from(self.mtime).ok();
        if mtime.is_none_or(|mtime| mtime > OCTAL_11_MAX) {
            record("mtime", self.mtime.to_string().into_bytes());
        }
        for (key, value, max) in [
            ("size", self.size, OCTAL_11_MAX),
            ("uid", uid, OCTAL_7_MAX),
            ("gid", gid, OCTAL_7_MAX),
        ] {
            if value > max {
                record(key, value.to_string().into_bytes());
            }
        }
        for (name, value) in xattrs {
            let key = if is_windows_record(name) {
                name.clone()
            } else {
                [b"SCHILY.xattr.", name.as_slice()].concat()
            };
            records.insert(key, value.clone());
        }
        if self.windows {
            let created = format!("{}.0", self.mtime).into_bytes();
            records.insert(b"LIBARCHIVE.creationtime".to_vec(), created);
        }
        if !records.is_empty() {
            append_records(out, &records);
        }
        let mut header = ::tar::Header::new_ustar();
        let raw = header.as_mut_bytes();
        put_text(&mut raw[..100], &self.path);
        put_text(&mut raw[157..257], &self.link);
        raw[156] = self.typeflag;
        header.set_mode(self.mode);
        header.set_uid(uid.min(OCTAL_7_MAX));
        header.set_gid(gid.min(OCTAL_7_MAX));
        header.set_size(if self.size > OCTAL_11_MAX {
            0
        } else {
            self.size
        });
        header.set_mtime(mtime.filter(|mtime| *mtime <= OCTAL_11_MAX).unwrap_or(0));
        let fits = self.device.is_none_or(|(major, minor)| {
            let fits = |number: u32| u64::from(number) <= OCTAL_7_MAX;
            fits(major)
                && fits(minor)
                && header.set_device_major(major).is_ok()
                && header.set_device_minor(minor).is_ok()
        });
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        fits
    }
}

/// Appends an extended header with its records.
fn append_records(out: &mut Vec<u8>, records: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let mut body = Vec::new();
    for (key, value) in records {
        pax::push(&mut body, key, value);
    }
    let mut header = ::tar::Header::new_ustar();
    let raw = header.as_mut_bytes();
    put_text(&mut raw[..100], b"././@PaxHeader");
    raw[156] = b'x';
    header.set_mode(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(body.len() as u64);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(&body);
    out.extend_from_slice(padding(body.len() as u64));
}

/// Fills a field with text; what does not fit or is not ASCII is said by a record.
fn put_text(field: &mut [u8], text: &[u8]) {
    for (place, byte) in field.iter_mut().zip(text) {
        *place = if byte.is_ascii() { *byte } else { b'_' };
    }
}
