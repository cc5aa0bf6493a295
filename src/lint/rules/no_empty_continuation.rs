//! `NoEmptyContinuation`: a blank line inside a continued instruction

use crate::diagnostic::Span;
use crate::lint::check::{Findings, Pass};
use crate::parser::ast::{Command, CopySource, Instruction};

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for instruction in &pass.file.instructions {
        if instruction.empty_continuation.is_some() {
            let place = last_line(instruction, &pass.file.source.text);
            findings.report_at(instruction, place, "Empty continuation line".to_owned());
        }
    }
}

/// The last line of an instruction before its here-documents: where BuildKit puts this warning.
fn last_line(instruction: &Instruction, text: &str) -> Span {
    let heredoc = match &instruction.command {
        Command::Run(run) => run.heredocs.first(),
        Command::Copy(copy) | Command::Add(copy) => copy.sources.iter().find_map(|source| {
            let CopySource::Heredoc(heredoc) = source else {
                return None;
            };
            Some(heredoc)
        }),
        _ => None,
    };
    let end = heredoc.map_or(instruction.span.end, |heredoc| heredoc.span.start);
    let end = text[..end].trim_end().len().max(instruction.span.start);
    let start = text[..end].rfind('\n').map_or(0, |at| at + 1);
    Span::new(start, end)
}
