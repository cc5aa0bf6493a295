//! The exec form: what the grammar recognised as an array of strings, decoded.

use serde::de::IgnoredAny;

use crate::diagnostic::Spanned;

use super::grammar::{Node, Rule};

/// The strings of an array.
pub(super) fn strings(array: &Node<'_>) -> Vec<Spanned<String>> {
    array
        .children()
        .filter(|child| child.rule() == Rule::json_string)
        .map(|string| {
            let text = string.child(Rule::json_text);
            let value = text.map_or_else(String::new, |text| decode(text.text()));
            Spanned::new(value, string.span())
        })
        .collect()
}

/// Whether a text is an array, of strings or of other things. One of other things is an error where
/// anything else that starts with a bracket is shell text.
pub(super) fn is_array(text: &str) -> bool {
    text.starts_with('[') && serde_json::from_str::<Vec<IgnoredAny>>(text).is_ok()
}

/// Decodes the inside of a JSON string as Go does: half a surrogate pair becomes U+FFFD.
fn decode(raw: &str) -> String {
    if !raw.contains('\\') {
        return raw.to_owned();
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        value.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let Some(letter) = escape.chars().next() else {
            return value;
        };
        rest = &escape[letter.len_utf8()..];
        match letter {
            'b' => value.push('\u{8}'),
            'f' => value.push('\u{c}'),
            'n' => value.push('\n'),
            'r' => value.push('\r'),
            't' => value.push('\t'),
            'u' => rest = decode_unicode(rest, &mut value),
            other => value.push(other),
        }
    }
    value.push_str(rest);
    value
}

/// Decodes what follows `\u`; gives back what is left.
fn decode_unicode<'a>(rest: &'a str, value: &mut String) -> &'a str {
    let Some((unit, rest)) = hex(rest) else {
        value.push(char::REPLACEMENT_CHARACTER);
        return rest;
    };
    if let Some(letter) = char::from_u32(unit) {
        value.push(letter);
        return rest;
    }
    let low = rest.strip_prefix("\\u").and_then(hex);
    if let (0xD800..=0xDBFF, Some((low @ 0xDC00..=0xDFFF, after))) = (unit, low) {
        let letter = char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
        value.push(letter.unwrap_or(char::REPLACEMENT_CHARACTER));
        return after;
    }
    value.push(char::REPLACEMENT_CHARACTER);
    rest
}

fn hex(text: &str) -> Option<(u32, &str)> {
    let unit = u32::from_str_radix(text.get(..4)?, 16).ok()?;
    Some((unit, &text[4..]))
}

/// Writes strings as a JSON array, on one line.
pub(super) fn print<'a>(strings: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::from("[");
    for (index, string) in strings.into_iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str(&serde_json::Value::from(string).to_string());
    }
    text.push(']');
    text
}
