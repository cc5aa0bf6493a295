//! Durations in Go's notation: `1h30m`, `1.5s`, `300ms`.

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

/// The nanoseconds of a duration; negative ones as their absolute value with `true`. `None` if the
/// text is no duration or too large for Go's 64 bits.
pub(super) fn parse(text: &str) -> Option<(u64, bool)> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some((0, false));
    }
    let mut total = 0_u64;
    loop {
        let whole = rest.find(|c: char| !c.is_ascii_digit())?;
        let (digits, after) = rest.split_at(whole);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => {
                let end = after.find(|c: char| !c.is_ascii_digit())?;
                after.split_at(end)
            }
            None => ("", after),
        };
        if digits.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(after.len());
        let (name, next) = after.split_at(end);
        let unit = UNITS.iter().find(|(unit, _)| *unit == name)?.1;
        let whole: u64 = if digits.is_empty() {
            0
        } else {
            digits.parse().ok()?
        };
        total = total
            .checked_add(whole.checked_mul(unit)?)?
            .checked_add(part(fraction, unit))?;
        if next.is_empty() {
            break;
        }
        rest = next;
    }
    (i64::try_from(total).is_ok()).then_some((total, negative))
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
