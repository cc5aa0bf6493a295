//! Sparse files: where the data of a member belongs, the rest being zeros.

use std::collections::BTreeMap;

use super::header::octal;
use super::{BLOCK, pax};

/// One stretch of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Where it starts in the file.
    pub(super) offset: u64,
    /// Its bytes.
    pub(super) size: u64,
}

/// Which map a PAX header announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PaxSparse {
    /// Versions 0.0 and 0.1: in the header.
    InHeader(Vec<Stretch>),
    /// Version 1.0: in front of the data.
    InData,
}

/// Finds the sparse map that PAX records announce; `Err` if they are malformed.
pub(super) fn of_records(
    records: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<Option<PaxSparse>, Malformed> {
    let record = |key: &str| records.get(key.as_bytes()).map(Vec::as_slice);
    let version = (record("GNU.sparse.major"), record("GNU.sparse.minor"));
    match version {
        (Some(b"0"), Some(b"0" | b"1")) => {}
        (Some(b"1"), Some(b"0")) => return Ok(Some(PaxSparse::InData)),
        (Some(_), _) | (_, Some(_)) => return Err(Malformed),
        (None, None) if record("GNU.sparse.map").is_none() => return Ok(None),
        (None, None) => {}
    }
    let map = record("GNU.sparse.map").ok_or(Malformed)?;
    let count = record("GNU.sparse.numblocks").and_then(pax::decimal);
    let mut numbers = Vec::new();
    for number in map.split(|byte| *byte == b',').filter(|_| !map.is_empty()) {
        numbers.push(pax::decimal(number).ok_or(Malformed)?);
    }
    if count.is_none_or(|count| count.checked_mul(2) != Some(numbers.len() as u64)) {
        return Err(Malformed);
    }
    Ok(Some(PaxSparse::InHeader(pairs(&numbers))))
}

/// The name and the size of the file that PAX sparse records hold.
pub(super) fn real_size(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Option<u64>, Malformed> {
    let record = |key: &str| records.get(key.as_bytes());
    match record("GNU.sparse.realsize").or(record("GNU.sparse.size")) {
        Some(size) => pax::decimal(size).map(Some).ok_or(Malformed),
        None => Ok(None),
    }
}

/// A map cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

fn pairs(numbers: &[u64]) -> Vec<Stretch> {
    let pairs = numbers.chunks_exact(2);
    pairs
        .map(|pair| Stretch {
            offset: pair[0],
            size: pair[1],
        })
        .collect()
}

/// A map in front of the data, fed block by block: decimal numbers, one a line, the first one the
/// number of stretches.
#[derive(Debug, Default)]
pub(super) struct DataMap {
    digits: Vec<u8>,
    numbers: Vec<u64>,
}

impl DataMap {
    /// Takes a block; gives the map when it is complete.
    pub(super) fn feed(&mut self, block: &[u8; BLOCK]) -> Result<Option<Vec<Stretch>>, Malformed> {
        for byte in block {
            if *byte != b'\n' {
                if self.digits.len() > 20 {
                    return Err(Malformed);
                }
                self.digits.push(*byte);
                continue;
            }
            self.numbers
                .push(pax::decimal(&self.digits).ok_or(Malformed)?);
            self.digits.clear();
            let count = self.numbers[0].checked_mul(2).ok_or(Malformed)?;
            if self.numbers.len() as u64 - 1 == count {
                return Ok(Some(pairs(&self.numbers[1..])));
            }
        }
        Ok(None)
    }
}

/// The stretches of an old GNU sparse area: pairs of twelve-byte numbers until an empty one.
pub(super) fn gnu_area(area: &[u8]) -> Result<Vec<Stretch>, Malformed> {
    let mut map = Vec::new();
    for pair in area.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        let number = |field: &[u8]| {
            let number = super::header::numeric(field).ok_or(Malformed)?;
            u64::try_from(number).map_err(|_| Malformed)
        };
        map.push(Stretch {
            offset: number(&pair[..12])?,
            size: number(&pair[12..])?,
        });
    }
    Ok(map)
}

/// Whether the GNU header says that more blocks of the map follow.
pub(super) fn gnu_is_extended(flag: u8) -> bool {
    flag != 0 && octal(&[flag]) != Some(0)
}

/// Checks a map against the file's size and the data that the archive holds: in order, without
/// overlap, inside the file, and all of the data used.
pub(super) fn check(map: &[Stretch], real: u64, stored: u64) -> Result<(), Malformed> {
    let mut end = 0;
    let mut data = 0_u64;
    for stretch in map {
        if stretch.offset < end {
            return Err(Malformed);
        }
        end = stretch.offset.checked_add(stretch.size).ok_or(Malformed)?;
        data = data.checked_add(stretch.size).ok_or(Malformed)?;
    }
    if end > real || data != stored {
        return Err(Malformed);
    }
    Ok(())
}
