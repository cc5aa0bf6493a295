//! The parser that pest makes of `grammar/dockerfile.pest`, and the map from its offsets to places.
//!
//! This is the only file that knows pest's machinery; the others see [`Node`]s.

use pest::Parser;
use pest::iterators::{Pair, Pairs};

use crate::diagnostic::Span;

use super::lines::Logical;

/// pest's product.
#[derive(pest_derive::Parser)]
#[grammar = "../grammar/dockerfile.pest"]
struct Grammar;

/// A piece of a logical line that a rule recognised.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    pair: Pair<'a, Rule>,
    line: &'a Logical,
}

impl<'a> Node<'a> {
    /// The rule that recognised it.
    pub(super) fn rule(&self) -> Rule {
        self.pair.as_rule()
    }

    /// Its text, continuations joined.
    pub(super) fn text(&self) -> &'a str {
        self.pair.as_str()
    }

    /// Its place in the file.
    pub(super) fn span(&self) -> Span {
        let span = self.pair.as_span();
        self.line.span(span.start(), span.end())
    }

    /// The place of the bytes `from..to` of its text.
    pub(super) fn part(&self, from: usize, to: usize) -> Span {
        let start = self.pair.as_span().start();
        self.line.span(start + from, start + to)
    }

    /// Where it starts in the text of the logical line.
    pub(super) fn offset(&self) -> usize {
        self.pair.as_span().start()
    }

    /// What the rule consists of.
    pub(super) fn children(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let line = self.line;
        self.pair
            .clone()
            .into_inner()
            .map(move |pair| Node { pair, line })
    }

    /// The first child made by `rule`.
    pub(super) fn child(&self, rule: Rule) -> Option<Node<'a>> {
        self.children().find(|child| child.rule() == rule)
    }
}

/// Recognises a logical line by an entry rule; `None` if it is not of that form.
pub(super) fn recognise(rule: Rule, line: &Logical) -> Option<impl Iterator<Item = Node<'_>>> {
    let pairs = Grammar::parse(rule, line.text()).ok()?;
    Some(
        pairs
            .filter(|pair| pair.as_rule() != Rule::EOI)
            .map(move |pair| Node { pair, line }),
    )
}

/// Recognises a directive in a comment line; the spans of the pairs index `comment`.
pub(super) fn directive(comment: &str) -> Option<Pairs<'_, Rule>> {
    Grammar::parse(Rule::directive, comment).ok()
}
