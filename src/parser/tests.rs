//! Tests of the room as a whole.

use std::fmt::Write as _;

use crate::diagnostic::{Diagnostic, SourceFile};

use super::ast::{Command, Dockerfile, ShellOrExec};
use super::{parse, parse_trigger};

/// Parses a text and shows its problems, one a line.
fn problems(text: &str) -> String {
    shown(&parse(&SourceFile::new("Dockerfile", text)).1)
}

fn shown(problems: &[Diagnostic]) -> String {
    let mut lines = String::new();
    for problem in problems {
        let (line, column) = problem.source.line_column(problem.span.start);
        writeln!(
            lines,
            "{line}:{column}: {}: {}",
            problem.code, problem.message
        )
        .unwrap();
    }
    lines
}

/// Parses a text that must be right.
fn good(text: &str) -> Dockerfile {
    let (file, found) = parse(&SourceFile::new("Dockerfile", text));
    assert_eq!(shown(&found), "", "in {text:?}");
    file
}

#[test]
fn a_heredoc_of_run_is_kept_beside_its_text() {
    let file = good("FROM a\nRUN <<-EOF cat \\\n  | sh\n\tone\n\t\ttwo\n\tEOF\nUSER b\n");
    let Command::Run(run) = &file.instructions[1].command else {
        panic!("no RUN");
    };
    let ShellOrExec::Shell(text) = &run.command else {
        panic!("no shell form");
    };
    assert_eq!(text.value, "<<-EOF cat   | sh");
    assert_eq!(run.heredocs[0].body, "one\ntwo\n");
    assert_eq!(run.heredocs[0].raw, "\tone\n\t\ttwo\n\tEOF\n");
    assert_eq!(file.instructions.len(), 3);
}

#[test]
fn an_unknown_instruction_is_named() {
    assert_eq!(
        problems("FROM a\nCOPPY b c\n"),
        "2:1: unknown-instruction: unknown instruction: COPPY\n"
    );
}

#[test]
fn a_trigger_is_one_instruction_with_its_heredocs() {
    let file = good("FROM a\nONBUILD COPY <<EOF /x\nhi\nEOF\n");
    let Command::Onbuild(onbuild) = &file.instructions[1].command else {
        panic!("no ONBUILD");
    };
    assert_eq!(onbuild.text, "COPY <<EOF /x\nhi\nEOF");
    let (trigger, found) = parse_trigger("ONBUILD of a", &onbuild.text);
    assert_eq!(shown(&found), "");
    assert!(matches!(trigger.instructions[0].command, Command::Copy(_)));
}
