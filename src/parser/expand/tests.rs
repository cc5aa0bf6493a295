//! Tests of word expansion: the tables of `testdata/words` and what must hold for any text.

use proptest::prelude::*;

use super::*;

/// One line of a table.
struct Row {
    place: String,
    input: String,
    env: Vec<(String, String)>,
    expected: String,
}

/// The rows of a table: `input | NAME=value;… | expected`.
fn table(name: &str) -> Vec<Row> {
    let path = format!("{}/testdata/words/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("# ") {
            continue;
        }
        let mut fields = line.splitn(3, '|').map(str::trim);
        let (input, env, expected) = (
            fields.next().unwrap(),
            fields.next().unwrap(),
            fields.next().unwrap(),
        );
        let pairs = env.split(';').filter_map(|pair| pair.split_once('='));
        rows.push(Row {
            place: format!("{name}:{}: {line}", number + 1),
            input: input.to_owned(),
            env: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            expected: expected.replace("<>", ""),
        });
    }
    assert!(!rows.is_empty());
    rows
}

fn shown(result: Result<String, ExpandError>) -> String {
    result.unwrap_or_else(|error| format!("error: {}", error.problem))
}

#[test]
fn words_expand_as_the_table_says() {
    for (name, escape) in [("word", '\\'), ("backtick", '`')] {
        for row in table(name) {
            let result = process_word(&row.input, escape, &row.env);
            let text = shown(result.map(|expanded| expanded.value));
            assert_eq!(text, row.expected, "{}", row.place);
        }
    }
}

#[test]
fn words_split_as_the_table_says() {
    for row in table("words") {
        let result = process_words(&row.input, '\\', &row.env);
        let text = shown(result.map(|expanded| expanded.value.join(",")));
        assert_eq!(text, row.expected, "{}", row.place);
    }
}

#[test]
fn heredocs_expand_as_the_table_says() {
    for row in table("heredoc") {
        let result = process_heredoc(&row.input.replace('~', "\n"), &row.env);
        let text = shown(result.map(|expanded| expanded.value.replace('\n', "~")));
        assert_eq!(text, row.expected, "{}", row.place);
    }
}

#[test]
fn unquoting_expands_nothing() {
    for row in table("unquote") {
        let text = shown(unquote(&row.input, '\\'));
        assert_eq!(text, row.expected, "{}", row.place);
    }
}

#[test]
fn names_are_told_apart_by_whether_they_were_set() {
    let env = vec![
        ("A".to_owned(), String::new()),
        ("B".to_owned(), "b".to_owned()),
    ];
    let expanded = process_word("$A${B:+$C}${D:-$E}$B", '\\', &env).unwrap();
    assert!(expanded.used.iter().eq(["A", "B"]));
    assert!(expanded.unset.iter().eq(["C", "D", "E"]));
}

#[test]
fn a_later_pair_of_the_same_name_wins() {
    let env = vec![
        ("A".to_owned(), "1".to_owned()),
        ("A".to_owned(), "2".to_owned()),
    ];
    assert_eq!(process_word("$A", '\\', &env).unwrap().value, "2");
}

#[test]
fn an_error_points_into_the_word() {
    let error = process_word("abc${v?no}d", '\\', &NoVariables).unwrap_err();
    assert_eq!(error.range, 3..10);
    assert_eq!(
        error.to_string(),
        "failed to process \"abc${v?no}d\": v: no"
    );
}

#[test]
fn growth_and_depth_are_bounded() {
    let env = vec![("A".to_owned(), "x".repeat(GROWTH / 2))];
    let problem = |raw: &str| process_word(raw, '\\', &env).unwrap_err().problem;
    assert_eq!(problem("$A$A$A"), Problem::TooLong);
    assert_eq!(problem("\"$A$A$A\""), Problem::TooLong);
    assert_eq!(problem("${A//x/yyy}"), Problem::TooLong);
    let deep = format!("{}{}", "${B:-".repeat(DEPTH + 1), "}".repeat(DEPTH + 1));
    assert_eq!(problem(&deep), Problem::TooDeep);
    let pattern = format!("${{A#{}}}", "*a".repeat(5000));
    assert!(matches!(problem(&pattern), Problem::PatternSize(_)));
}

/// Texts that are dense in what matters.
fn any_word() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "$", "{", "}", "${", "${v", ":", "-", "+", "?", "#", "%", "/", "\\", "`", "'", "\"", "v",
        "W", "*", " ", "\t", "é", "<", "\n", "1",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn expansion_never_panics(raw in any_word(), backtick: bool) {
        let env = vec![("v".to_owned(), "a é*/".to_owned())];
        let escape = if backtick { '`' } else { '\\' };
        for result in [
            process_word(&raw, escape, &env).map(|_| ()),
            process_words(&raw, escape, &env).map(|_| ()),
            process_heredoc(&raw, &env).map(|_| ()),
            unquote(&raw, escape).map(|_| ()),
        ] {
            if let Err(error) = result {
                prop_assert!(raw.get(error.range.clone()).is_some(), "{:?}", error.range);
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn single_quotes_keep_anything_but_themselves(text in "[^']*") {
        let quoted = format!("'{text}'");
        prop_assert_eq!(process_word(&quoted, '\\', &NoVariables).unwrap().value, text);
    }

    #[test]
    fn words_joined_are_the_word_without_blanks(raw in any_word()) {
        let env = vec![("v".to_owned(), "a b".to_owned())];
        if let Ok(words) = process_words(&raw, '\\', &env) {
            let whole = process_word(&raw, '\\', &env).unwrap();
            let squeeze = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(squeeze(&words.value.concat()), squeeze(&whole.value));
            prop_assert_eq!(words.unset, whole.unset);
        }
    }
}
