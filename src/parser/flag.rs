//! Flags of instructions: `--name`, `--name=value`.

use crate::diagnostic::Span;

use super::ast::Word;
use super::grammar::{Node, Rule};
use super::problem::{Parsed, Problems};

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `--name=value`, once.
    Text,
    /// `--name=value`, any number of times.
    List,
    /// `--name`, `--name=true`, `--name=false`, once.
    Switch,
}

/// The flags that an instruction knows.
pub(super) type Known = &'static [(&'static str, Kind)];

/// The flags that were written, in order.
#[derive(Debug, Default)]
pub(super) struct Flags {
    found: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    name: &'static str,
    value: Option<Word>,
}

impl Flags {
    /// Reads the flags of an instruction.
    pub(super) fn read(node: &Node<'_>, known: Known, problems: &Problems<'_>) -> Parsed<Self> {
        let mut flags = Self::default();
        for flag in node.children().filter(|child| child.rule() == Rule::flag) {
            let name = flag.child(Rule::flag_name);
            let name = name.as_ref().map_or("", Node::text);
            let named = Span::new(flag.span().start, flag.part(0, 2 + name.len()).end);
            let Some((name, kind)) = known.iter().find(|(known, _)| *known == name) else {
                return Err(problems.unknown(
                    ("unknown-flag", named),
                    format!("unknown flag: --{name}"),
                    name,
                    &known.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
                ));
            };
            if *kind != Kind::List && flags.found.iter().any(|found| found.name == *name) {
                return Err(problems.error_with_help(
                    ("repeated-flag", named),
                    format!("duplicate flag specified: --{name}"),
                    "remove one of them",
                ));
            }
            let value = flag.child(Rule::flag_value).map(|value| Word {
                raw: unquote(value.text()),
                span: value.span(),
            });
            check(*kind, name, (named, value.as_ref()), problems)?;
            flags.found.push(Found { name, value });
        }
        Ok(flags)
    }

    /// Takes out the value of a text flag.
    pub(super) fn text(&mut self, name: &str) -> Option<Word> {
        let at = self.found.iter().position(|found| found.name == name)?;
        self.found.remove(at).value
    }

    /// Takes out the values of a list flag.
    pub(super) fn list(&mut self, name: &str) -> Vec<Word> {
        self.found
            .extract_if(.., |found| found.name == name)
            .filter_map(|found| found.value)
            .collect()
    }

    /// The value of a switch, if it was written.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        let found = self.found.iter().find(|found| found.name == name)?;
        Some(match &found.value {
            Some(value) => value.raw.eq_ignore_ascii_case("true"),
            None => true,
        })
    }
}

/// Whether a flag has a value of its kind.
fn check(
    kind: Kind,
    name: &str,
    (named, value): (Span, Option<&Word>),
    problems: &Problems<'_>,
) -> Parsed<()> {
    match (kind, value) {
        (Kind::Switch, None) | (Kind::Text | Kind::List, Some(_)) => Ok(()),
        (Kind::Switch, Some(value)) if value.raw.is_empty() => Err(problems.error_with_help(
            ("flag-value", named),
            format!("missing a value on flag: --{name}"),
            format!("write --{name}, --{name}=true or --{name}=false"),
        )),
        (Kind::Switch, Some(value))
            if ["true", "false"]
                .iter()
                .any(|known| value.raw.eq_ignore_ascii_case(known)) =>
        {
            Ok(())
        }
        (Kind::Switch, Some(value)) => Err(problems.error_with_help(
            ("flag-value", value.span),
            format!(
                "expecting boolean value for flag --{name}, not: {}",
                value.raw
            ),
            format!("write --{name}, --{name}=true or --{name}=false"),
        )),
        (Kind::Text | Kind::List, None) => Err(problems.error_with_help(
            ("flag-value", named),
            format!("missing a value on flag: --{name}"),
            format!("write --{name}=VALUE, without blanks around the equals sign"),
        )),
    }
}

/// A flag's value without quotes and backslashes.
fn unquote(raw: &str) -> String {
    let mut value = String::with_capacity(raw.len());
    let mut open = None;
    let mut letters = raw.chars();
    while let Some(letter) = letters.next() {
        match (letter, open) {
            ('\\', _) => value.extend(letters.next()),
            ('\'' | '"', None) => open = Some(letter),
            (_, Some(quote)) if letter == quote => open = None,
            _ => value.push(letter),
        }
    }
    value
}

/// The opposite of reading: a value as it must be written.
pub(super) fn quote(value: &str) -> String {
    let mut raw = String::with_capacity(value.len());
    for letter in value.chars() {
        if matches!(letter, '\\' | '\'' | '"') || letter.is_whitespace() {
            raw.push('\\');
        }
        raw.push(letter);
    }
    raw
}
