//! STOPSIGNAL: the names that Linux has.

const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Whether a text names a signal: a positive number or a name with or without `SIG`, in any case.
pub(crate) fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<i64>() {
        return number > 0;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |prefix: &str, highest: u32| {
        let digits = name.strip_prefix(prefix)?;
        let number: u32 = digits.parse().ok()?;
        Some((1..=highest).contains(&number) && !digits.starts_with('0'))
    };
    NAMES.contains(&name)
        || offset("RTMIN+", 15).unwrap_or(false)
        || offset("RTMAX-", 14).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_names_or_positive_numbers() {
        for good in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-14", "RTMIN"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in ["", "0", "-1", "SIGFOO", "RTMIN+16", "RTMIN+01", "RTMAX-15"] {
            assert!(!is_signal(bad), "{bad}");
        }
    }
}
