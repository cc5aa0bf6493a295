//! Patterns against tables of what Docker decides, and against a second implementation.

use proptest::prelude::*;

use super::*;

/// The cases of a table: fields separated by bars, comments and blank lines left out.
fn cases(table: &str) -> impl Iterator<Item = Vec<&str>> {
    table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("# "))
        .map(|line| {
            let mut fields: Vec<_> = line.rsplitn(3, " | ").map(str::trim).collect();
            fields.reverse();
            fields
        })
}

#[test]
fn ignore_rules_decide_as_docker_does() {
    let mut count = 0;
    for case in cases(include_str!("../../testdata/ignore/table.txt")) {
        let [rules, path, expected] = case[..] else {
            panic!("{case:?}")
        };
        let text = rules.replace(" ; ", "\n").replace("\\s", " ");
        let ignore = Ignore::parse(&text).unwrap();
        let answer = if ignore.excluded(path) {
            "ignored"
        } else {
            "kept"
        };
        assert_eq!(answer, expected, "{path} by {rules}");
        count += 1;
    }
    assert!(count > 60, "{count}");
}

#[test]
fn paths_of_which_nothing_is_left_are_told() {
    for (rules, path, expected) in [
        ("*", "", true),
        ("/*", "", true),
        ("**", "", true),
        ("**/*", "", true),
        (".*", "", false),
        ("*\n!a", "", false),
        ("a", "", false),
        ("*\n!a/b", "a", false),
        ("*\n!a/b", "c", true),
        ("*\n!a/b", "a/c", true),
        ("*\n!a/b", "a/b", false),
        ("a", "a/b", true),
    ] {
        let ignore = Ignore::parse(rules).unwrap();
        assert_eq!(ignore.excludes_wholly(path), expected, "{path} by {rules}");
    }
}

#[test]
fn globs_match_as_filepath_match_does() {
    for case in cases(include_str!("../../testdata/ignore/globs.txt")) {
        let [pattern, path, expected] = case[..] else {
            panic!("{case:?}")
        };
        let matches = Glob::new(pattern).unwrap().matches(path);
        assert_eq!(matches, expected == "yes", "{path} by {pattern}");
    }
}

#[test]
fn malformed_patterns_are_errors_with_a_remedy() {
    use crate::failure::Explain as _;
    for line in include_str!("../../testdata/ignore/malformed.txt").lines() {
        let error = Ignore::parse(line).unwrap_err();
        assert!(!error.hints().is_empty(), "{line}");
        let lone = line.trim() == "!";
        assert_eq!(error == PatternError::IllegalException, lone, "{line}");
        assert_eq!(Glob::new(line.trim()).is_err(), !lone, "{line}");
    }
    assert_eq!(
        Ignore::parse("!").unwrap_err().to_string(),
        "illegal exclusion pattern: \"!\""
    );
}

#[test]
fn a_byte_order_mark_carriage_returns_and_foreign_bytes_are_understood() {
    let ignore = Ignore::parse(b"\xEF\xBB\xBF# comment\r\na\r\n\r\n\tb \r\nx\xFF\n").unwrap();
    for path in [&b"a"[..], b"b", b"x\xFF"] {
        assert!(ignore.excluded(path), "{path:?}");
    }
    assert!(!ignore.excluded("# comment"));
    assert!(Ignore::parse("").unwrap().is_empty());
    assert!(Ignore::parse("?").unwrap().excluded(b"\xFF"));
}

#[test]
fn directories_are_pruned_when_nothing_in_them_can_come_back() {
    for (rules, directory, may) in [
        ("node_modules", "node_modules", false),
        ("node_modules\n!src", "node_modules", false),
        ("node_modules\n!node_modules/a/b", "node_modules", true),
        ("node_modules\n!node_modules/a/b", "node_modules/a", true),
        ("node_modules\n!node_modules/a/b", "node_modules/b", false),
        ("node_modules\n!**/keep", "node_modules/x/y", true),
        ("!node_modules/a\nnode_modules", "node_modules", false),
        ("*\n!*/x", "a", true),
        ("*\n!*/x", "a/b", false),
        ("*\n!ab*/x", "ac", false),
    ] {
        let ignore = Ignore::parse(rules).unwrap();
        let mut inherited = Inherited::default();
        for (at, _) in directory.match_indices('/') {
            inherited = ignore.enter(&directory.as_bytes()[..at], &inherited).1;
        }
        let (excluded, inherited) = ignore.enter(directory.as_bytes(), &inherited);
        assert!(excluded, "{rules:?} {directory}");
        let answer = ignore.may_reinclude_below(directory.as_bytes(), &inherited);
        assert_eq!(answer, may, "{rules:?} {directory}");
    }
}

#[test]
fn a_literal_glob_matches_only_itself() {
    for path in ["a*b", "[x]", "back\\slash", "a/b?/c", "plain"] {
        let glob = Glob::literal(path.as_bytes());
        assert!(glob.matches(path) && !glob.has_wildcards(), "{path}");
    }
    let rebased = Glob::new("link/*.c").unwrap().rebased(b"r*al", 1);
    assert!(rebased.matches("r*al/x.c"));
    assert!(!rebased.matches("real/x.c"));
}

#[test]
fn deep_globs_cross_directories_and_tell_where_to_go() {
    let glob = DeepGlob::new("/src/**/*.rs").unwrap();
    assert!(glob.matches("src/a.rs") && glob.matches("src/a/b/c.rs"));
    assert!(!glob.matches("lib/a.rs") && !glob.matches("src/a.c"));
    assert!(glob.may_match_below("src/x") && glob.may_match_below(""));
    assert!(!glob.may_match_below("lib"));
}

