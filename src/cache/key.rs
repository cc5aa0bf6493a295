//! Keys: the digest of all that a step can observe, printable field by field.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::digest::{Digest, ParseDigestError};

/// The version of the key material. A change in what a step observes, or in the bytes that a step
/// makes from the same observation, raises it.
pub const KEY_VERSION: u32 = 1;

/// A cache key: SHA-256 of the canonical JSON of a [`Material`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub Digest);

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.hex())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({})", self.0.short())
    }
}

impl FromStr for Key {
    type Err = ParseDigestError;

    /// Parses the 64 hex digits that [`Key`] prints.
    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        format!("sha256:{text}").parse().map(Self)
    }
}

/// Everything that a key is made of, by name, so that it can be printed and compared.
///
/// The encoding is JSON without blanks, object keys sorted by bytes at every level, strings
/// escaped as serde_json does: two different materials never have the same text (JSON frames every
/// value), so equal keys mean equal materials (docs/design/cache-keys.md).
///
/// A material that was read from a record keeps its text and is taken apart only when somebody
/// looks into it: a probe of 500 records parses none of their materials.
#[derive(Clone, Default)]
pub struct Material {
    /// The text it was read from; `None` once a field was set here.
    text: Option<String>,
    fields: OnceLock<Map<String, Value>>,
}

impl Material {
    /// Material of an operation, e.g. `run`, `copy`; holds the version and the operation's name.
    pub fn new(operation: &str) -> Self {
        let mut map = Map::new();
        map.insert("version".to_owned(), Value::from(KEY_VERSION));
        map.insert("op".to_owned(), Value::from(operation));
        Self::of(map)
    }

    fn of(fields: Map<String, Value>) -> Self {
        Self {
            text: None,
            fields: OnceLock::from(fields),
        }
    }

    /// Adds a field. Setting a field twice is a bug; the later value stays.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.map();
        let mut fields = self.fields.take().unwrap_or_default();
        fields.insert(name.to_owned(), value.into());
        Self::of(fields)
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.map().get(name)
    }

    /// All fields in order of their names.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.map()
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The key of this material: SHA-256 of [`Material::canonical`].
    pub fn key(&self) -> Key {
        Key(Digest::of(self.canonical().as_bytes()))
    }

    /// The canonical text; for a material that was read, the very text that was read, so that
    /// comparing its key with a known one also proves that it is canonical.
    pub fn canonical(&self) -> Cow<'_, str> {
        if let Some(text) = &self.text {
            return Cow::Borrowed(text);
        }
        let mut text = String::with_capacity(512);
        write_object(&mut text, self.map());
        Cow::Owned(text)
    }

    /// The names of the fields in which two materials differ.
    pub fn differences<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let mut names: Vec<&str> = self
            .fields()
            .chain(other.fields())
            .map(|(name, _)| name)
            .filter(|name| self.field(name) != other.field(name))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The fields; those of a text that nests deeper than serde_json reads are empty.
    fn map(&self) -> &Map<String, Value> {
        self.fields.get_or_init(|| {
            let text = self.text.as_deref().unwrap_or("{}");
            serde_json::from_str(text).unwrap_or_default()
        })
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Material({})", self.canonical())
    }
}

impl PartialEq for Material {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Serialize for Material {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.canonical().into_owned())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Material {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::from(Box::<str>::from(Box::<RawValue>::deserialize(
            deserializer,
        )?));
        if !text.starts_with('{') {
            return Err(serde::de::Error::custom("the material is not an object"));
        }
        Ok(Self {
            text: Some(text),
            fields: OnceLock::new(),
        })
    }
}

/// Writes an object with its keys sorted by bytes, whatever order the map keeps.
fn write_object(text: &mut String, map: &Map<String, Value>) {
    let mut names: Vec<&String> = map.keys().collect();
    names.sort_unstable();
    text.push('{');
    for (index, name) in names.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_string(text, name);
        text.push(':');
        write_value(text, &map[name]);
    }
    text.push('}');
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Object(map) => write_object(text, map),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_value(text, item);
            }
            text.push(']');
        }
        Value::String(string) => write_string(text, string),
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
    }
}

fn write_string(text: &mut String, string: &str) {
    let needs_escape = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if string.bytes().any(needs_escape) {
        text.push_str(&Value::from(string).to_string());
    } else {
        text.extend(["\"", string, "\""]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn framing_keeps_neighbours_apart() {
        let key = |args: &[&str]| Material::new("run").with("args", args.to_vec()).key();
        assert_ne!(key(&["a", "bc"]), key(&["ab", "c"]));
        assert_ne!(key(&["a,b"]), key(&["a", "b"]));
        assert_ne!(key(&[]), key(&[""]));
    }

    proptest! {
        #[test]
        fn strings_are_written_as_json(string in any::<String>()) {
            let mut text = String::new();
            write_string(&mut text, &string);
            prop_assert_eq!(text, serde_json::to_string(&string).unwrap());
        }
    }

    #[test]
    fn field_order_does_not_matter() {
        let one = Material::new("x").with("a", 1).with("b", 2);
        let two = Material::new("x").with("b", 2).with("a", 1);
        assert_eq!(one.key(), two.key());
        assert_eq!(one.with("c", 1).differences(&two), ["c"]);
    }

    #[test]
    fn the_canonical_text_is_pinned() {
        let material = Material::new("run")
            .with(
                "z",
                serde_json::json!({"b": [1, true, null], "a": "\u{1}\"\\é/"}),
            )
            .with("args", ["sh", "-c"].as_slice());
        let text = r#"{"args":["sh","-c"],"op":"run","version":1,"z":{"a":"\u0001\"\\é/","b":[1,true,null]}}"#;
        assert_eq!(material.canonical(), text);
        assert_eq!(
            material.key().to_string(),
            Digest::of(text.as_bytes()).hex()
        );
    }

    #[test]
    fn a_read_material_equals_the_written_one() {
        let written = Material::new("run").with("args", ["a", "b"].as_slice());
        let json = serde_json::to_string(&written).unwrap();
        let read: Material = serde_json::from_str(&json).unwrap();
        assert_eq!(read, written);
        assert_eq!(read.key(), written.key());
        assert_eq!(read.field("args"), written.field("args"));
        assert_eq!(read.with("x", 1).key(), written.with("x", 1).key());
        assert!(serde_json::from_str::<Material>("[1]").is_err());
    }

    #[test]
    fn a_text_that_is_not_canonical_has_another_key() {
        let written = Material::new("run");
        let spaced = written.canonical().replace(',', ", ");
        let read: Material = serde_json::from_str(&spaced).unwrap();
        assert_ne!(read.key(), written.key());
    }

    proptest! {
        #[test]
        fn different_tuples_have_different_texts(
            a in proptest::collection::vec(".{0,4}", 0..4),
            b in proptest::collection::vec(".{0,4}", 0..4),
        ) {
            let text = |list: &[String]| Material::new("x").with("l", list.to_vec()).canonical().into_owned();
            prop_assert_eq!(a == b, text(&a) == text(&b));
        }
    }
}
