//! PAX records: `<length> <key>=<value>\n`, framed by length so that values may hold any byte.

use std::collections::BTreeMap;

/// Splits a record off the front: key, value, rest. `None` if the framing is broken.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let blank = data.iter().take(20).position(|byte| *byte == b' ')?;
    let length = decimal(&data[..blank])?;
    let length = usize::try_from(length).ok()?;
    if length < 5 || length > data.len() || length <= blank + 1 {
        return None;
    }
    let (whole, rest) = data.split_at(length);
    let body = whole[blank + 1..].strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    let is_text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
    let is_bad = key.is_empty() || key.contains(&0) || is_text && value.contains(&0);
    (!is_bad).then_some((key, value, rest))
}

/// All records of a header; of two with one key the later counts. `GNU.sparse.offset` and
/// `GNU.sparse.numbytes` repeat and are joined into `GNU.sparse.map`, as GNU tar 1.14 meant them.
pub(super) fn records(mut data: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut records = BTreeMap::new();
    let mut map: Vec<u8> = Vec::new();
    let mut numbers = 0_usize;
    while !data.is_empty() {
        let (key, value, rest) = record(data)?;
        data = rest;
        let pair = match key {
            b"GNU.sparse.offset" => Some(0),
            b"GNU.sparse.numbytes" => Some(1),
            _ => None,
        };
        let Some(turn) = pair else {
            records.insert(key.to_vec(), value.to_vec());
            continue;
        };
        if numbers % 2 != turn || value.contains(&b',') {
            return None;
        }
        if numbers > 0 {
            map.push(b',');
        }
        map.extend_from_slice(value);
        numbers += 1;
    }
    if numbers > 0 {
        records.insert(b"GNU.sparse.map".to_vec(), map);
    }
    Some(records)
}

/// Decimal digits only.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// A decimal number with an optional sign.
pub(super) fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(digits) => i64::try_from(-i128::from(decimal(digits)?)).ok(),
        None => i64::try_from(decimal(text)?).ok(),
    }
}

/// A time: seconds, rounded down.
pub(super) fn time(text: &[u8]) -> Option<i64> {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let whole = parts.next()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let has_fraction = fraction.iter().any(|digit| *digit != b'0');
    let seconds = signed(whole)?;
    if whole.starts_with(b"-") && has_fraction {
        seconds.checked_sub(1)
    } else {
        Some(seconds)
    }
}

/// Appends one record; its length counts its own digits.
pub(super) fn push(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if rest + digits(length) > length {
        length = rest + digits(length);
    }
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_newlines_stay_whole() {
        let mut data = Vec::new();
        push(
            &mut data,
            b"SCHILY.xattr.user.x",
            b"a\n22 linkpath=/etc/evil\n",
        );
        push(&mut data, b"path", b"p");
        let records = records(&data).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(
            records[b"SCHILY.xattr.user.x".as_slice()],
            b"a\n22 linkpath=/etc/evil\n"
        );
    }

    #[test]
    fn lengths_count_their_own_digits() {
        for size in 0..1200 {
            let mut data = Vec::new();
            push(&mut data, b"k", &vec![b'v'; size]);
            assert_eq!(records(&data).unwrap()[b"k".as_slice()].len(), size);
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        for bad in [
            &b"7 a=b\n"[..],
            b"6 a=bX",
            b"5 =b\n",
            b"6 abc\n",
            b"99 a=b\n",
            b"-6 a=b\n",
            b" 6 a=b\n",
            b"3 \n",
            b"10 path=\0\n",
            b"99999999999999999999999 a=b\n",
        ] {
            assert_eq!(records(bad), None, "{:?}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn times_round_down() {
        for (text, seconds) in [
            ("1.9", Some(1)),
            ("-1.5", Some(-2)),
            ("-1.0", Some(-1)),
            ("-0.5", Some(-1)),
            ("7", Some(7)),
            ("nan", None),
            ("1.x", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()), seconds, "{text}");
        }
    }
}
