//! Values as Go's `fmt` prints them: history entries are made of these.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

/// What Go prints as it is besides the space (`strconv.IsPrint`), in Go's edition of Unicode.
static PRINTABLE: LazyLock<Regex> = LazyLock::new(|| {
    let text = r"^[[\p{L}\p{M}\p{N}\p{P}\p{S}]&&\p{Age=15.0}]$";
    #[expect(clippy::expect_used, reason = "the text is fixed, and a test uses it")]
    Regex::new(text).expect("a regular expression")
});

/// `%q` of a string: `strconv.Quote`.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        escape(&mut quoted, c, '"');
    }
    quoted.push('"');
    quoted
}

/// `%q` of a number, which is a character to Go: `'\x03'`, `'d'`.
pub(crate) fn quote_number(number: u32) -> String {
    let c = char::from_u32(number);
    let mut quoted = "'".to_owned();
    escape(&mut quoted, c.unwrap_or(char::REPLACEMENT_CHARACTER), '\'');
    quoted.push('\'');
    quoted
}

fn escape(quoted: &mut String, c: char, mark: char) {
    match c {
        '\\' => quoted.push_str("\\\\"),
        c if c == mark => quoted.extend(['\\', c]),
        '\u{7}' => quoted.push_str("\\a"),
        '\u{8}' => quoted.push_str("\\b"),
        '\u{c}' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\u{b}' => quoted.push_str("\\v"),
        c if c < ' ' || c == '\u{7f}' => {
            push(quoted, format_args!("\\x{:02x}", u32::from(c)));
        }
        ' '..='~' => quoted.push(c),
        c if PRINTABLE.is_match(c.encode_utf8(&mut [0; 4])) => quoted.push(c),
        c if c <= '\u{ffff}' => push(quoted, format_args!("\\u{:04x}", u32::from(c))),
        c => push(quoted, format_args!("\\U{:08x}", u32::from(c))),
    }
}

/// `%q` of a list: `["a" "b"]`.
pub(crate) fn quote_list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quote(item)).collect();
    list(&items)
}

/// `%v` of a list: `[a b]`.
pub(crate) fn list(items: &[String]) -> String {
    format!("[{}]", items.join(" "))
}

/// `time.Duration` of nanoseconds: `1m30s`, `1.5ms`, `0s`.
pub(crate) fn duration(nanoseconds: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    if nanoseconds < SECOND {
        let (unit, name) = match nanoseconds {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        return fraction(nanoseconds, unit) + name;
    }
    let minutes = nanoseconds / (60 * SECOND);
    let seconds = fraction(nanoseconds % (60 * SECOND), SECOND);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// `value / unit` with as many decimals as it takes; `unit` is a power of ten.
fn fraction(value: u64, unit: u64) -> String {
    let mut text = (value / unit).to_string();
    let rest = value % unit;
    if rest > 0 {
        let width = usize::try_from(unit.ilog10()).unwrap_or(0);
        let decimals = format!("{rest:0width$}");
        push(
            &mut text,
            format_args!(".{}", decimals.trim_end_matches('0')),
        );
    }
    text
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (2_000_000, "2ms"),
            (30_000_000_000, "30s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }

    #[test]
    fn what_go_does_not_print_is_escaped() {
        for (c, text) in [
            ('\u{80}', r"\u0080"),
            ('\u{a0}', r"\u00a0"),
            ('\u{ad}', r"\u00ad"),
            ('\u{378}', r"\u0378"),
            ('\u{200b}', r"\u200b"),
            ('\u{2028}', r"\u2028"),
            ('\u{3000}', r"\u3000"),
            ('\u{e000}', r"\ue000"),
            ('\u{feff}', r"\ufeff"),
            ('\u{e0001}', r"\U000e0001"),
            ('\u{10ffff}', r"\U0010ffff"),
            // Of Unicode 16, which Go does not know.
            ('\u{105c0}', r"\U000105c0"),
            ('é', "é"),
            ('\u{301}', "\u{301}"),
            ('½', "½"),
            ('€', "€"),
            ('漢', "漢"),
            ('😀', "😀"),
            ('\u{fffd}', "\u{fffd}"),
        ] {
            assert_eq!(quote(&c.to_string()), format!("\"{text}\""), "{c:?}");
        }
    }

    #[test]
    fn lists_are_quoted_as_go_quotes_them() {
        let items = ["a \"b\"".to_owned(), "c\\\n\u{1}é".to_owned()];
        assert_eq!(quote_list(&items), r#"["a \"b\"" "c\\\n\x01é"]"#);
        assert_eq!(quote_list(&[]), "[]");
    }
}
