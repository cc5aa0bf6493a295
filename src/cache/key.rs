//! Keys: the digest of all that a step can observe, printable field by field.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::digest::Digest;

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

/// Everything that a key is made of, by name, so that it can be printed and compared.
///
/// The encoding is JSON without blanks, object keys sorted by bytes, strings escaped: two
/// different materials never have the same text (JSON frames every value), so equal keys mean
/// equal materials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Material(Map<String, Value>);

impl Material {
    /// Material of an operation, e.g. `run`, `copy`; holds the version and the operation's name.
    pub fn new(operation: &str) -> Self {
        let mut map = Map::new();
        map.insert("version".to_owned(), Value::from(KEY_VERSION));
        map.insert("op".to_owned(), Value::from(operation));
        Self(map)
    }

    /// Adds a field. Setting a field twice is a bug; the later value stays.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// A field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All fields in order of their names.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The key of this material.
    pub fn key(&self) -> Key {
        Key(Digest::of(self.canonical().as_bytes()))
    }

    /// The canonical text.
    pub fn canonical(&self) -> String {
        Value::Object(self.0.clone()).to_string()
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn framing_keeps_neighbours_apart() {
        let key = |args: &[&str]| Material::new("run").with("args", args.to_vec()).key();
        assert_ne!(key(&["a", "bc"]), key(&["ab", "c"]));
        assert_ne!(key(&["a,b"]), key(&["a", "b"]));
        assert_ne!(key(&[]), key(&[""]));
    }

    #[test]
    fn field_order_does_not_matter() {
        let one = Material::new("x").with("a", 1).with("b", 2);
        let two = Material::new("x").with("b", 2).with("a", 1);
        assert_eq!(one.key(), two.key());
        assert_eq!(one.with("c", 1).differences(&two), ["c"]);
    }
}
