//! Recognised lines to instructions: one function an instruction, each with its own rules about
//! how many words and which flags it takes.

mod copy;
mod healthcheck;
mod onbuild;
mod pairs;
mod run;
mod simple;
mod stage;

use crate::diagnostic::{Span, Spanned};

use super::ast::{Command, Heredoc, Instruction, ShellOrExec, Word};
use super::flag::{Flags, Known};
use super::grammar::{Node, Rule};
use super::json;
use super::problem::{Parsed, Problems, Wrong};

pub(super) use onbuild::forbidden as forbidden_trigger;

/// What all functions of a line need: its here-documents and the maker of diagnostics.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Makes diagnostics.
    pub(super) problems: Problems<'a>,
    /// The here-documents with the offsets of their markers in the line's text.
    pub(super) heredocs: Vec<(usize, Heredoc)>,
    /// Where the instruction ends, bodies included.
    pub(super) end: usize,
}

impl Line<'_> {
    /// Makes the instruction of a recognised statement, without comments; a wrong one comes as
    /// [`Command::Error`] with its diagnostic.
    pub(super) fn instruction(&self, statement: &Node<'_>) -> (Instruction, Option<Wrong>) {
        let text = statement.text();
        let length = text.find(is_blank).unwrap_or(text.len());
        let keyword = Spanned::new(text[..length].to_owned(), statement.part(0, length));
        let (command, problem) = match self.command(statement, &keyword) {
            Ok(command) => (command, None),
            Err(problem) => (Command::Error, Some(problem)),
        };
        let instruction = Instruction {
            span: Span::new(statement.span().start, self.end.max(statement.span().end)),
            keyword,
            text: text.to_owned(),
            command,
            comments: Vec::new(),
            empty_continuation: None,
        };
        (instruction, problem)
    }

    fn command(&self, node: &Node<'_>, keyword: &Spanned<String>) -> Parsed<Command> {
        match node.rule() {
            Rule::from => stage::from(node, self),
            Rule::run => run::run(node, self),
            Rule::cmd => run::cmd(node, self).map(Command::Cmd),
            Rule::entrypoint => run::cmd(node, self).map(Command::Entrypoint),
            Rule::shell => run::shell(node, self),
            Rule::copy => copy::copy(node, self).map(Command::Copy),
            Rule::add => copy::add(node, self).map(Command::Add),
            Rule::volume => simple::volume(node, self),
            Rule::env => pairs::pairs(node, self).map(Command::Env),
            Rule::label => pairs::pairs(node, self).map(Command::Label),
            Rule::arg => pairs::arg(node, self),
            Rule::expose => simple::expose(node, self),
            Rule::user => simple::rest(node, self).map(Command::User),
            Rule::workdir => simple::rest(node, self).map(Command::Workdir),
            Rule::stopsignal => simple::rest(node, self).map(Command::StopSignal),
            Rule::maintainer => simple::maintainer(node, self),
            Rule::healthcheck => healthcheck::healthcheck(node, self),
            Rule::onbuild => onbuild::onbuild(node, self),
            _ => Err(self
                .problems
                .unknown_instruction(keyword.span, &keyword.value)),
        }
    }

    /// Reads the flags of an instruction.
    fn flags(&self, node: &Node<'_>, known: Known) -> Parsed<Flags> {
        Flags::read(node, known, &self.problems)
    }

    /// Reads exec or shell form; no text at all is empty shell text.
    fn command_line(&self, node: &Node<'_>) -> Parsed<ShellOrExec> {
        if let Some(array) = node.child(Rule::json) {
            return Ok(ShellOrExec::Exec(json::strings(&array)));
        }
        let Some(text) = node.child(Rule::text) else {
            let end = node.span().end;
            return Ok(ShellOrExec::Shell(Spanned::new(
                String::new(),
                Span::new(end, end),
            )));
        };
        self.refuse_other_array(text.text(), text.span())?;
        Ok(ShellOrExec::Shell(Spanned::new(
            text.text().to_owned(),
            text.span(),
        )))
    }

    /// An array of anything but strings is an error in every instruction that takes arrays.
    fn refuse_other_array(&self, text: &str, span: Span) -> Parsed<()> {
        if !json::is_array(text) {
            return Ok(());
        }
        Err(self.problems.error_with_help(
            ("json-strings", span),
            "when using JSON array syntax, arrays must be comprised of strings only",
            "put every element in double quotes",
        ))
    }
}

/// Whether a statement can have here-documents: RUN, COPY and ADD in shell form, also as triggers.
pub(super) fn takes_heredocs(statement: &Node<'_>) -> bool {
    match statement.rule() {
        Rule::run | Rule::copy | Rule::add => statement.child(Rule::json).is_none(),
        Rule::onbuild => statement
            .children()
            .any(|child| child.rule() != Rule::flag && takes_heredocs(&child)),
        _ => false,
    }
}

/// A node as a raw word.
fn word(node: &Node<'_>) -> Word {
    Word {
        raw: node.text().to_owned(),
        span: node.span(),
    }
}

/// What separates a keyword from its arguments.
fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\u{b}' | '\u{c}')
}

/// The keyword of an instruction in capitals, for messages.
fn name(node: &Node<'_>) -> String {
    let text = node.text();
    text[..text.find(is_blank).unwrap_or(text.len())].to_uppercase()
}
