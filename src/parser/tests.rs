//! Tests of the room as a whole.

use std::fmt::Write as _;
use std::sync::LazyLock;

use proptest::prelude::*;
use regex::Regex;

use crate::diagnostic::{Diagnostic, SourceFile};

use super::ast::{Command, Dockerfile, ShellOrExec};
use super::{describe, format, limit, parse, parse_bytes, parse_trigger};

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

/// A place in a debug print.
static SPAN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"Span \{ start: (\d+), end: (\d+) \}").unwrap());

/// What a canonical print may change: the text of instructions, blank lines in them.
static LOOSE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"text: "(?:[^"\\]|\\.)*"|empty_continuation: (None|Some\(@\))"#).unwrap()
});

/// A tree without places and without what a canonical print may change.
fn bare(file: &Dockerfile) -> String {
    let text = format!("{:?} {:?}", file.directives, file.instructions);
    let text = SPAN.replace_all(&text, "@").into_owned();
    LOOSE.replace_all(&text, "").into_owned()
}

/// The cases of a folder of `testdata`, sorted by name.
fn cases(folder: &str) -> Vec<(String, String)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(root.join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if let Ok(text) = std::fs::read_to_string(path.join("Dockerfile")) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            cases.push((name, text));
        }
    }
    cases.sort();
    assert!(!cases.is_empty(), "no case in {folder}");
    cases
}

