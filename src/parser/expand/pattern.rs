//! Shell patterns of `${v#p}`, `${v%p}` and `${v/p/r}`: `*`, `?` and escapes, no classes.
//!
//! They become regular expressions, so that matching stays linear whatever the pattern is.

use std::sync::LazyLock;

use regex::Regex;

use super::GROWTH;
use super::problem::Problem;

/// Which match is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// `#`, `%`
    Shortest,
    /// `##`, `%%`, `/`
    Longest,
}

/// `value` without the prefix that matches.
pub(super) fn without_prefix(value: &str, pattern: &str, reach: Reach) -> Result<String, Problem> {
    let regex = compile(pattern, reach, true)?;
    let end = regex.find(value).map_or(0, |found| found.end());
    Ok(value[end..].to_owned())
}

/// `value` without the suffix that matches: the prefix of the reversed value by the reversed pattern.
pub(super) fn without_suffix(value: &str, pattern: &str, reach: Reach) -> Result<String, Problem> {
    // A wrong escape is told in the pattern's own direction.
    compile(pattern, reach, true)?;
    let backwards: String = value.chars().rev().collect();
    let left = without_prefix(&backwards, &reverse(pattern), reach)?;
    Ok(left.chars().rev().collect())
}

/// `value` with the first match, or all, replaced.
pub(super) fn replace(
    value: &str,
    pattern: &str,
    replacement: &str,
    all: bool,
) -> Result<String, Problem> {
    let regex = compile(pattern, Reach::Longest, false)?;
    let mut result = String::new();
    let mut at = 0;
    let limit = if all { usize::MAX } else { 1 };
    for found in regex.find_iter(value).take(limit) {
        result.push_str(&value[at..found.start()]);
        if all {
            push_template(&mut result, replacement, found.as_str());
        } else {
            result.push_str(replacement);
        }
        at = found.end();
        if result.len() > GROWTH {
            return Err(Problem::TooLong);
        }
    }
    result.push_str(&value[at..]);
    Ok(result)
}

/// The rest of what follows a `$` in a replacement, if that is a name: Go's letters and digits.
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    let text = r"^(?:\{([\p{L}\p{Nd}_]+)\}|([\p{L}\p{Nd}_]+))";
    #[expect(clippy::expect_used, reason = "the text is fixed, and a test uses it")]
    Regex::new(text).expect("a regular expression")
});

/// Replaces a match as Go's `ReplaceAllString` does, which BuildKit calls for `//`: `$0` and `${0}`
/// are the match, other names are empty, for there are no groups, and `$$` is one `$`.
fn push_template(result: &mut String, mut template: &str, found: &str) {
    while let Some((before, after)) = template.split_once('$') {
        result.push_str(before);
        template = after;
        if let Some(rest) = template.strip_prefix('$') {
            result.push('$');
            template = rest;
        } else if let Some(captures) = NAME.captures(template) {
            let name = captures.get(1).or_else(|| captures.get(2));
            if name.is_some_and(|name| name.as_str() == "0") {
                result.push_str(found);
            }
            template = &template[captures[0].len()..];
        } else {
            result.push('$');
        }
    }
    result.push_str(template);
}

/// Bytes of a pattern; a regular expression of more would be refused anyway.
const PATTERN_BYTES: usize = 4096;

fn compile(pattern: &str, reach: Reach, anchored: bool) -> Result<Regex, Problem> {
    let too_long = || Problem::PatternSize(pattern.chars().take(64).collect());
    if pattern.len() > PATTERN_BYTES {
        return Err(too_long());
    }
    let mut text = String::from(if anchored { "^" } else { "" });
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '*' if reach == Reach::Longest => text.push_str(".*"),
            '*' => text.push_str(".*?"),
            '?' => text.push('.'),
            // They are escaped for the sake of `${…}` and are not part of the pattern.
            '\\' if matches!(letters.peek(), Some('}' | '/')) => {}
            '\\' => match letters.next() {
                Some(literal @ ('*' | '?' | '\\')) => text.extend(['\\', literal]),
                other => {
                    return Err(Problem::PatternEscape {
                        pattern: pattern.to_owned(),
                        letter: other.unwrap_or('\u{FFFD}'),
                    });
                }
            },
            other => text.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&text).map_err(|_| too_long())
}

/// The pattern back to front, each escape before what it escapes.
fn reverse(pattern: &str) -> String {
    let mut pieces = Vec::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        let escaped = if letter == '\\' { letters.next() } else { None };
        pieces.push((letter, escaped));
    }
    pieces
        .into_iter()
        .rev()
        .flat_map(|(letter, escaped)| std::iter::once(letter).chain(escaped))
        .collect()
}
