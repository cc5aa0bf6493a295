//! Durations in Go's notation: `1h30m`, `1.5s`, `300ms`.

use std::fmt::Write as _;

/// Nanoseconds of each unit; longer names first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is no duration.
#[derive(Debug, PartialEq, Eq)]
enum Wrong<'a> {
    /// No number where one has to be, or one that is too large for Go's 64 bits.
    Form,
    /// A number alone.
    NoUnit,
    /// No unit has this name.
    Unit(&'a str),
}

/// The nanoseconds of a duration; negative ones as their absolute value with `true`. Else Go's
/// words.
pub(super) fn parse(text: &str) -> Result<(u64, bool), String> {
    let whole = quote(text);
    read(text).map_err(|wrong| match wrong {
        Wrong::Form => format!("time: invalid duration {whole}"),
        Wrong::NoUnit => format!("time: missing unit in duration {whole}"),
        Wrong::Unit(unit) => format!("time: unknown unit {} in duration {whole}", quote(unit)),
    })
}

/// Go's `time.quote`: bytes that are no printable ASCII as `\xNN`.
fn quote(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=0x7f => quoted.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\x{byte:02x}");
            }
        }
    }
    quoted.push('"');
    quoted
}

fn read(text: &str) -> Result<(u64, bool), Wrong<'_>> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok((0, false));
    }
    let mut total = 0_u64;
    loop {
        let (digits, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), self::digits);
        if digits.is_empty() && fraction.is_empty() {
            return Err(Wrong::Form);
        }
        let whole: u64 = if digits.is_empty() {
            0
        } else {
            digits.parse().map_err(|_| Wrong::Form)?
        };
        let end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (name, next) = after.split_at(end);
        if name.is_empty() {
            return Err(Wrong::NoUnit);
        }
        let unit = UNITS.iter().find(|(unit, _)| *unit == name);
        let unit = unit.ok_or(Wrong::Unit(name))?.1;
        total = whole
            .checked_mul(unit)
            .and_then(|whole| whole.checked_add(part(fraction, unit)))
            .and_then(|value| value.checked_add(total))
            .ok_or(Wrong::Form)?;
        if next.is_empty() {
            break;
        }
        rest = next;
    }
    i64::try_from(total).map_err(|_| Wrong::Form)?;
    Ok((total, negative))
}

/// The digits at the start, and the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// The nanoseconds of `0.fraction` units, rounded down; digits beyond what counts are ignored.
fn part(fraction: &str, unit: u64) -> u64 {
    let mut value = 0_u128;
    let mut divisor = 1_u128;
    for digit in fraction.bytes().take(18) {
        value = value * 10 + u128::from(digit - b'0');
        divisor *= 10;
    }
    u64::try_from(value * u128::from(unit) / divisor).unwrap_or(0)
}
