//! Strict JSON: what two parsers could read differently is refused (RFC 7493; CVE-2021-41190).

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The names at the top of a document.
pub(super) type Names = BTreeSet<String>;

/// Checks that `bytes` is one JSON object without duplicate names at any depth and with nothing
/// after it; returns its names. Depth is bounded by serde_json (128).
pub(super) fn object_names(bytes: &[u8]) -> Result<Names, serde_json::Error> {
    match serde_json::from_slice(bytes)? {
        Strict::Object(names) => Ok(names),
        Strict::Other => Err(Error::custom("it is not an object")),
    }
}

enum Strict {
    Object(Names),
    Other,
}

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Strict;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
        let mut names = Names::new();
        while let Some(name) = map.next_key::<String>()? {
            map.next_value::<Strict>()?;
            if names.contains(&name) {
                return Err(Error::custom("a name occurs twice"));
            }
            names.insert(name);
        }
        Ok(Strict::Object(names))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
        while seq.next_element::<Strict>()?.is_some() {}
        Ok(Strict::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
        Ok(Strict::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
        Ok(Strict::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
        Ok(Strict::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
        Ok(Strict::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
        Ok(Strict::Other)
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_reading_is_accepted() {
        let names = object_names(br#"{"b": [1, -2, 0.5, null, true], "a": {"a": "x"}}"#).unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        for bad in [
            r#"{"a": 1, "a": 2}"#,
            r#"{"x": [{"a": 1, "\u0061": 2}]}"#,
            r#"{"a": 1} "#.repeat(2).as_str(),
            "[]",
            "1",
            "",
            "{",
            "<html>",
            &format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000)),
        ] {
            assert!(object_names(bad.as_bytes()).is_err(), "{bad:.40}");
        }
    }
}
