//! Tests of the rules: `testdata/lint/<Rule>` has a file that it warns of, one that it does not,
//! and what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::diagnostic::SourceFile;
use crate::parser::{self, ast::Command, ast::Dockerfile};
use crate::platform::Platform;

use super::*;

/// Knows every base but `unknown`; `foreign` is of another platform, `shelled` has a shell.
struct World<'a>(&'a Dockerfile);

impl Facts for World<'_> {
    fn base(&self, stage: usize) -> Option<Base> {
        let instructions = self.0.instructions.iter();
        let mut images = instructions.filter_map(|instruction| match &instruction.command {
            Command::From(from) => Some(from.image.raw.as_str()),
            _ => None,
        });
        let image = images.nth(stage)?;
        let platforms = || {
            let linux = |processor| Platform::new("linux", processor, None);
            (image.to_owned(), linux("arm64"), linux("amd64"))
        };
        let base = Base {
            env: vec![("BASE_VAR".to_owned(), "1".to_owned())],
            has_shell: image == "shelled",
            wrong_platform: (image == "foreign").then(platforms),
        };
        (image != "unknown").then_some(base)
    }

    fn is_ignored(&self, path: &str) -> bool {
        path == "ignored.txt"
    }
}

/// Checks a text with all that can be chosen.
fn lines(text: &str, argument: Option<&str>, reachable: Option<&BTreeSet<usize>>) -> Vec<String> {
    let (file, found) = parser::parse(&SourceFile::new("Dockerfile", text));
    assert!(found.is_empty(), "{found:?} in {text}");
    let context = LintContext {
        facts: &World(&file),
        build_args: &BTreeMap::new(),
        check: argument,
        reachable,
    };
    check(&file, &context).iter().map(render).collect()
}

fn warnings(text: &str) -> Vec<String> {
    lines(text, None, None)
}

fn read(rule: &str, name: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    std::fs::read_to_string(format!("{root}/testdata/lint/{rule}/{name}")).unwrap()
}

#[test]
fn every_rule_warns_of_what_is_bad() {
    for rule in &RULES {
        let all = warnings(&read(rule.name, "bad.Dockerfile"));
        let prefix = format!("{}: ", rule.name);
        let own: Vec<&str> = all
            .iter()
            .filter_map(|line| line.strip_prefix(&prefix))
            .collect();
        assert!(!own.is_empty(), "{} says nothing", rule.name);
        let path = format!("{}/testdata/lint/{}", env!("CARGO_MANIFEST_DIR"), rule.name);
        insta::with_settings!({
            snapshot_path => path, prepend_module_to_snapshot => false, omit_expression => true,
        }, { insta::assert_snapshot!("output", own.join("\n")) });
    }
}

#[test]
fn no_rule_warns_of_what_is_good() {
    for rule in &RULES {
        for line in warnings(&read(rule.name, "good.Dockerfile")) {
            assert!(!line.starts_with(rule.name), "{line}");
        }
    }
}

#[test]
fn every_rule_has_a_page_named_after_it() {
    for rule in RULES.iter().filter(|rule| rule.url.is_some()) {
        let mut kebab = String::new();
        let name = rule.name.replace("JSON", "Json");
        for letter in name.chars() {
            if letter.is_uppercase() && !kebab.is_empty() {
                kebab.push('-');
            }
            kebab.extend(letter.to_lowercase());
        }
        let url = format!("https://docs.docker.com/go/dockerfile/rule/{kebab}/");
        assert_eq!(rule.url, Some(url.as_str()));
    }
    assert!(RULES.iter().all(|one| rule(one.name).is_some()));
    assert!(rule("lint").is_none());
    let names: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len());
}

#[test]
fn the_directive_skips_rules_by_name_or_all() {
    let text = "FROM scratch as base\ncopy a .\n";
    assert_eq!(warnings(text).len(), 2);
    assert_eq!(
        warnings(&format!("#check=skip=FromAsCasing\n{text}")).len(),
        1
    );
    assert!(warnings(&format!("# check=skip=all\n{text}")).is_empty());
    let both = "# check = skip=ConsistentInstructionCasing, FromAsCasing ;error=true\n";
    assert!(warnings(&format!("{both}{text}")).is_empty());
}

