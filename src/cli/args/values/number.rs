//! Sizes, times and limits.

use std::time::Duration;

use super::{EpochArg, Resource, UlimitArg, ValueError};
use crate::clock::Epoch;

/// Names of rlimits that Docker takes (docker/go-units).
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A size in binary units: `64m`, `1.5g`, `512KiB`, `1024` (docker/go-units, `RAMInBytes`).
pub fn bytes(text: &str) -> Result<u64, ValueError> {
    let error = || ValueError::Size(text.to_owned());
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(error()),
    };
    scaled(number, 1 << shift).ok_or_else(error)
}

/// A decimal number times `scale`, rounded down, without floating point; `None` if it is none or
/// too large.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.len() <= 18 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let parse = |text: &str| match text {
        "" => Some(0),
        _ => text.parse::<u128>().ok(),
    };
    let ten = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let scale = u128::from(scale);
    let value = parse(whole)?.checked_mul(scale)? + parse(fraction)? * scale / ten;
    u64::try_from(value).ok()
}

/// A span of time in Go's form, days and bare seconds too: `90s`, `1h30m`, `30d`, `45`.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    let error = || ValueError::Duration(text.to_owned());
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(error)?;
        let (number, unit) = rest.split_at(end);
        let end = unit
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(unit.len());
        let millis = match &unit[..end] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(error()),
        };
        let part = Duration::from_millis(scaled(number, millis).ok_or_else(error)?);
        total = total.checked_add(part).ok_or_else(error)?;
        rest = &unit[end..];
    }
    if total.is_zero() {
        Err(error())
    } else {
        Ok(total)
    }
}

/// Processors in thousandths: `1.5` is 1500.
pub fn cpus(text: &str) -> Result<u64, ValueError> {
    let count = scaled(text, 1000).filter(|count| *count > 0);
    count.ok_or_else(|| ValueError::Cpus(text.to_owned()))
}

/// Seconds since 1970, `git`, `now`, or `base`.
pub fn epoch(text: &str) -> Result<EpochArg, ValueError> {
    Ok(match text {
        "base" => EpochArg::Base,
        "git" => EpochArg::Git,
        "now" => EpochArg::Now,
        _ => match Epoch::parse(text).or_else(|| Epoch::parse_rfc3339(text)) {
            Some(epoch) if epoch.0 >= 0 => EpochArg::Fixed(epoch),
            _ => return Err(ValueError::Epoch(text.to_owned())),
        },
    })
}

/// `nofile=1024:2048`; -1 is unlimited.
pub fn ulimit(text: &str) -> Result<UlimitArg, ValueError> {
    let error = || ValueError::Ulimit(text.to_owned());
    let (name, limits) = text.split_once('=').ok_or_else(error)?;
    if !ULIMITS.contains(&name) {
        return Err(ValueError::UlimitName(name.to_owned()));
    }
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        _ => text.parse().map_err(|_| error()),
    };
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(limits)?, number(limits)?),
    };
    if soft > hard {
        return Err(ValueError::UlimitOrder(soft, hard));
    }
    let name = name.to_owned();
    Ok(UlimitArg { name, soft, hard })
}

/// `memory=1g`, `cpu-quota=50000`, …
pub fn resource(text: &str) -> Result<Resource, ValueError> {
    let (key, value) = super::csv::pair(text)?;
    let number = || {
        value
            .parse()
            .map_err(|_| ValueError::Cpus(value.to_owned()))
    };
    Ok(match key.as_str() {
        "memory" => Resource::Memory(bytes(value)?),
        "cpu-quota" => Resource::CpuQuota(number()?),
        "cpu-period" => Resource::CpuPeriod(number()?),
        "memory-swap" | "cpu-shares" | "cpuset-cpus" | "cpuset-mems" => {
            Resource::WithoutEffect(key)
        }
        _ => {
            let field = text.to_owned();
            return Err(ValueError::Key { key, field });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_binary() {
        for (text, size) in [
            ("0", 0),
            ("64m", 64 << 20),
            ("1.5g", 3 << 29),
            ("512KiB", 512 << 10),
            ("1 kb", 1024),
            ("10b", 10),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for bad in [
            "",
            "m",
            "-1",
            "1x",
            "1.2.3",
            ".",
            "99999999999999999999",
            "9999999p",
        ] {
            assert_eq!(bytes(bad), Err(ValueError::Size(bad.to_owned())), "{bad}");
        }
    }

    #[test]
    fn durations_are_gos() {
        for (text, seconds) in [
            ("45", 45),
            ("90s", 90),
            ("1h30m", 5400),
            ("1.5m", 90),
            ("30d", 2_592_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "s", "1", "1x", "-5s", "5 m", "0s", "1h30"]
            .into_iter()
            .filter(|text| *text != "1")
        {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(cpus("1.5"), Ok(1500));
        assert!(cpus("0").is_err() && cpus("x").is_err());
    }

    #[test]
    fn limits_have_an_order() {
        let limit = |soft, hard| UlimitArg {
            name: "nofile".into(),
            soft,
            hard,
        };
        assert_eq!(ulimit("nofile=1024"), Ok(limit(1024, 1024)));
        assert_eq!(ulimit("nofile=1:2"), Ok(limit(1, 2)));
        assert_eq!(ulimit("nofile=5:-1"), Ok(limit(5, u64::MAX)));
        assert_eq!(ulimit("nofile=3:2"), Err(ValueError::UlimitOrder(3, 2)));
        assert_eq!(
            ulimit("nofiles=1"),
            Err(ValueError::UlimitName("nofiles".into()))
        );
        for bad in ["nofile", "nofile=", "nofile=1:2:3", "nofile=x"] {
            assert_eq!(ulimit(bad), Err(ValueError::Ulimit(bad.into())), "{bad}");
        }
    }

    #[test]
    fn epochs_are_seconds_or_words() {
        assert_eq!(epoch("0"), Ok(EpochArg::Fixed(Epoch(0))));
        assert_eq!(
            epoch("1970-01-01T00:00:10Z"),
            Ok(EpochArg::Fixed(Epoch(10)))
        );
        assert_eq!(epoch("git"), Ok(EpochArg::Git));
        for bad in ["", "-1", "1.5", "yesterday"] {
            assert!(epoch(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_number_panics(text in "[0-9.a-z:= -]{0,30}") {
            let _ = (bytes(&text), duration(&text), cpus(&text), epoch(&text), ulimit(&text), resource(&text));
        }
    }
}
