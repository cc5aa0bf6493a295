//! Keys: the digest of all that a step can observe, printable field by field.

use std::fmt::{self, Write as _};
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
/// A material is its text. It is taken apart only when somebody looks into it: making the keys of
/// 300 steps builds no tree of values, and a probe of 500 records parses none of their materials.
#[derive(Clone)]
pub struct Material {
    /// The canonical text; of a material that was read the text that was read.
    text: String,
    /// The fields in order of their names, and where each starts in the text; none of a material
    /// that was read.
    starts: Vec<(&'static str, usize)>,
    fields: OnceLock<Map<String, Value>>,
}

impl Material {
    /// Material of an operation, e.g. `run`, `copy`; holds the version and the operation's name.
    pub fn new(operation: &str) -> Self {
        let mut text = String::with_capacity(512);
        text.push_str("{\"op\":");
        let op = 1;
        operation.write(&mut text);
        text.push(',');
        let version = text.len();
        text.push_str("\"version\":");
        KEY_VERSION.write(&mut text);
        text.push('}');
        let mut starts = Vec::with_capacity(16);
        starts.extend([("op", op), ("version", version)]);
        Self {
            text,
            starts,
            fields: OnceLock::new(),
        }
    }

    /// Adds a field; what stands behind it is moved, so the cheapest order is that of the names.
    /// Setting a field twice is a bug; the later value stays.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Canonical) -> Self {
        let place = self.starts.binary_search_by_key(&name, |(known, _)| known);
        let Some((index, &(_, at))) = place
            .err()
            .and_then(|index| Some((index, self.starts.get(index)?)))
        else {
            return self.rewritten(name, &value);
        };
        let rest = self.text.split_off(at);
        write_string(&mut self.text, name);
        self.text.push(':');
        value.write(&mut self.text);
        self.text.push(',');
        let length = self.text.len() - at;
        self.text.push_str(&rest);
        for (_, start) in &mut self.starts[index..] {
            *start += length;
        }
        self.starts.insert(index, (name, at));
        self.fields.take();
        self
    }

    /// The same by way of the fields: for a material that was read, and for a field that is there
    /// or comes last.
    fn rewritten(mut self, name: &str, value: &impl Canonical) -> Self {
        self.map();
        let mut fields = self.fields.take().unwrap_or_default();
        let mut text = String::new();
        value.write(&mut text);
        fields.insert(
            name.to_owned(),
            serde_json::from_str(&text).unwrap_or_default(),
        );
        text.clear();
        write_object(&mut text, &fields);
        self.text = text;
        self.starts.clear();
        self.fields = OnceLock::from(fields);
        self
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
    pub fn canonical(&self) -> &str {
        &self.text
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
        self.fields
            .get_or_init(|| serde_json::from_str(&self.text).unwrap_or_default())
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
        RawValue::from_string(self.text.clone())
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
            text,
            starts: Vec::new(),
            fields: OnceLock::new(),
        })
    }
}

/// A value of a field of a material, as canonical JSON.
pub trait Canonical {
    /// Appends the canonical text of the value.
    fn write(&self, text: &mut String);
}

impl<T: Canonical + ?Sized> Canonical for &T {
    fn write(&self, text: &mut String) {
        (**self).write(text);
    }
}

impl Canonical for str {
    fn write(&self, text: &mut String) {
        write_string(text, self);
    }
}

impl Canonical for String {
    fn write(&self, text: &mut String) {
        write_string(text, self);
    }
}

impl Canonical for bool {
    fn write(&self, text: &mut String) {
        text.push_str(if *self { "true" } else { "false" });
    }
}

/// Integers in decimal.
macro_rules! canonical_integers {
    ($($integer:ty)*) => {
        $(impl Canonical for $integer {
            fn write(&self, text: &mut String) {
                // Writing to a string cannot fail.
                let _ = write!(text, "{self}");
            }
        })*
    };
}

canonical_integers!(i32 u32 i64 u64 usize);

impl<T: Canonical> Canonical for Option<T> {
    fn write(&self, text: &mut String) {
        match self {
            Some(value) => value.write(text),
            None => text.push_str("null"),
        }
    }
}

impl<T: Canonical> Canonical for [T] {
    fn write(&self, text: &mut String) {
        text.push('[');
        for (index, item) in self.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            item.write(text);
        }
        text.push(']');
    }
}

impl<T: Canonical> Canonical for Vec<T> {
    fn write(&self, text: &mut String) {
        self.as_slice().write(text);
    }
}

impl Canonical for Value {
    fn write(&self, text: &mut String) {
        match self {
            Self::Object(map) => write_object(text, map),
            Self::Array(items) => items.write(text),
            Self::String(string) => write_string(text, string),
            Self::Null => text.push_str("null"),
            Self::Bool(value) => value.write(text),
            Self::Number(number) => text.push_str(&number.to_string()),
        }
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
        map[name].write(text);
    }
    text.push('}');
}

fn write_string(text: &mut String, string: &str) {
    let needs_escape = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if string.bytes().any(needs_escape) {
        text.push_str(&Value::from(string).to_string());
    } else {
        text.reserve(string.len() + 2);
        text.push('"');
        text.push_str(string);
        text.push('"');
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

    proptest! {
        #[test]
        fn a_text_made_field_by_field_is_that_of_the_whole(
            fields in proptest::collection::vec(
                (
                    proptest::sample::select(vec!["a", "env", "op2", "user", "version", "z"]),
                    proptest::collection::vec(any::<String>(), 0..3),
                ),
                0..6,
            ),
        ) {
            let mut material = Material::new("run");
            let mut whole = Map::new();
            whole.insert("op".to_owned(), Value::from("run"));
            whole.insert("version".to_owned(), Value::from(KEY_VERSION));
            for (name, list) in &fields {
                material = material.with(name, list);
                whole.insert((*name).to_owned(), Value::from(list.clone()));
            }
            let mut text = String::new();
            write_object(&mut text, &whole);
            prop_assert_eq!(material.canonical(), &text);
            prop_assert_eq!(material.key(), Key(Digest::of(text.as_bytes())));
            prop_assert_eq!(material.fields().count(), whole.len());
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
            let text = |list: &[String]| Material::new("x").with("l", list.to_vec()).canonical().to_owned();
            prop_assert_eq!(a == b, text(&a) == text(&b));
        }
    }
}
