//! docs/compat.md says the truth: each test that it names exists, each case is in its rows, and
//! each difference of the tables is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::AREAS;
use super::case::{Case, Ending, cases};

const BEGIN: &str = "<!-- differences: written by the test `differences_are_listed` -->\n";
const END: &str = "<!-- end of differences -->\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn all() -> Vec<Case> {
    AREAS.iter().flat_map(|area| cases(area)).collect()
}

fn document() -> String {
    fs::read_to_string(root().join("docs/compat.md")).unwrap()
}

/// Rows of the scoreboard: number → what is in backquotes in its last column.
fn rows(document: &str) -> BTreeMap<u32, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in document.lines().filter(|line| line.starts_with("| ")) {
        let columns: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Ok(number) = columns[0].parse() else {
            continue;
        };
        let names = columns[3].split('`').skip(1).step_by(2).map(str::to_owned);
        rows.insert(number, names.collect());
    }
    rows
}

#[test]
fn the_scoreboard_names_tests_that_exist() {
    let cases: BTreeSet<String> = all().into_iter().map(|case| case.name).collect();
    let rows = rows(&document());
    assert_eq!(
        rows.keys().copied().collect::<Vec<_>>(),
        (1..=109).collect::<Vec<_>>()
    );
    let exists = |name: &str| match name.split_once(".rs: ") {
        None => cases.contains(name),
        Some((file, function)) => {
            let text = fs::read_to_string(root().join(format!("{file}.rs"))).unwrap_or_default();
            text.contains(&format!("fn {function}("))
        }
    };
    let missing = rows
        .iter()
        .flat_map(|(row, names)| names.iter().map(move |name| (row, name)));
    let missing: Vec<_> = missing.filter(|(_, name)| !exists(name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn rows_of_cases_are_shown_by_cases() {
    let rows = rows(&document());
    let cases = all();
    let named = |row: u32| rows[&row].iter().filter(|name| !name.contains(".rs: "));
    for case in &cases {
        for row in &case.rows {
            assert!(
                named(*row).count() > 0,
                "row {row} names no case, not even {}",
                case.name
            );
        }
    }
    let wrong = rows
        .keys()
        .flat_map(|row| named(*row).map(move |name| (row, name)));
    let wrong = wrong.filter(|(row, name)| {
        !cases
            .iter()
            .any(|case| case.name == **name && case.rows.contains(row))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(
        wrong.is_empty(),
        "cases in rows that are not theirs: {wrong:#?}"
    );
}

/// What the tables say: reason → cases.
fn differences() -> String {
    let mut lines: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for case in all() {
        let ending = match &case.ending {
            Ending::FailsHere(_, reason) | Ending::PeerFails(reason) => Some(reason.clone()),
            Ending::Built | Ending::Fails(_) => None,
        };
        let reasons = case
            .expectations
            .iter()
            .filter_map(|expected| expected.reason.clone());
        for reason in reasons.chain(ending) {
            lines
                .entry(reason)
                .or_default()
                .insert(format!("`{}`", case.name));
        }
    }
    let lines = lines.into_iter().map(|(reason, cases)| {
        let cases: Vec<String> = cases.into_iter().collect();
        format!("- {reason}: {}\n", cases.join(", "))
    });
    lines.collect()
}

#[test]
fn differences_are_listed() {
    let document = document();
    let (head, rest) = document.split_once(BEGIN).expect("the first mark");
    let (listed, tail) = rest.split_once(END).expect("the second mark");
    let differences = differences();
    if std::env::var_os("UPDATE_COMPAT").is_some() {
        let text = format!("{head}{BEGIN}{differences}{END}{tail}");
        fs::write(root().join("docs/compat.md"), text).unwrap();
        return;
    }
    let hint = "docs/compat.md is out of date: UPDATE_COMPAT=1 cargo test --test differential \
                differences_are_listed";
    assert_eq!(listed, differences, "{hint}");
}
