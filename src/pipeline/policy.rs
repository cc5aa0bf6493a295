//! Source policies: which sources a build may use, and which stand for others (BuildKit,
//! `sourcepolicy`). JSON of `EXPERIMENTAL_BUILDKIT_SOURCE_POLICY` in, decisions out.
//!
//! A rule that cannot be honoured is refused when the policy is read: a policy is never kept half.

use regex::Regex;
use serde::Deserialize;

use crate::failure::{Explain, Kind};

/// How often a source may be converted before it counts as a circle (BuildKit's limit).
const CONVERSIONS_MAX: usize = 20;

/// The rules of a build; without any, everything is allowed.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    pattern: Regex,
    kind: MatchType,
    selector: String,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Allow,
    Deny,
    /// The identifier that stands instead; `$1` is what the first `*` or group matched.
    Convert(String),
}

/// Why a policy cannot be used, or forbids a source.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is not a policy.
    #[error("failed to parse the source policy: {0}")]
    Json(#[source] serde_json::Error),
    /// A selector is no pattern.
    #[error("invalid selector `{selector}` in the source policy")]
    Pattern {
        /// The selector.
        selector: String,
        /// Why not.
        #[source]
        source: regex::Error,
    },
    /// A rule has what cannot be honoured here.
    #[error("{what} of the source policy is not supported (rule for `{selector}`)")]
    Unsupported {
        /// What it is.
        what: &'static str,
        /// Which rule.
        selector: String,
    },
    /// A rule forbids the source.
    #[error("source `{identifier}` denied by policy: rule DENY `{selector}`")]
    Denied {
        /// The source.
        identifier: String,
        /// The rule.
        selector: String,
    },
    /// Rules convert in a circle.
    #[error("source `{identifier}` is converted by the source policy too often")]
    Circle {
        /// The source.
        identifier: String,
    },
    /// A source is to be replaced by one of another kind.
    #[error("the source policy converts `{from}` to `{to}`, which is not supported")]
    Conversion {
        /// The source.
        from: String,
        /// What is to stand for it.
        to: String,
    },
}

