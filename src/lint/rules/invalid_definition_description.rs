//! `InvalidDefinitionDescription` (experimental): the comment directly above an ARG or a named FROM
//! starts with the name it describes.

use crate::lint::check::{Findings, Pass};
use crate::parser::ast::Command;

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    for instruction in &pass.file.instructions {
        let (keyword, names): (&str, Vec<String>) = match &instruction.command {
            Command::From(from) => {
                let name = from.name.iter().map(|name| name.value.to_lowercase());
                ("FROM", name.collect())
            }
            Command::Arg(args) => {
                let names = args.iter().map(|arg| arg.name.raw.clone());
                ("ARG", names.collect())
            }
            _ => continue,
        };
        let Some(comment) = instruction.comments.last().map(|comment| &comment.value) else {
            continue;
        };
        let first = comment.split(' ').next().unwrap_or_default();
        if comment.is_empty() || names.is_empty() || names.iter().any(|name| name == first) {
            continue;
        }
        let example = match names.as_slice() {
            [name] => name,
            _ => "<arg_key>",
        };
        let message =
            format!("Comment for {keyword} should follow the format: `# {example} <description>`");
        findings.report(instruction, instruction.keyword.span, message);
    }
}