/// Compares with `testdata/<folder>/<case>/<name>.snap`.
fn snapshot(folder: &str, case: &str, name: &str, text: &str) {
    let path = format!("{}/testdata/{folder}/{case}", env!("CARGO_MANIFEST_DIR"));
    insta::with_settings!({
        snapshot_path => path, prepend_module_to_snapshot => false, omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

/// A tree in few characters: places as `start..end`, the source left out.
fn dump(file: &Dockerfile) -> String {
    let text = format!("{:#?}\n{:#?}", file.directives, file.instructions);
    let rules = [
        (r"Span \{\s+start: (\d+),\s+end: (\d+),\s+\}", "$1..$2"),
        (
            r"(Spanned|Word) \{\s+(?:value|raw): (.+),\s+span: (\d+\.\.\d+),\s+\}",
            "$2 @ $3",
        ),
        (
            r"(Some|Shell|User|Workdir|Maintainer|StopSignal|Path)\(\s+(.+),\s+\)",
            "$1($2)",
        ),
        (r"(?m)^ +(\w+: (None|false|\[\]),)\n", ""),
    ];
    rules.iter().fold(text, |text, (pattern, replacement)| {
        let pattern = Regex::new(pattern).unwrap();
        pattern.replace_all(&text, *replacement).into_owned()
    })
}

#[test]
fn public_dockerfiles_parse_without_a_diagnostic() {
    let cases = cases("dockerfiles");
    assert!(cases.len() >= 60);
    for (name, text) in cases {
        let (_, found) = parse(&SourceFile::new(name.as_str(), text));
        assert_eq!(shown(&found), "", "in {name}");
    }
}

#[test]
fn every_form_of_every_instruction_gives_its_tree() {
    for (name, text) in cases("dockerfiles-own") {
        snapshot("dockerfiles-own", &name, "ast", &dump(&good(&text)));
    }
}

#[test]
fn every_mistake_has_its_words_its_place_and_its_remedy() {
    for (name, text) in cases("dockerfiles-bad") {
        let (_, found) = parse(&SourceFile::new("Dockerfile", text));
        assert!(!found.is_empty(), "{name} has no problem");
        let mut shown = String::new();
        for problem in &found {
            let place = |offset| {
                let (line, column) = problem.source.line_column(offset);
                format!("{line}:{column}")
            };
            let (start, end) = (place(problem.span.start), place(problem.span.end));
            let (code, message) = (problem.code, &problem.message);
            let help = problem.help.as_deref().unwrap_or("none");
            writeln!(shown, "{start}-{end} {code}: {message}\n    help: {help}").unwrap();
        }
        snapshot("dockerfiles-bad", &name, "error", &shown);
    }
}

#[test]
fn a_print_parses_to_the_same_tree() {
    for folder in ["dockerfiles", "dockerfiles-own"] {
        for (name, text) in cases(folder) {
            let file = good(&text);
            let print = format::print(&file);
            let again = good(&print);
            assert_eq!(bare(&file), bare(&again), "of {name}, printed:\n{print}");
            assert_eq!(print, format::print(&again), "of {name}");
        }
    }
}

/// Every place that a tree or a diagnostic names, by way of its debug print.
fn spans(text: &str) -> Vec<(usize, usize)> {
    let number = |text: &str| text.parse().unwrap();
    SPAN.captures_iter(text)
        .map(|found| (number(&found[1]), number(&found[2])))
        .collect()
}

/// What must hold of any text: no panic, places inside the text, and a tree that survives printing.
fn check_any(text: &str) -> Result<(), TestCaseError> {
    let source = SourceFile::new("Dockerfile", text);
    let (file, found) = parse(&source);
    for problem in &found {
        let place = source.text.get(problem.span.range());
        prop_assert!(place.is_some(), "{:?} of {problem:?}", problem.span);
        prop_assert!(!describe(problem).is_empty());
    }
    for (start, end) in spans(&format!("{:?}", file.instructions)) {
        prop_assert!(text.get(start..end).is_some(), "{start}..{end} in {file:?}");
    }
    if found.is_empty() {
        let print = format::print(&file);
        let (again, problems) = parse(&SourceFile::new("Dockerfile", print.as_str()));
        prop_assert_eq!(shown(&problems), "", "printed:\n{}", print);
        prop_assert_eq!(bare(&file), bare(&again), "printed:\n{}", print);
    }
    Ok(())
}

/// Pieces that Dockerfiles are made of, right or wrong.
fn any_file() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "FROM a\n",
        "FROM ",
        "RUN ",
        "COPY ",
        "ADD ",
        "ENV ",
        "LABEL ",
        "ARG ",
        "CMD ",
        "ONBUILD ",
        "HEALTHCHECK ",
        "VOLUME ",
        "SHELL ",
        "EXPOSE ",
        "USER ",
        "MAINTAINER ",
        "--from=",
        "--link ",
        "--mount=",
        "--interval=",
        "type=cache,",
        "-- ",
        "\\\n",
        "`\n",
        "\n",
        "\r\n",
        " ",
        "\t",
        "\u{a0}",
        "\u{b}",
        "#",
        "# escape=`\n",
        "# check=a\n",
        "<<EOF ",
        "<<-'B' ",
        "<<",
        "EOF\n",
        "\tB\n",
        "[",
        "]",
        "\"",
        "'",
        ",",
        "=",
        "a",
        "é",
        "\\",
        "`",
        "$",
        "{",
        "}",
        "<",
        "1s ",
        "\0",
        "\u{feff}",
        "AS ",
        "CMD [\"a\"]\n",
        "\\u00e9",
        "NONE",
    ]);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// A Dockerfile of the corpora with some of its text replaced.
fn mutated_file() -> impl Strategy<Value = String> {
    let texts: Vec<String> = ["dockerfiles", "dockerfiles-own", "dockerfiles-bad"]
        .into_iter()
        .flat_map(cases)
        .map(|(_, text)| text)
        .collect();
    let edit = (any::<prop::sample::Index>(), 0_usize..20, any_file());
    let edits = prop::collection::vec(edit, 1..4);
    (prop::sample::select(texts), edits).prop_map(|(mut text, edits)| {
        for (at, length, insert) in edits {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, &insert);
        }
        text
    })
}

proptest! {
    #[test]
    fn parser_never_panics_and_spans_are_in_range(text in any_file()) {
        check_any(&text)?;
    }

    #[test]
    fn mutated_dockerfiles_keep_the_promises_too(text in mutated_file()) {
        check_any(&text)?;
    }

    #[test]
    fn any_bytes_are_text_or_a_diagnostic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        match parse_bytes("Dockerfile", bytes) {
            Ok(source) => check_any(&source.text)?,
            Err(problem) => {
                prop_assert_eq!(problem.code, "not-utf-8");
                prop_assert!(problem.source.text.get(problem.span.range()).is_some());
            }
        }
    }

    #[test]
    fn triggers_never_panic(text in any_file()) {
        let (file, found) = parse_trigger("ONBUILD of a", &text);
        prop_assert!(!found.is_empty() || file.instructions.len() == 1);
    }
}