impl Explain for PolicyError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Conversion { .. } => {
                vec!["only images can be converted, to images".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default, rename = "version")]
    _version: i64,
    #[serde(default)]
    rules: Vec<RuleDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleDocument {
    #[serde(default)]
    action: ActionName,
    selector: Selector,
    #[serde(default)]
    updates: Updates,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum ActionName {
    #[default]
    Allow,
    Deny,
    Convert,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Selector {
    identifier: String,
    #[serde(default, alias = "matchType")]
    match_type: MatchType,
    #[serde(default)]
    constraints: Vec<serde_json::Value>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum MatchType {
    #[default]
    Wildcard,
    Exact,
    Regex,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Updates {
    #[serde(default)]
    identifier: String,
    #[serde(default)]
    attrs: serde_json::Map<String, serde_json::Value>,
}

impl Policy {
    /// Reads a policy from JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let document: Document = serde_json::from_slice(bytes).map_err(PolicyError::Json)?;
        let rules = document.rules.into_iter().map(Rule::new);
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// Decides about a source, named as BuildKit names it (`docker-image://…`, `https://…`,
    /// `local://context`): the source to use, which is mostly the same, or why it must not be used.
    /// Of several rules the last counts; a conversion is judged anew.
    pub fn decide(&self, identifier: &str) -> Result<String, PolicyError> {
        let mut identifier = identifier.to_owned();
        'again: for _ in 0..CONVERSIONS_MAX {
            let mut denied = None;
            for rule in &self.rules {
                if !rule.pattern.is_match(&identifier) {
                    continue;
                }
                match &rule.action {
                    Action::Allow => denied = None,
                    Action::Deny => denied = Some(rule),
                    Action::Convert(to) => {
                        let converted = rule.converted(&identifier, to);
                        if converted != identifier {
                            identifier = converted;
                            continue 'again;
                        }
                    }
                }
            }
            return match denied {
                None => Ok(identifier),
                Some(rule) => Err(PolicyError::Denied {
                    identifier,
                    selector: rule.selector.clone(),
                }),
            };
        }
        Err(PolicyError::Circle { identifier })
    }

    /// Decides about a source that nothing else can stand for.
    pub fn permit(&self, identifier: &str) -> Result<(), PolicyError> {
        let decided = self.decide(identifier)?;
        if decided == identifier {
            return Ok(());
        }
        Err(PolicyError::Conversion {
            from: identifier.to_owned(),
            to: decided,
        })
    }

    /// Whether everything is allowed.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Rule {
    fn new(document: RuleDocument) -> Result<Self, PolicyError> {
        let Selector {
            identifier: selector,
            match_type: kind,
            constraints,
        } = document.selector;
        let escaped = regex::escape(&selector);
        let text = match kind {
            MatchType::Wildcard => format!("^{}$", escaped.replace(r"\*", "(.*)")),
            MatchType::Exact => format!("^{escaped}$"),
            MatchType::Regex => selector.clone(),
        };
        let has_attributes = !document.updates.attrs.is_empty();
        let what = match document.action {
            _ if !constraints.is_empty() => Some("a constraint"),
            _ if has_attributes => Some("an update of attributes"),
            ActionName::Convert if document.updates.identifier.is_empty() => {
                Some("CONVERT without an identifier")
            }
            _ => None,
        };
        if let Some(what) = what {
            return Err(PolicyError::Unsupported { what, selector });
        }
        let pattern = Regex::new(&text);
        Ok(Self {
            pattern: pattern.map_err(|source| PolicyError::Pattern {
                selector: selector.clone(),
                source,
            })?,
            kind,
            selector,
            action: match document.action {
                ActionName::Allow => Action::Allow,
                ActionName::Deny => Action::Deny,
                ActionName::Convert => Action::Convert(document.updates.identifier),
            },
        })
    }

    fn converted(&self, identifier: &str, to: &str) -> String {
        match self.kind {
            MatchType::Exact => to.to_owned(),
            MatchType::Wildcard | MatchType::Regex => {
                self.pattern.replace_all(identifier, to).into_owned()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text.as_bytes())
    }

    fn decide(rules: &str, identifier: &str) -> String {
        let policy = policy(&format!(r#"{{"rules":[{rules}]}}"#)).unwrap();
        match policy.decide(identifier) {
            Ok(decided) => decided,
            Err(error) => error.to_string(),
        }
    }

    const IMAGE: &str = "docker-image://docker.io/library/alpine:3";

    #[test]
    fn without_a_rule_everything_is_allowed() {
        assert_eq!(decide("", IMAGE), IMAGE);
        assert!(policy("{}").unwrap().is_empty());
    }

    #[test]
    fn of_several_rules_the_last_counts() {
        let deny = r#"{"action":"DENY","selector":{"identifier":"*"}}"#;
        let allow = r#"{"action":"ALLOW","selector":{"identifier":"docker-image://docker.io/*"}}"#;
        assert_eq!(decide(&format!("{deny},{allow}"), IMAGE), IMAGE);
        let denied = format!("source `{IMAGE}` denied by policy: rule DENY `*`");
        assert_eq!(decide(&format!("{allow},{deny}"), IMAGE), denied);
        assert!(decide(&format!("{deny},{allow}"), "https://a/b").contains("denied by policy"));
    }

    #[test]
    fn images_are_converted_and_judged_anew() {
        let convert = r#"{"action":"CONVERT",
            "selector":{"identifier":"docker-image://docker.io/library/*:3"},
            "updates":{"identifier":"docker-image://mirror.example/${1}:4"}}"#;
        assert_eq!(
            decide(convert, IMAGE),
            "docker-image://mirror.example/alpine:4"
        );
        let deny =
            r#"{"action":"DENY","selector":{"identifier":"docker-image://mirror.example/*"}}"#;
        assert!(decide(&format!("{convert},{deny}"), IMAGE).contains("denied by policy"));
        let exact = r#"{"action":"CONVERT",
            "selector":{"identifier":"docker-image://docker.io/library/alpine:3","match_type":"EXACT"},
            "updates":{"identifier":"docker-image://x"}}"#;
        assert_eq!(decide(exact, IMAGE), "docker-image://x");
        let regex = r#"{"action":"CONVERT",
            "selector":{"identifier":"alp(i)ne","match_type":"REGEX"},
            "updates":{"identifier":"debian"}}"#;
        assert_eq!(
            decide(regex, IMAGE),
            "docker-image://docker.io/library/debian:3"
        );
    }

    #[test]
    fn a_circle_ends() {
        let turn = |from: &str, to: &str| {
            format!(
                r#"{{"action":"CONVERT","selector":{{"identifier":"{from}"}},"updates":{{"identifier":"{to}"}}}}"#
            )
        };
        let rules = format!("{},{}", turn("a", "b"), turn("b", "a"));
        assert!(decide(&rules, "a").contains("too often"));
        assert_eq!(decide(&turn("a", "a"), "a"), "a");
    }

    #[test]
    fn what_cannot_be_honoured_is_refused() {
        for rules in [
            r#"{"action":"ALLOW","selector":{"identifier":"*","constraints":[{"key":"a"}]}}"#,
            r#"{"action":"CONVERT","selector":{"identifier":"*"},"updates":{"attrs":{"http.checksum":"x"}}}"#,
            r#"{"action":"CONVERT","selector":{"identifier":"*"}}"#,
            r#"{"action":"BLESS","selector":{"identifier":"*"}}"#,
            r#"{"action":"DENY","selector":{"identifier":"(","match_type":"REGEX"}}"#,
            r#"{"action":"DENY","selector":{"identifier":"*"},"unless":1}"#,
        ] {
            assert!(
                policy(&format!(r#"{{"rules":[{rules}]}}"#)).is_err(),
                "{rules}"
            );
        }
        let convert = r#"{"rules":[{"action":"CONVERT","selector":{"identifier":"https://a"},
            "updates":{"identifier":"https://b"}}]}"#;
        let policy = policy(convert).unwrap();
        assert!(policy.permit("https://a").is_err());
        assert!(policy.permit("https://c").is_ok());
    }
}
