//! A reader for the part of TOML that container tools' configuration files use: tables, arrays of
//! tables, quoted keys, strings, booleans, integers and arrays of strings.
//!
//! Anything else is an error and the file then says nothing. Bounded by the caller's file size;
//! no recursion on input.

use std::collections::BTreeMap;

/// A table: keys and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table(BTreeMap<String, Value>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Flag(bool),
    Number,
    Texts(Vec<String>),
    Table(Table),
    Tables(Vec<Table>),
}

/// A line that is not of the supported part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not understood")]
pub(super) struct TomlError {
    /// From 1.
    pub(super) line: usize,
}

impl Table {
    /// The string at `key`.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Whether the boolean at `key` is true.
    pub(super) fn flag(&self, key: &str) -> bool {
        matches!(self.0.get(key), Some(Value::Flag(true)))
    }

    /// The strings of the array at `key`.
    pub(super) fn texts(&self, key: &str) -> Vec<&str> {
        match self.0.get(key) {
            Some(Value::Texts(texts)) => texts.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// The tables of the array of tables at `key`.
    pub(super) fn tables(&self, key: &str) -> impl Iterator<Item = &Table> {
        match self.0.get(key) {
            Some(Value::Tables(tables)) => tables.as_slice(),
            _ => &[],
        }
        .iter()
    }

    /// The sub-tables of the table at `key`, with their names, in the order of names.
    pub(super) fn named(&self, key: &str) -> impl Iterator<Item = (&str, &Table)> {
        let table = match self.0.get(key) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        };
        table
            .into_iter()
            .flat_map(|table| &table.0)
            .filter_map(|(name, value)| match value {
                Value::Table(table) => Some((name.as_str(), table)),
                _ => None,
            })
    }

    /// The table at `path`, made where it is missing; the last one of an array of tables.
    fn enter(&mut self, path: &[String]) -> Option<&mut Self> {
        let mut table = self;
        for key in path {
            let value = table
                .0
                .entry(key.clone())
                .or_insert_with(|| Value::Table(Self::default()));
            table = match value {
                Value::Table(table) => table,
                Value::Tables(tables) => tables.last_mut()?,
                _ => return None,
            };
        }
        Some(table)
    }

    fn append(&mut self, path: &[String]) -> Option<()> {
        let (last, parents) = path.split_last()?;
        let parent = self.enter(parents)?;
        let value = parent
            .0
            .entry(last.clone())
            .or_insert_with(|| Value::Tables(Vec::new()));
        match value {
            Value::Tables(tables) => tables.push(Self::default()),
            _ => return None,
        }
        Some(())
    }
}

/// Parses a text.
pub(super) fn parse(text: &str) -> Result<Table, TomlError> {
    let mut root = Table::default();
    let mut path = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let error = || TomlError { line: number + 1 };
        let mut line = strip_comment(line).trim().to_owned();
        if line.is_empty() {
            continue;
        }
        if let Some(inner) = line
            .strip_prefix("[[")
            .and_then(|rest| rest.strip_suffix("]]"))
        {
            path = keys(inner).ok_or_else(error)?;
            root.append(&path).ok_or_else(error)?;
        } else if let Some(inner) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            path = keys(inner).ok_or_else(error)?;
            root.enter(&path).ok_or_else(error)?;
        } else {
            // An array may go on over lines until its bracket closes.
            while is_open_array(&line) {
                let (_, more) = lines.next().ok_or_else(error)?;
                line.push(' ');
                line.push_str(strip_comment(more).trim());
            }
            let at = unquoted(&line, '=').ok_or_else(error)?;
            let mut full = path.clone();
            full.extend(keys(&line[..at]).ok_or_else(error)?);
            let key = full.pop().ok_or_else(error)?;
            let value = value(line[at + 1..].trim()).ok_or_else(error)?;
            root.enter(&full).ok_or_else(error)?.0.insert(key, value);
        }
    }
    Ok(root)
}

/// The position of the first `wanted` outside quotes.
fn unquoted(text: &str, wanted: char) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            None if c == wanted => return Some(at),
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(_) | None => {}
        }
    }
    None
}

fn strip_comment(line: &str) -> &str {
    unquoted(line, '#').map_or(line, |at| &line[..at])
}

fn is_open_array(line: &str) -> bool {
    unquoted(line, '=').is_some_and(|at| {
        let value = line[at + 1..].trim_start();
        value.starts_with('[') && unquoted(value, ']').is_none()
    })
}

/// Splits `a."b.c".d` into its keys.
fn keys(text: &str) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    let mut rest = text.trim();
    loop {
        let end = unquoted(rest, '.').unwrap_or(rest.len());
        let part = rest[..end].trim();
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        keys.push(if part.starts_with(['"', '\'']) {
            string(part)?
        } else if !part.is_empty() && part.chars().all(bare) {
            part.to_owned()
        } else {
            return None;
        });
        match rest.get(end + 1..) {
            Some(more) => rest = more,
            None => return Some(keys),
        }
    }
}

fn value(text: &str) -> Option<Value> {
    if let Some(inner) = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let mut texts = Vec::new();
        let mut rest = inner.trim();
        while !rest.is_empty() {
            let end = unquoted(rest, ',').unwrap_or(rest.len());
            texts.push(string(rest[..end].trim())?);
            rest = rest.get(end + 1..).unwrap_or("").trim();
        }
        return Some(Value::Texts(texts));
    }
    match text {
        "true" => Some(Value::Flag(true)),
        "false" => Some(Value::Flag(false)),
        _ if text.parse::<i64>().is_ok() => Some(Value::Number),
        _ => string(text).map(Value::Text),
    }
}

/// The content of a one-line basic or literal string.
fn string(text: &str) -> Option<String> {
    if let Some(inner) = text.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'')?;
        return (!inner.contains('\'')).then(|| inner.to_owned());
    }
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '"' => return None,
            '\\' => match chars.next()? {
                escaped @ ('"' | '\\') => escaped,
                'n' => '\n',
                't' => '\t',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_supported_part_is_read() {
        let table = parse(
            "a = \"x # not a comment\" # comment\nb = true\n\nlist = [\n  \"1\", # one\n  '2',\n]\n\
             [t.\"q.r\"]\nk = 'v'\n[[s]]\nn = 1\n[[s.u]]\nz = \"\\\"\"\n[[s]]\n",
        )
        .unwrap();
        assert_eq!(table.text("a"), Some("x # not a comment"));
        assert!(table.flag("b"));
        assert_eq!(table.texts("list"), ["1", "2"]);
        assert_eq!(table.named("t").next().unwrap().0, "q.r");
        assert_eq!(table.tables("s").count(), 2);
        let inner = table
            .tables("s")
            .next()
            .unwrap()
            .tables("u")
            .next()
            .unwrap();
        assert_eq!(inner.text("z"), Some("\""));
    }

    #[test]
    fn the_rest_is_refused_with_its_line() {
        for (text, line) in [
            ("a", 1),
            ("\na = {b = 1}", 2),
            ("a = \"\"\"x\"\"\"", 1),
            ("[a", 1),
            ("a = [\"x\"", 1),
            ("a = 1\n[a]\nb = 1", 2),
        ] {
            assert_eq!(parse(text), Err(TomlError { line }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]a-c=\"'.,#\\\\ \n]{0,40}") {
            let _ = parse(&text);
        }
    }
}
