//! The only reader of time.
//!
//! No reading of it may reach a digest: an image's times come from its [`Epoch`], which is handed
//! in. What is read here serves progress, costs, ages of cache objects and time limits.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970-01-01T00:00:00Z that a build stamps on what it makes (DESIGN §3).
///
/// The specification of `SOURCE_DATE_EPOCH` (reproducible-builds.org) allows only whole seconds;
/// so do layers, whose tar headers are written without fractions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub i64);

impl Epoch {
    /// Parses the decimal text of `SOURCE_DATE_EPOCH`; `None` if it is not a whole number.
    pub fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok().map(Self)
    }

    /// Formats the epoch as RFC 3339 in UTC with second precision, the form of `created` in image
    /// configs: `2026-11-20T11:21:00Z`.
    pub fn rfc3339(self) -> String {
        let (year, month, day) = civil_from_days(self.0.div_euclid(86_400));
        let second = self.0.rem_euclid(86_400);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }

    /// Parses RFC 3339 (fractions are dropped, offsets applied); `None` if the text is not one.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() < 20 || bytes[4] != b'-' || bytes[7] != b'-' || bytes[13] != b':' {
            return None;
        }
        let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
        let days = days_from_civil(number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let seconds = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
        let zone = text
            .get(19..)?
            .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
        let offset = match zone.as_bytes().first()? {
            b'Z' | b'z' => 0,
            sign @ (b'+' | b'-') if zone.len() == 6 => {
                let minutes = zone.get(1..3)?.parse::<i64>().ok()? * 60
                    + zone.get(4..6)?.parse::<i64>().ok()?;
                if *sign == b'+' {
                    minutes * 60
                } else {
                    -minutes * 60
                }
            }
            _ => return None,
        };
        Some(Self(days * 86_400 + seconds - offset))
    }
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar (Howard Hinnant's
/// `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date of a number of days since 1970-01-01: the inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// Returns the wall clock; for ages and for `--timestamp=now`, never for a decision of
/// correctness.
pub fn now() -> Epoch {
    Epoch(i64::try_from(since_1970().as_secs()).unwrap_or(i64::MAX))
}

/// Returns the wall clock with its fractions; for time stamps of progress.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
}

/// Returns the wall clock in nanoseconds since 1970; only to compare with the time stamps of file
/// systems (is this file so new that it may change again within one tick?).
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn now_ns() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A running stopwatch.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts a stopwatch.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Milliseconds since the start.
    pub fn elapsed_ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_round_trips_over_the_calendar() {
        for seconds in [
            0,
            1,
            951_782_400,
            1_709_164_800,
            4_102_444_799,
            -1,
            -86_400 * 366,
        ] {
            let text = Epoch(seconds).rfc3339();
            assert_eq!(Epoch::parse_rfc3339(&text), Some(Epoch(seconds)), "{text}");
        }
        assert_eq!(Epoch(1_709_164_800).rfc3339(), "2024-02-29T00:00:00Z");
    }

    #[test]
    fn rfc3339_accepts_fractions_and_offsets() {
        let utc = Epoch::parse_rfc3339("2024-02-29T01:00:00Z");
        assert_eq!(
            Epoch::parse_rfc3339("2024-02-29T02:00:00.123456789+01:00"),
            utc
        );
        assert_eq!(Epoch::parse_rfc3339("2024-02-28T20:30:00-04:30"), utc);
        assert_eq!(Epoch::parse_rfc3339("yesterday"), None);
    }
}