#[test]
fn what_is_not_utf_8_is_diagnosed_at_its_place() {
    let path = format!(
        "{}/testdata/dockerfiles-bad/not-utf-8.bin",
        env!("CARGO_MANIFEST_DIR")
    );
    let problem = parse_bytes("Dockerfile", std::fs::read(path).unwrap()).unwrap_err();
    assert_eq!(problem.source.line_column(problem.span.start), (2, 8));
    assert_eq!(
        problem.message,
        "the Dockerfile is not valid UTF-8: byte 0xe9 at offset 14"
    );
    let utf_16 = b"\xff\xfeF\0R\0O\0M\0".to_vec();
    let problem = parse_bytes("Dockerfile", utf_16).unwrap_err();
    assert!(problem.help.unwrap().contains("UTF-16"));
}

#[test]
fn sizes_are_bounded_by_a_diagnostic() {
    let codes = |text: String| -> Vec<&str> {
        let (_, found) = parse(&SourceFile::new("Dockerfile", text));
        found.iter().map(|problem| problem.code).collect()
    };
    let huge = vec![b'a'; limit::FILE_BYTES + 1];
    let problem = parse_bytes("Dockerfile", huge).unwrap_err();
    assert_eq!(problem.code, "dockerfile-too-large");
    assert_eq!(
        codes("\n".repeat(limit::FILE_BYTES + 1)),
        ["dockerfile-too-large"]
    );
    assert_eq!(
        codes(format!(
            "FROM a\n{}",
            "USER b\n".repeat(limit::INSTRUCTIONS)
        )),
        ["dockerfile-too-large"]
    );
    let line = format!("EXPOSE {}\\\n", "1 ".repeat(30_000));
    assert_eq!(
        codes(format!("FROM a\n{}", line.repeat(20))),
        ["instruction-too-long"]
    );
    let line = format!("EXPOSE {}\n", "1 ".repeat(30_000));
    assert_eq!(
        codes(format!("FROM a\n{}", line.repeat(40))),
        ["dockerfile-too-large"]
    );
    let errors = codes(format!("FROM a\n{}", "x\n".repeat(200)));
    assert_eq!(errors.len(), limit::ERRORS + 1);
    let longest = "x".repeat(limit::PHYSICAL_LINE_BYTES - 4);
    assert!(codes(format!("FROM a\nRUN {longest}\n")).is_empty());
    assert_eq!(
        codes(format!("FROM a\nRUN {longest}y\n")),
        ["line-too-long"]
    );
}

#[test]
fn long_instructions_are_printed_over_several_lines() {
    let text = format!("FROM a\nRUN {}", "echo a b \\\\\\\n #c;".repeat(20_000));
    let file = good(&text);
    let print = format::print(&file);
    assert!(
        print
            .lines()
            .all(|line| line.len() <= limit::PHYSICAL_LINE_BYTES)
    );
    assert_eq!(bare(&file), bare(&good(&print)));
}

#[test]
fn nothing_nests_deep_enough_to_hurt() {
    for text in [
        format!("FROM a\nRUN {}", "[".repeat(60_000)),
        format!("FROM a\nCOPY {} b", "{\"a\":".repeat(10_000)),
        format!("FROM a\n{} RUN b", "ONBUILD ".repeat(7_000)),
        format!("FROM a\nENV {}", "'\"".repeat(30_000)),
        format!("FROM a\nRUN {}", "<<A ".repeat(15_000)),
    ] {
        check_any(&text).unwrap();
    }
}