#[test]
fn hostile_patterns_take_bounded_time() {
    let pattern = "**/*a".repeat(200) + "x*a";
    let path = "a/".repeat(1500);
    let ignore = Ignore::parse(&pattern).unwrap();
    // Exponential or cubic matching would never come back.
    assert!(!ignore.excludes(path.trim_end_matches('/').as_bytes(), &Inherited::default()));
}

/// moby/patternmatcher, straightforwardly: every rule a regular expression, every parent asked.
mod reference {
    use regex::Regex;

    pub(super) struct Rule {
        exception: bool,
        regex: Regex,
    }

    /// Port of `Pattern.compile`; the three shortcuts are regular expressions too.
    fn regex(pattern: &str) -> Option<Regex> {
        let mut text = String::new();
        let mut chars = pattern.chars().peekable();
        let (mut plain, mut index, mut leading) = (true, 0, false);
        while let Some(char) = chars.next() {
            match char {
                '*' if chars.next_if_eq(&'*').is_some() => {
                    let slash = chars.next_if_eq(&'/').is_some();
                    if chars.peek().is_none() {
                        text += "(?s:.)*";
                    } else {
                        text += "(?s:.*/)?";
                        leading |= index == 0 && !slash;
                        plain &= index == 0;
                    }
                }
                '*' => (text, plain) = (text + "[^/]*", false),
                '?' => (text, plain) = (text + "[^/]", false),
                '[' | ']' | '^' | '-' => (text, plain) = (text + &char.to_string(), false),
                '\\' => (text, plain) = (text + &regex::escape(&chars.next()?.to_string()), false),
                other => text += &regex::escape(&other.to_string()),
            }
            index += 1;
        }
        if leading && plain && !pattern[2..].contains('*') {
            text = format!("(?s:.*){}", regex::escape(&pattern[2..]));
        }
        Regex::new(&format!("^(?:{text})$")).ok()
    }

    pub(super) fn compile(rules: &[String]) -> Option<Vec<Rule>> {
        rules
            .iter()
            .map(|rule| {
                let exception = rule.starts_with('!');
                let pattern = rule.trim_start_matches('!');
                let regex = regex(pattern)?;
                Some(Rule { exception, regex })
            })
            .collect()
    }

    /// Port of `MatchesUsingParentResults`, called for each parent from the top.
    pub(super) fn excluded(rules: &[Rule], path: &str) -> bool {
        let mut parent = vec![false; rules.len()];
        let mut excluded = false;
        let ends = path.match_indices('/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            excluded = false;
            let mut matched = vec![false; rules.len()];
            for (index, rule) in rules.iter().enumerate() {
                let mut hit = parent[index];
                if !hit {
                    if rule.exception != excluded {
                        continue;
                    }
                    hit = rule.regex.is_match(&path[..end]);
                }
                matched[index] = hit;
                if hit {
                    excluded = !rule.exception;
                }
            }
            parent = matched;
        }
        excluded
    }
}

/// Patterns that are already clean, without what is deliberately different from regular
/// expressions: stars inside classes.
fn pattern() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "ab", "a", ".", "*", "**", "?", "[ab]", "[^a]", "\\a", "\\*",
    ]);
    let name = prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat());
    let names = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    let clean = |pattern: &String| pattern.split('/').all(|name| name != "." && name != "..");
    (any::<bool>(), names.prop_filter("cleaned", clean)).prop_map(|(exception, pattern)| {
        if exception {
            format!("!{pattern}")
        } else {
            pattern
        }
    })
}

fn path() -> impl Strategy<Value = String> {
    "[ab*]{1,2}(\\.[ab])?(/[ab*]{1,2}(\\.a)?){0,3}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn rules_agree_with_the_reference(
        rules in prop::collection::vec(pattern(), 1..6),
        paths in prop::collection::vec(path(), 1..8),
    ) {
        let reference = reference::compile(&rules).unwrap();
        let ignore = Ignore::new(&rules).unwrap();
        for path in paths {
            let expected = reference::excluded(&reference, &path);
            prop_assert_eq!(ignore.excluded(&path), expected, "{} by {:?}", path, rules);
        }
    }

    #[test]
    fn pruning_never_loses_what_would_come_back(
        rules in prop::collection::vec(pattern(), 1..6),
        path in path(),
    ) {
        let ignore = Ignore::new(&rules).unwrap();
        let mut inherited = Inherited::default();
        for (at, _) in path.match_indices('/') {
            let directory = &path.as_bytes()[..at];
            let (excluded, handed_down) = ignore.enter(directory, &inherited);
            if excluded && !ignore.may_reinclude_below(directory, &handed_down) {
                prop_assert!(ignore.excluded(&path), "{} by {:?}", path, rules);
            }
            inherited = handed_down;
        }
    }

    #[test]
    fn deep_globs_lead_to_all_their_matches(pattern in pattern(), path in path()) {
        let glob = DeepGlob::new(pattern.trim_start_matches('!')).unwrap();
        if glob.matches(&path) {
            for (at, _) in path.match_indices('/') {
                prop_assert!(glob.may_match_below(&path[..at]), "{} in {}", pattern, path);
            }
        }
    }

    #[test]
    fn any_text_is_a_pattern_or_an_error(text in any::<Vec<u8>>(), path in any::<Vec<u8>>()) {
        if let Ok(ignore) = Ignore::parse(&text) {
            ignore.excluded(&path);
        }
        let text = String::from_utf8_lossy(&text);
        if let Ok(glob) = Glob::new(&text) {
            glob.matches(&path);
        }
    }
}
