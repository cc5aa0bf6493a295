//! The value of `RUN --mount`: one CSV record of `key=value` fields.

use crate::diagnostic::Span;

use super::ast::{Mount, Word};
use super::problem::{Parsed, Problems};

/// The keys that a mount may have.
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
];

/// Keys that mean something without a value.
const SWITCHES: [&str; 5] = ["readonly", "ro", "readwrite", "rw", "required"];

/// Splits the value of a `--mount` flag and checks its keys. Values stay raw: they may hold
/// variables, except that of `from`.
pub(super) fn mount(value: &Word, problems: &Problems<'_>) -> Parsed<Mount> {
    let fields = split(&value.raw).map_err(|error| {
        problems.error(
            "invalid-mount",
            value.span,
            format!("failed to parse csv mounts: {error}"),
        )
    })?;
    let exact = value.raw.len() == value.span.end - value.span.start;
    let mut mount = Mount {
        span: value.span,
        fields: Vec::with_capacity(fields.len()),
    };
    for field in fields {
        let place = |from: usize, to: usize| {
            if !exact || field.quoted {
                return value.span;
            }
            let start = value.span.start + field.at;
            Span::new(start + from, start + to)
        };
        let all = field.text.len();
        let (key, text) = match field.text.split_once('=') {
            Some((key, text)) => (key, Some(text)),
            None => (field.text.as_str(), None),
        };
        let lower = key.to_lowercase();
        check_key(&lower, &field.text, (text, place(0, all)), problems)?;
        let word = text.map(|text| Word {
            raw: text.to_owned(),
            span: place(key.len() + 1, all),
        });
        mount.fields.push((lower, word));
    }
    Ok(mount)
}

fn check_key(
    key: &str,
    field: &str,
    (value, span): (Option<&str>, Span),
    problems: &Problems<'_>,
) -> Parsed<()> {
    if !KEYS.contains(&key) {
        if value.is_none() {
            return Err(problems.error(
                "invalid-mount",
                span,
                format!("invalid field '{field}' must be a key=value pair"),
            ));
        }
        return Err(problems.unknown(
            ("invalid-mount", span),
            format!("unexpected key '{key}' in '{field}'"),
            key,
            &KEYS,
        ));
    }
    match value {
        None if !SWITCHES.contains(&key) => Err(problems.error(
            "invalid-mount",
            span,
            format!("invalid field '{field}' must be a key=value pair"),
        )),
        Some(value) if key == "from" && has_variable(value) => Err(problems.error_with_help(
            ("variable-in-from", span),
            "'from' doesn't support variable expansion, define alias stage instead",
            format!("write `FROM {value} AS name` above and use `from=name`"),
        )),
        _ => Ok(()),
    }
}

/// Whether a text has a `$` with something behind it.
pub(super) fn has_variable(text: &str) -> bool {
    text.find('$').is_some_and(|at| at + 1 < text.len())
}

/// One field of a CSV record.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    /// Its text, quotes removed.
    pub text: String,
    /// The offset where it starts in the record.
    pub at: usize,
    /// Whether it was quoted.
    pub quoted: bool,
}

/// Why a text is no CSV record, in the words of Go's `encoding/csv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Nothing there.
    #[error("EOF")]
    Empty,
    /// A quote inside a field that did not start with one.
    #[error("parse error on line 1, column {0}: bare \" in non-quoted-field")]
    BareQuote(usize),
    /// A quoted field that does not end, or goes on behind its quote.
    #[error("parse error on line 1, column {0}: extraneous or missing \" in quoted-field")]
    Quote(usize),
}

/// Splits one CSV record by the rules of Go's `encoding/csv`: fields that start with `"` end with
/// one, `""` inside them is a quote, and no other field may hold a quote.
pub fn split(record: &str) -> Result<Vec<Field>, CsvError> {
    if record.is_empty() {
        return Err(CsvError::Empty);
    }
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let rest = &record[at..];
        let (field, length) = if let Some(inside) = rest.strip_prefix('"') {
            quoted(inside, at)?
        } else {
            let length = rest.find(',').unwrap_or(rest.len());
            if let Some(quote) = rest[..length].find('"') {
                return Err(CsvError::BareQuote(at + quote + 1));
            }
            let text = rest[..length].to_owned();
            let quoted = false;
            (Field { text, at, quoted }, length)
        };
        fields.push(field);
        at += length;
        match record.as_bytes().get(at) {
            Some(b',') => at += 1,
            Some(_) => return Err(CsvError::Quote(at + 1)),
            None => return Ok(fields),
        }
    }
}

/// The field whose opening quote at `at` was just taken off, and its length with both quotes.
fn quoted(inside: &str, at: usize) -> Result<(Field, usize), CsvError> {
    let mut text = String::new();
    let mut from = 0;
    while let Some(quote) = inside[from..].find('"') {
        text.push_str(&inside[from..from + quote]);
        from += quote + 1;
        if inside[from..].starts_with('"') {
            text.push('"');
            from += 1;
        } else {
            let quoted = true;
            return Ok((Field { text, at, quoted }, from + 1));
        }
    }
    Err(CsvError::Quote(at + inside.len() + 1))
}

/// Writes one field, quoted if it must be.
pub(super) fn print_field(text: &str) -> String {
    if text.contains([',', '"']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