#[test]
fn messages_can_be_had_as_scripts_expect_them() {
    let (_, found) = parse(&SourceFile::new("Dockerfile", "FROM a\n\nCOPPY b\n"));
    assert_eq!(
        describe(&found[0]),
        "dockerfile parse error on line 3: unknown instruction: COPPY"
    );
    let (_, found) = parse(&SourceFile::new("Dockerfile", ""));
    assert_eq!(describe(&found[0]), "the Dockerfile cannot be empty");
}

#[test]
fn durations_are_read_as_go_reads_them() {
    for (text, expected) in [
        ("0", Ok((0, false))),
        ("1h2m3s", Ok((3_723_000_000_000, false))),
        ("1.5s", Ok((1_500_000_000, false))),
        (".5ms", Ok((500_000, false))),
        ("1us1µs1μs1ns", Ok((3_001, false))),
        ("-1s", Ok((1_000_000_000, true))),
        ("+1s", Ok((1_000_000_000, false))),
        ("", Err(r#"time: invalid duration """#)),
        ("-", Err(r#"time: invalid duration "-""#)),
        ("s", Err(r#"time: invalid duration "s""#)),
        (".s", Err(r#"time: invalid duration ".s""#)),
        ("9999999h", Err(r#"time: invalid duration "9999999h""#)),
        (
            "99999999999999999999s",
            Err(r#"time: invalid duration "99999999999999999999s""#),
        ),
        ("10", Err(r#"time: missing unit in duration "10""#)),
        ("1.", Err(r#"time: missing unit in duration "1.""#)),
        ("1m10", Err(r#"time: missing unit in duration "1m10""#)),
        ("1d", Err(r#"time: unknown unit "d" in duration "1d""#)),
        ("1 s", Err(r#"time: unknown unit " s" in duration "1 s""#)),
        (
            "1é\"",
            Err(r#"time: unknown unit "\xc3\xa9\"" in duration "1\xc3\xa9\"""#),
        ),
    ] {
        let expected = expected.map_err(str::to_owned);
        assert_eq!(super::duration::parse(text), expected, "{text}");
    }
}

#[test]
fn csv_records_split_as_go_splits_them() {
    let split = |record: &str| match super::mount::split(record) {
        Ok(fields) => fields
            .into_iter()
            .map(|field| format!("{}@{}", field.text, field.at))
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) => error.to_string(),
    };
    assert_eq!(split("a=1,b"), "a=1@0 b@4");
    assert_eq!(split("\"a,b\",c"), "a,b@0 c@6");
    assert_eq!(split("\"a\"\"b\""), "a\"b@0");
    assert_eq!(split(",a,"), "@0 a@1 @3");
    assert_eq!(split(""), "EOF");
    assert!(split("a\"b").contains("column 2: bare"));
    assert!(split("\"a").contains("extraneous or missing"));
    assert!(split("\"a\"b").contains("extraneous or missing"));
}

#[test]
fn the_syntax_of_other_languages_is_found() {
    for text in [
        "#!/usr/bin/env x\n# syntax=a/b:1\n",
        "//syntax=a/b:1\nfoo\n",
        "{\"syntax\": \"a/b:1\", \"x\": 1}",
        "# check=skip=all\n# escape=`\n# SYNTAX = a/b:1\nFROM a\n",
    ] {
        let (file, _) = parse(&SourceFile::new("x", text));
        let syntax = file.directives.syntax.map(|syntax| syntax.value);
        assert_eq!(syntax.as_deref(), Some("a/b:1"), "in {text:?}");
    }
}

#[test]
fn comments_directly_above_describe_stages_and_arguments() {
    let file = good("# a not this\n\n# about\n# b is the base\nFROM x AS b\n");
    let from = &file.instructions[0];
    assert_eq!(from.description("b"), Some("is the base"));
    assert_eq!(from.description("a"), None);
    assert_eq!(from.description("abou"), None);
}

#[test]
fn many_heredocs_of_one_instruction_are_matched_fast() {
    let words = "<<A \\\n".repeat(20_000);
    let file = good(&format!("FROM a\nCOPY {words} /\n{}", "A\n".repeat(20_000)));
    let Command::Copy(copy) = &file.instructions[1].command else {
        panic!("no COPY");
    };
    assert_eq!(copy.sources.len(), 20_000);
}
