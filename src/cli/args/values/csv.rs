//! Comma-separated attributes, as Go's `csvvalue` splits them.

use super::ValueError;

/// Splits a value at commas; a field in double quotes may hold commas, and `""` for a quote.
pub(super) fn fields(text: &str) -> Result<Vec<String>, ValueError> {
    let error = || ValueError::Csv(text.to_owned());
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            unquote(quoted).ok_or_else(error)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return Err(error());
            }
            (rest[..end].to_owned(), &rest[end..])
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => return Err(error()),
        }
    }
}

/// The content up to the closing quote, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, rest)),
        }
    }
}

/// Splits a field at its first `=`; the key in lower case.
pub(super) fn pair(field: &str) -> Result<(String, &str), ValueError> {
    let (key, value) = field
        .split_once('=')
        .ok_or_else(|| ValueError::Pair(field.to_owned()))?;
    Ok((key.trim().to_lowercase(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_fields_hold_commas() {
        for (text, expected) in [
            ("a", vec!["a"]),
            ("a,b", vec!["a", "b"]),
            ("\"a,b\",c", vec!["a,b", "c"]),
            ("\"a\"\"b\"", vec!["a\"b"]),
            ("", vec![""]),
            ("a,", vec!["a", ""]),
        ] {
            assert_eq!(fields(text).unwrap(), expected, "{text}");
        }
        for bad in ["\"a", "\"a\"b", "a\"b\""] {
            assert!(fields(bad).is_err(), "{bad}");
        }
    }
}
