//! When to try again, and how long to wait before.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::options::RetryPolicy;
use crate::clock::{self, Epoch, Stopwatch};

/// The statuses that may be gone the next time.
pub(super) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

/// The pause before try `attempt` (the second one is 1): what the server asks for, else doubling
/// from the base with half of it by chance, so that runners that failed together do not come back
/// together. Never more than the policy's maximum.
pub(super) fn pause(policy: &RetryPolicy, attempt: u32, retry_after: Option<Duration>) -> Duration {
    let pause = retry_after.unwrap_or_else(|| {
        let doubled = policy
            .base
            .saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let half = doubled / 2;
        half + half.mul_f64(chance())
    });
    pause.min(policy.pause_max)
}

/// A number in 0..1 from the hasher's random keys; no secret depends on it.
fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

/// The value of `Retry-After` (RFC 9110 §10.2.3): seconds or a date; `None` if it is neither.
pub(super) fn parse_retry_after(value: &str) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let seconds = parse_http_date(value)?.0.saturating_sub(clock::now().0);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parse_http_date(value: &str) -> Option<Epoch> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let words: Vec<&str> = value.split(' ').collect();
    let [_, day, month, year, time, "GMT"] = words.as_slice() else {
        return None;
    };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    if day.len() != 2 || year.len() != 4 || time.len() != 8 || !value.is_ascii() {
        return None;
    }
    Epoch::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z"))
}

/// A switch that ends waiting at once, for Ctrl-C.
#[derive(Debug, Default)]
pub(super) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Stops everybody who waits or will wait.
    pub(super) fn stop(&self) {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Whether it was switched.
    pub(super) fn is_stopped(&self) -> bool {
        *self.stopped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; returns whether the time passed without a stop.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) = self
            .changed
            .wait_timeout_while(stopped, time, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        !*stopped
    }
}

/// Tells a live transfer from a dead one: fewer bytes than the policy's rate over one window of
/// silence counts as dead. Only time spent waiting for the other side is counted.
#[derive(Debug)]
pub(super) struct RateFloor {
    window: Duration,
    bytes_min: u64,
    waited: Duration,
    bytes: u64,
}

impl RateFloor {
    pub(super) fn new(policy: &RetryPolicy) -> Self {
        Self {
            window: policy.silence_max,
            bytes_min: policy.bytes_per_second_min * policy.silence_max.as_secs(),
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Counts one read; returns whether the transfer still lives.
    pub(super) fn count(&mut self, clock: Stopwatch, bytes: usize) -> bool {
        self.waited += clock.elapsed();
        self.bytes += bytes as u64;
        if self.waited < self.window {
            return true;
        }
        let alive = self.bytes >= self.bytes_min;
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        alive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_with_chance_and_have_a_ceiling() {
        let policy = RetryPolicy {
            base: Duration::from_millis(100),
            pause_max: Duration::from_secs(1),
            ..RetryPolicy::default()
        };
        for (attempt, low, high) in [(1, 50, 100), (2, 100, 200), (3, 200, 400), (40, 1000, 1000)] {
            for _ in 0..50 {
                let pause = pause(&policy, attempt, None).as_millis();
                assert!((low..=high).contains(&pause), "{attempt}: {pause}");
            }
        }
        let asked = |seconds| pause(&policy, 1, Some(Duration::from_secs(seconds)));
        assert_eq!(asked(0), Duration::ZERO);
        assert_eq!(asked(u64::MAX), Duration::from_secs(1));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let seconds = |text: &str| parse_retry_after(text).map(|time| time.as_secs());
        assert_eq!(seconds("3"), Some(3));
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds(&"9".repeat(40)), Some(u64::MAX));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert!(seconds("Sun, 06 Nov 2194 08:49:37 GMT").unwrap() > 1_000_000);
        for bad in [
            "",
            "-1",
            "soon",
            "1.5",
            "Sun, 06 Nov",
            "Sun, 6 Nov 1994 8:49:37 GMT",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn http_dates_are_exact() {
        assert_eq!(
            parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Epoch(784_111_777))
        );
    }

    #[test]
    fn a_stop_ends_waiting_at_once() {
        let stop = Stop::default();
        assert!(stop.wait(Duration::ZERO));
        stop.stop();
        assert!(!stop.wait(Duration::from_hours(1)));
    }

    #[test]
    fn a_trickle_is_not_alive() {
        let policy = RetryPolicy {
            silence_max: Duration::ZERO,
            bytes_per_second_min: 0,
            ..RetryPolicy::default()
        };
        let mut floor = RateFloor::new(&policy);
        floor.bytes_min = 10;
        assert!(floor.count(Stopwatch::start(), 10));
        assert!(!floor.count(Stopwatch::start(), 9));
    }
}
