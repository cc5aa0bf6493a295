//! Word expansion: quotes, escapes, `$v` and every form of `${…}`.
//!
//! Which words of which instruction are expanded, and with what variables, is the planner's affair;
//! this module turns one raw word into text and tells which variables it asked for. It follows
//! BuildKit's `shell` package, and refuses to let a word grow beyond [`GROWTH`].

mod pattern;
mod problem;
mod scan;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use problem::{ExpandError, Problem};

use scan::{Mode, Scan};

/// Bytes that one word may expand to.
pub const GROWTH: usize = 1 << 20;

/// How deep `${a:-${b:-…}}` may nest.
pub const DEPTH: usize = 64;

/// Variables by name.
pub trait Env {
    /// The value of a variable; `None` if it is not set, which is not the same as empty.
    fn lookup(&self, name: &str) -> Option<&str>;
}

impl<E: Env + ?Sized> Env for &E {
    fn lookup(&self, name: &str) -> Option<&str> {
        (**self).lookup(name)
    }
}

impl Env for BTreeMap<String, String> {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

/// Pairs in order; a later one of the same name wins.
impl Env for [(String, String)] {
    fn lookup(&self, name: &str) -> Option<&str> {
        let found = self.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Pairs in order; a later one of the same name wins.
impl Env for Vec<(String, String)> {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.as_slice().lookup(name)
    }
}

/// No variable is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoVariables;

impl Env for NoVariables {
    fn lookup(&self, _name: &str) -> Option<&str> {
        None
    }
}

/// What a word expanded to, and the variables that it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expanded<T> {
    /// The text or texts.
    pub value: T,
    /// Names that were asked for and set.
    pub used: BTreeSet<String>,
    /// Names that were asked for and not set, also where a default stood in.
    pub unset: BTreeSet<String>,
}

/// Expands a raw word to one text: blanks are kept, quotes and escapes removed.
pub fn process_word(
    raw: &str,
    escape: char,
    env: &dyn Env,
) -> Result<Expanded<String>, ExpandError> {
    Scan::new(raw, escape, env, Mode::Word).run()
}

/// Expands a raw word to several: it is split at blanks that are not quoted, also those that come
/// out of variables. Nothing at all gives no word.
pub fn process_words(
    raw: &str,
    escape: char,
    env: &dyn Env,
) -> Result<Expanded<Vec<String>>, ExpandError> {
    Scan::new(raw, escape, env, Mode::Word).run_words()
}

/// Expands the body of a here-document: quotes are ordinary characters, and the escape is always a
/// backslash, which vanishes before whatever it escapes.
pub fn process_heredoc(body: &str, env: &dyn Env) -> Result<Expanded<String>, ExpandError> {
    Scan::new(body, '\\', env, Mode::Heredoc).run()
}

/// Removes quotes and escapes and expands nothing: `$v` and `${v…}` stay as they are.
pub fn unquote(raw: &str, escape: char) -> Result<String, ExpandError> {
    let expanded = Scan::new(raw, escape, &NoVariables, Mode::Unquote).run()?;
    Ok(expanded.value)
}
