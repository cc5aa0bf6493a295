//! Whole files: bytes to text, text to tree, and the rules that need more than one instruction.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Severity, SourceFile, Span, Spanned};

use super::ast::{Command, Directives, Dockerfile, Instruction};
use super::directive;
use super::grammar::{self, Node, Rule};
use super::heredoc::{self, Marker};
use super::instruction::{self, Line};
use super::limit;
use super::lines::{Lines, Logical};
use super::problem::{self, Problems, Wrong};

/// Takes the bytes of a Dockerfile as text.
///
/// The error has the place of the first byte that is not UTF-8, or says that the file is larger
/// than [`limit::FILE_BYTES`]; a caller that reads should stop one byte behind that limit.
pub fn parse_bytes(
    name: impl Into<String>,
    bytes: Vec<u8>,
) -> Result<Arc<SourceFile>, Box<Diagnostic>> {
    let name = name.into();
    if bytes.len() > limit::FILE_BYTES {
        let empty = SourceFile::new(name, "");
        return Err(Box::new(problem::file_too_large(&empty, bytes.len())));
    }
    String::from_utf8(bytes)
        .map(|text| SourceFile::new(name.clone(), text))
        .map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            let help = match bytes {
                [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
                    "it looks like UTF-16: save the file as UTF-8"
                }
                _ => "save the file as UTF-8; write other bytes with printf in a RUN",
            };
            let message = format!(
                "the Dockerfile is not valid UTF-8: byte 0x{:02x} at offset {at}",
                bytes.get(at).copied().unwrap_or_default()
            );
            let source = SourceFile::new(name, String::from_utf8_lossy(bytes));
            let span = Span::new(at, at + '\u{FFFD}'.len_utf8());
            Box::new(Diagnostic::error("not-utf-8", &source, span, message).help(help))
        })
}

/// Parses a Dockerfile. Wrong instructions become [`Command::Error`] beside a diagnostic; without
/// an error among the diagnostics the file has at least one stage and nothing but ARG before it.
pub fn parse(source: &Arc<SourceFile>) -> (Dockerfile, Vec<Diagnostic>) {
    let mut parser = Parser::new(source);
    if source.text.len() > limit::FILE_BYTES {
        let problem = problem::file_too_large(source, source.text.len());
        parser.problems.push(problem);
        return parser.finish();
    }
    let zone = directive::zone(source, &mut parser.problems);
    parser.file.directives = zone.directives;
    parser.instructions(zone.end);
    check_stages(&parser.file, &mut parser.problems);
    parser.finish()
}

/// Parses an ONBUILD trigger as it is stored in an image config: one instruction, here-documents
/// behind it. `name` says in diagnostics where it comes from, such as `ONBUILD of node:22`.
pub fn parse_trigger(name: &str, text: &str) -> (Dockerfile, Vec<Diagnostic>) {
    let source = SourceFile::new(name, text);
    let mut parser = Parser::new(&source);
    if text.len() > limit::INSTRUCTION_BYTES {
        let problem = problem::instruction_too_long(&source, Span::default());
        parser.problems.push(problem);
        return parser.finish();
    }
    parser.instructions(0);
    let problems = Problems::new(&source);
    let wrong = match parser.file.instructions.as_slice() {
        [one] => instruction::forbidden_trigger(&one.command, &one.keyword, &problems),
        _ => Some(problems.error(
            "invalid-trigger",
            Span::new(0, text.len()),
            "onbuild trigger should be a single expression",
        )),
    };
    parser.problems.extend(wrong.map(Wrong::diagnostic));
    parser.finish()
}

/// An error in the one line that scripts know: `dockerfile parse error on line 3: unknown
/// instruction: COPPY`. The help is left out.
pub fn describe(problem: &Diagnostic) -> String {
    match (problem.severity, problem.code) {
        (Severity::Error, "empty-dockerfile" | "no-stages" | "dockerfile-too-large") => {
            problem.message.clone()
        }
        (Severity::Error, _) => format!(
            "dockerfile parse error on line {}: {}",
            problem.line(),
            problem.message
        ),
        (Severity::Warning, code) => {
            format!("{code}: {} (line {})", problem.message, problem.line())
        }
    }
}

/// So many instructions are made room for, if a file has as many lines.
const RESERVED: usize = 1024;

/// What parsing a file is at.
struct Parser<'a> {
    source: &'a Arc<SourceFile>,
    file: Dockerfile,
    problems: Vec<Diagnostic>,
    /// How many words there may still be.
    words: usize,
}

impl<'a> Parser<'a> {
    fn new(source: &'a Arc<SourceFile>) -> Self {
        Self {
            source,
            file: Dockerfile {
                source: Arc::clone(source),
                directives: Directives::default(),
                instructions: Vec::new(),
            },
            problems: Vec::new(),
            words: limit::WORDS,
        }
    }

    fn finish(self) -> (Dockerfile, Vec<Diagnostic>) {
        (self.file, self.problems)
    }