#[test]
fn the_build_argument_replaces_the_directive() {
    let text = "#check=error=true\nFROM scratch as base\n";
    assert!(lines(text, Some("skip=all"), None).is_empty());
    let text = "#check=skip=all\nFROM scratch as base\n";
    assert_eq!(lines(text, Some("error=true"), None).len(), 2);
}

#[test]
fn findings_become_an_error_where_that_is_wanted() {
    assert_eq!(
        warnings("#check=error=true\nFROM scratch as base\ncopy a .\n"),
        [
            "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 2)",
            "ConsistentInstructionCasing: Command 'copy' should match the case of the command \
             majority (uppercase) (line 3)",
            "lint-violation: lint violation found for rules: ConsistentInstructionCasing, FromAsCasing \
             (line 2)",
        ]
    );
    assert!(warnings("#check=error=true\nFROM scratch\n").is_empty());
}

#[test]
fn experimental_rules_run_only_when_chosen_and_then_despite_skip() {
    let text = "# wrong\nARG a=b\nFROM scratch\n";
    assert!(warnings(text).is_empty());
    let chosen = "# check=skip=all;experimental=InvalidDefinitionDescription\n";
    assert_eq!(warnings(&format!("{chosen}{text}")).len(), 1);
}

#[test]
fn a_comment_above_an_instruction_skips_rules_for_it_alone() {
    let text = "FROM scratch\n# check=skip=MaintainerDeprecated\nMAINTAINER a\nMAINTAINER b\n";
    assert_eq!(
        warnings(text),
        [
            "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line 4)"
        ]
    );
}

#[test]
fn a_choice_that_cannot_be_read_is_an_error() {
    for (text, message) in [
        ("skip", "invalid check option \"skip\""),
        ("ignore=all", "invalid check option \"ignore\""),
        (
            "error=maybe",
            "failed to parse check option \"error=maybe\": invalid syntax",
        ),
    ] {
        let expected = format!("lint: {message} (line 1)");
        assert_eq!(lines("FROM scratch\n", Some(text), None), [expected]);
        assert_eq!(Config::parse(text).unwrap_err().to_string(), message);
    }
    assert_eq!(Config::parse(""), Ok(Config::default()));
}

#[test]
fn stages_out_of_reach_are_not_checked_line_by_line() {
    let text = "FROM scratch AS A\nENV k v\nFROM scratch AS b\nENV l w\n";
    let second = BTreeSet::from([1]);
    assert_eq!(
        lines(text, None, Some(&second)),
        [
            "StageNameCasing: Stage name 'A' should be lowercase (line 1)",
            "LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key \
             value\" format (line 4)",
        ]
    );
}

#[test]
fn public_dockerfiles_are_checked_without_an_error() {
    let root = format!("{}/testdata/dockerfiles", env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path().join("Dockerfile");
        if let Ok(text) = std::fs::read_to_string(path) {
            let all = warnings(&text);
            assert!(all.iter().all(|line| !line.starts_with("lint:")), "{all:?}");
        }
    }
}

#[test]
fn findings_beyond_a_thousand_are_counted() {
    let all = warnings(&format!("FROM scratch\n{}", "MAINTAINER a\n".repeat(1500)));
    assert_eq!(all.len(), 1001);
    assert_eq!(
        all[1000],
        "lint: 500 more findings are not shown (line 1001)"
    );
}

#[test]
fn a_hostile_file_is_checked_in_little_time() {
    let mut text = String::from("FROM scratch AS s0\n");
    for number in 0..3000 {
        let next = number + 1;
        writeln!(
            text,
            "ENV V{number}=1\nFROM s{number} AS s{next}\nUSER $W{number}"
        )
        .unwrap();
    }
    let found = warnings(&text);
    assert!(found.iter().any(|line| line.contains("'$W0'")));
}
