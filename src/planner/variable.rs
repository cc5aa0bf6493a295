//! Environment variables, which many steps share.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::cache::key::Canonical;
use crate::parser::expand::Env;

/// One variable. Each RUN has all variables of the lines above it, so that a file of n lines has n²
/// of them: copies share their text, and what a key needs of it is made once.
#[derive(Clone)]
pub struct Variable(Arc<Text>);

struct Text {
    /// `NAME=value`
    line: String,
    /// Bytes of the name.
    name: usize,
    /// The canonical text of the line.
    canonical: String,
    hash: u64,
}

impl Variable {
    /// A variable with its value.
    pub fn new(name: &str, value: &str) -> Self {
        let line = [name, "=", value].concat();
        let mut canonical = String::with_capacity(line.len() + 2);
        line.write(&mut canonical);
        let mut hasher = DefaultHasher::new();
        (&line, name.len()).hash(&mut hasher);
        Self(Arc::new(Text {
            line,
            canonical,
            name: name.len(),
            hash: hasher.finish(),
        }))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.line[..self.0.name]
    }

    /// Its value.
    pub fn value(&self) -> &str {
        &self.0.line[self.0.name + 1..]
    }

    /// Name and value as texts of their own.
    pub fn pair(&self) -> (String, String) {
        (self.name().to_owned(), self.value().to_owned())
    }

    /// `NAME=value`
    pub fn line(&self) -> &str {
        &self.0.line
    }
}

impl PartialEq for Variable {
    fn eq(&self, other: &Self) -> bool {
        let parts = |variable: &Self| (variable.0.hash, variable.0.name);
        Arc::ptr_eq(&self.0, &other.0) || parts(self) == parts(other) && self.0.line == other.0.line
    }
}

impl Eq for Variable {}

impl Hash for Variable {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.name(), self.value()).fmt(formatter)
    }
}

/// The text of its line.
impl Canonical for Variable {
    fn write(&self, text: &mut String) {
        text.push_str(&self.0.canonical);
    }
}

/// Ordered variables; setting a name again keeps its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VariableList {
    variables: Vec<Variable>,
    /// Their places in order of their names.
    by_name: Vec<usize>,
}

impl VariableList {
    /// Sets a variable. Tells whether it was set before.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> bool {
        let variable = Variable::new(name, value);
        match self.search(name) {
            Ok(found) => {
                self.variables[self.by_name[found]] = variable;
                true
            }
            Err(missing) => {
                self.by_name.insert(missing, self.variables.len());
                self.variables.push(variable);
                false
            }
        }
    }

    /// All, in order.
    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// All as plain texts, in order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        self.variables.iter().map(Variable::pair)
    }

    fn search(&self, name: &str) -> Result<usize, usize> {
        let compare = |place: &usize| -> Ordering { self.variables[*place].name().cmp(name) };
        self.by_name.binary_search_by(compare)
    }
}

impl Env for VariableList {
    fn lookup(&self, name: &str) -> Option<&str> {
        let found = self.search(name).ok()?;
        Some(self.variables[self.by_name[found]].value())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(value: &impl Canonical) -> String {
        let mut text = String::new();
        value.write(&mut text);
        text
    }

    proptest! {
        #[test]
        fn a_variable_is_written_as_its_line(name in "[A-Z=]{0,3}", value in any::<String>()) {
            let variable = Variable::new(&name, &value);
            let line = format!("{name}={value}");
            prop_assert_eq!(canonical(&variable), serde_json::to_string(&line).unwrap());
            prop_assert_eq!((variable.name(), variable.value()), (&*name, &*value));
            prop_assert_eq!(variable.line(), line);
        }

        #[test]
        fn a_list_is_what_a_search_from_the_front_finds(
            pairs in proptest::collection::vec(("[AB]{1,2}", "[a-c]"), 0..12),
        ) {
            let mut list = VariableList::default();
            let mut plain: Vec<(String, String)> = Vec::new();
            for (name, value) in &pairs {
                let slot = plain.iter_mut().find(|(known, _)| known == name);
                prop_assert_eq!(list.set(name, value), slot.is_some());
                match slot {
                    Some(slot) => slot.1.clone_from(value),
                    None => plain.push((name.clone(), value.clone())),
                }
            }
            let listed: Vec<Variable> = plain.iter().map(|(name, value)| Variable::new(name, value)).collect();
            prop_assert_eq!(list.variables(), listed);
            for name in ["A", "B", "AA", "AB", "BA", "BB", "C"] {
                prop_assert_eq!(list.lookup(name), plain.lookup(name));
            }
        }
    }

    #[test]
    fn where_the_name_ends_tells_variables_apart() {
        assert_ne!(Variable::new("A=B", "c"), Variable::new("A", "B=c"));
        assert_eq!(Variable::new("A", "b"), Variable::new("A", "b"));
    }
}
