//! Numbers as people and pipelines read them.

use std::time::Duration;

/// Bytes in powers of 1000 with BuildKit's digits: `2B`, `1.24kB`, `29.15MB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count}B");
    }
    // Hundredths, in whole numbers, rounded to the nearest.
    let mut scale: u128 = 1000;
    let mut unit = 0;
    let count = u128::from(count);
    while unit + 1 < UNITS.len() && count * 100 + scale / 2 >= scale * 100_000 {
        scale *= 1000;
        unit += 1;
    }
    let hundredths = (count * 100 + scale / 2) / scale;
    format!(
        "{}.{:02}{}",
        hundredths / 100,
        hundredths % 100,
        UNITS[unit]
    )
}

/// Seconds with one decimal: `0.1s`.
pub fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

/// The prefix of an output line: three decimals below 10 s, two below 100 s, then one.
pub fn log_seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let precision = match time.as_secs() {
        0..10 => 3,
        10..100 => 2,
        _ => 1,
    };
    format!("{seconds:.precision$}")
}

/// An age in Docker's words: `2 hours ago`.
pub fn ago(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..172_800 => (seconds / 3_600, "hour"),
        172_800..1_209_600 => (seconds / 86_400, "day"),
        1_209_600..5_184_000 => (seconds / 604_800, "week"),
        5_184_000..63_072_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_two_decimals_above_a_thousand() {
        for (count, text) in [
            (0, "0B"),
            (2, "2B"),
            (999, "999B"),
            (1000, "1.00kB"),
            (1_240, "1.24kB"),
            (999_994, "999.99kB"),
            (999_999, "1.00MB"),
            (29_150_000, "29.15MB"),
            (u64::MAX, "18.45EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn times_have_the_digits_of_buildkit() {
        for (millis, text) in [
            (0, "0.000"),
            (9_999, "9.999"),
            (10_000, "10.00"),
            (123_456, "123.5"),
        ] {
            assert_eq!(log_seconds(Duration::from_millis(millis)), text);
        }
        assert_eq!(seconds(Duration::from_millis(149)), "0.1s");
        for (age, text) in [
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (3_600, "1 hour ago"),
            (864_000, "10 days ago"),
        ] {
            assert_eq!(ago(age), text);
        }
    }
}
