//! The 512 bytes of a header, decoded as Go's `archive/tar` does.

use std::collections::BTreeMap;

use super::{BLOCK, TarError};

/// What a member of an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file.
    File,
    /// Another name of an earlier member.
    Hardlink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

/// One member, all headers that belong to it folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name as written.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Where a link points to, as written.
    pub link: Vec<u8>,
    /// Bytes of content that can be read, holes included.
    pub size: u64,
    /// Permission bits (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in whole seconds since 1970, rounded down.
    pub mtime: i64,
    /// Device number.
    pub major: u32,
    /// Device number.
    pub minor: u32,
    /// Extended attributes by full name.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Where its header starts in the archive.
    pub offset: u64,
}

/// A header block with access to its fields.
pub(super) struct Block<'a> {
    pub(super) bytes: &'a [u8; BLOCK],
    pub(super) offset: u64,
}

/// Which dialect a header is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl Block<'_> {
    pub(super) fn is_zero(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0)
    }

    pub(super) fn typeflag(&self) -> u8 {
        self.bytes[156]
    }

    /// Checks the sum, as unsigned bytes or as the signed ones of old Sun tars.
    pub(super) fn verify(&self) -> Result<(), TarError> {
        let offset = self.offset;
        let stored = octal(&self.bytes[148..156]).ok_or(TarError::Checksum { offset })?;
        let sum = |value: fn(u8) -> i64| -> i64 {
            let bytes = self.bytes.iter().enumerate();
            bytes
                .map(|(at, byte)| {
                    value(if (148..156).contains(&at) {
                        b' '
                    } else {
                        *byte
                    })
                })
                .sum()
        };
        let signed = |byte: u8| i64::from(byte.cast_signed());
        if stored == sum(i64::from) || stored == sum(signed) {
            Ok(())
        } else {
            Err(TarError::Checksum { offset })
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match &self.bytes[257..265] {
            b"ustar\x0000" if &self.bytes[508..512] == b"tar\0" => Dialect::Star,
            b"ustar\x0000" => Dialect::Ustar,
            b"ustar  \0" => Dialect::Gnu,
            _ => Dialect::V7,
        }
    }

    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.bytes[..100]);
        let prefix = match self.dialect() {
            Dialect::Ustar => text(&self.bytes[345..500]),
            Dialect::Star => text(&self.bytes[345..476]),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.bytes[157..257]).to_vec()
    }

    pub(super) fn size(&self) -> Result<u64, TarError> {
        let size = self.number(124..136, "size")?;
        u64::try_from(size).map_err(|_| self.bad("size"))
    }

    pub(super) fn mode(&self) -> Result<u32, TarError> {
        let mode = self.number(100..108, "mode")?;
        // Type bits above the permissions are written by some tars and mean nothing.
        u32::try_from(mode & 0o7777).map_err(|_| self.bad("mode"))
    }

    pub(super) fn mtime(&self) -> Result<i64, TarError> {
        self.number(136..148, "mtime")
    }

    pub(super) fn uid(&self) -> Result<i64, TarError> {
        self.number(108..116, "uid")
    }

    pub(super) fn gid(&self) -> Result<i64, TarError> {
        self.number(116..124, "gid")
    }

    pub(super) fn device(&self) -> Result<(u32, u32), TarError> {
        if self.dialect() == Dialect::V7 {
            return Ok((0, 0));
        }
        let number = |range: std::ops::Range<usize>| {
            let number = self.number(range, "device number")?;
            u32::try_from(number).map_err(|_| self.bad("device number"))
        };
        Ok((number(329..337)?, number(337..345)?))
    }

    pub(super) fn number(
        &self,
        range: std::ops::Range<usize>,
        field: &'static str,
    ) -> Result<i64, TarError> {
        numeric(&self.bytes[range]).ok_or(self.bad(field))
    }

    pub(super) fn bad(&self, field: &'static str) -> TarError {
        let offset = self.offset;
        TarError::Field { offset, field }
    }
}

/// A field up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits, or base 256 in two's complement if the top bit is set.
pub(super) fn numeric(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 == 0 {
        return octal(field);
    }
    let negative = first & 0x40 != 0;
    let mut number = if negative { -1_i128 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        let mut byte = *byte;
        if at == 0 {
            byte = if negative { byte | 0x80 } else { byte & 0x7f };
        }
        number = number << 8 | i128::from(byte);
        // Twelve bytes fit; only the range matters.
    }
    i64::try_from(number).ok()
}

/// Octal digits between blanks and NULs; an empty field is zero.
pub(super) fn octal(field: &[u8]) -> Option<i64> {
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !blank(byte));
    let Some(start) = start else { return Some(0) };
    let end = field.iter().rposition(|byte| !blank(byte))?;
    let digits = text(&field[start..=end]);
    let mut number = 0_i64;
    for digit in digits {
        if !(b'0'..=b'7').contains(digit) {
            return None;
        }
        number = number.checked_mul(8)? + i64::from(digit - b'0');
    }
    Some(number)
}
