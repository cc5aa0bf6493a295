//! Which rules run: `skip=A,B;error=true;experimental=C`.

use std::collections::BTreeSet;

use super::registry::Rule;

/// A set of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Set {
    /// `all`
    All,
    /// By name.
    Named(BTreeSet<String>),
}

impl Default for Set {
    fn default() -> Self {
        Self::Named(BTreeSet::new())
    }
}

impl Set {
    fn parse(value: &str) -> Self {
        if value == "all" {
            return Self::All;
        }
        Self::Named(
            value
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect(),
        )
    }

    fn contains(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

/// The choice of rules, from a directive, a build argument or a comment above an instruction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    skip: Set,
    experimental: Set,
    /// Whether a finding fails the build.
    pub error: bool,
}

/// A choice that cannot be read, in BuildKit's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such option, or no equals sign.
    #[error("invalid check option {0:?}")]
    Option(String),
    /// `error=` with something that is no boolean.
    #[error("failed to parse check option {0:?}: invalid syntax")]
    Boolean(String),
}

/// What Go's `strconv.ParseBool` takes.
const TRUE: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];
const FALSE: [&str; 6] = ["0", "f", "F", "FALSE", "false", "False"];

impl Config {
    /// Reads a choice; an empty text chooses the stable rules.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let text = text.trim();
        if text.is_empty() {
            return Ok(config);
        }
        for part in text.splitn(3, ';') {
            let Some((key, value)) = part.split_once('=') else {
                return Err(ConfigError::Option(part.to_owned()));
            };
            let value = value.trim();
            match key.trim() {
                "skip" => config.skip = Set::parse(value),
                "experimental" => config.experimental = Set::parse(value),
                "error" if TRUE.contains(&value) => config.error = true,
                "error" if FALSE.contains(&value) => config.error = false,
                "error" => return Err(ConfigError::Boolean(part.to_owned())),
                other => return Err(ConfigError::Option(other.to_owned())),
            }
        }
        Ok(config)
    }

    /// Whether a rule runs. Experimental rules run only when chosen, and then `skip` does not
    /// matter.
    pub fn runs(&self, rule: &Rule) -> bool {
        if rule.experimental {
            self.experimental.contains(rule.name)
        } else {
            !self.skip.contains(rule.name)
        }
    }

    /// Whether a rule is skipped by name or by `all`, experimental or not: for the comment above an
    /// instruction, which only takes away.
    pub(super) fn skips(&self, rule: &Rule) -> bool {
        self.skip.contains(rule.name)
    }
}