    /// Reads instructions from `start` to the end of the file or to a limit.
    fn instructions(&mut self, start: usize) {
        // A list that grows by doubling touches new memory each time.
        let rest = self.source.text.get(start..).unwrap_or_default();
        let lines = rest.lines().take(RESERVED).count();
        self.file.instructions.reserve(lines);
        let mut lines = Lines::new(self.source, self.file.escape(), start);
        while let Some(logical) = lines.logical(&mut self.problems) {
            let instruction = self.instruction(logical, &mut lines);
            let span = instruction.span;
            self.file.instructions.push(instruction);
            let too_many = if self.file.instructions.len() >= limit::INSTRUCTIONS {
                "instructions"
            } else if self.words == 0 {
                "words"
            } else if self.problems.len() >= limit::ERRORS {
                "errors"
            } else {
                continue;
            };
            self.problems
                .push(problem::too_many(self.source, span, too_many));
            return;
        }
    }

    /// Reads one instruction and its here-documents.
    fn instruction(&mut self, mut logical: Logical, lines: &mut Lines<'_>) -> Instruction {
        let comments = std::mem::take(&mut logical.comments);
        let problems = Problems::new(self.source);
        let statement = grammar::recognise(Rule::line, &logical).and_then(|mut nodes| nodes.next());
        let Some(statement) = statement else {
            let span = logical.whole();
            let error = problems.error("syntax", span, "dockerfile parse error");
            self.problems.push(error.diagnostic());
            return error_instruction(&logical, comments);
        };
        let markers = if instruction::takes_heredocs(&statement) {
            heredoc::markers(&logical)
        } else {
            Vec::new()
        };
        let mut end = logical.whole().end;
        let mut heredocs = Vec::with_capacity(markers.len());
        for marker in markers {
            let body = lines.body(&marker, &mut self.problems);
            end = end.max(body.all.end);
            heredocs.push((marker.offset, heredoc::heredoc(self.source, &marker, &body)));
            if !body.terminated {
                self.unterminated(&marker);
                break;
            }
        }
        self.charge(&statement, heredocs.len());
        let line = Line {
            problems,
            heredocs,
            end,
        };
        let (mut instruction, problem) = line.instruction(&statement);
        self.problems.extend(problem.map(Wrong::diagnostic));
        instruction.comments = comments;
        instruction.empty_continuation = logical.empty_continuation;
        instruction
    }

    fn unterminated(&mut self, marker: &Marker) {
        let problem = Problems::new(self.source).unterminated_heredoc(marker.span, &marker.name);
        self.problems.push(problem.diagnostic());
    }

    /// Counts the words of an instruction against the limit of the file.
    fn charge(&mut self, statement: &Node<'_>, heredocs: usize) {
        let words = statement.children().count() + heredocs;
        self.words = self.words.saturating_sub(words);
    }
}

/// An instruction that the grammar does not recognise at all.
fn error_instruction(logical: &Logical, comments: Vec<Spanned<String>>) -> Instruction {
    let text = logical.shown();
    let keyword = text.split_whitespace().next().unwrap_or_default();
    Instruction {
        span: logical.whole(),
        keyword: Spanned::new(keyword.to_owned(), logical.span(1, 1 + keyword.len())),
        text: text.to_owned(),
        command: Command::Error,
        comments,
        empty_continuation: logical.empty_continuation,
    }
}

/// There must be a stage, and only ARG may stand before it.
fn check_stages(file: &Dockerfile, found: &mut Vec<Diagnostic>) {
    let problems = Problems::new(&file.source);
    if file.instructions.is_empty() {
        if found.is_empty() {
            let message = if file.source.text.is_empty() {
                "the Dockerfile cannot be empty"
            } else {
                "file with no instructions"
            };
            let help = "start with `FROM image`";
            let at = ("empty-dockerfile", Span::default());
            let wrong = problems.error_with_help(at, message, help);
            found.push(wrong.diagnostic());
        }
        return;
    }
    let mut has_stage = false;
    for instruction in &file.instructions {
        match &instruction.command {
            // A wrong FROM still opens a stage: its own diagnostic is enough.
            _ if instruction.keyword.value.eq_ignore_ascii_case("FROM") => {
                has_stage = true;
                break;
            }
            Command::Arg(_) => {}
            Command::Error => return,
            _ => {
                let wrong = problems.error_with_help(
                    ("no-stage-yet", instruction.keyword.span),
                    "no build stage in current context",
                    "put `FROM image` before it",
                );
                found.push(wrong.diagnostic());
                return;
            }
        }
    }
    if !has_stage && found.is_empty() {
        let last = file.instructions.last().map(|last| last.span);
        let wrong = problems.error_with_help(
            ("no-stages", last.unwrap_or_default()),
            "dockerfile contains no stages to build",
            "add `FROM image`",
        );
        found.push(wrong.diagnostic());
    }
}
