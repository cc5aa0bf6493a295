//! The same small contexts built by us and by Debian's buildah, compared file by file and field by
//! field. buildah is not BuildKit: where the two differ, a case says so with a reason, and
//! docs/compat.md lists it.
//!
//! One case alone: `DIFFERENTIAL_CASE=name cargo test --test differential`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and variables choose what is tested"
)]

#[path = "../common/mod.rs"]
mod common;

mod builders;
mod case;
mod compare;
mod compat;
mod context;
mod tree;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use builders::{Bench, Built};
use case::{Case, Ending};
use common::{User, skip};

/// The files of `testdata/differential`.
const AREAS: [&str; 10] = [
    "add",
    "args",
    "config",
    "copy",
    "copy_flags",
    "heredocs",
    "ignore",
    "run",
    "stages",
    "syntax",
];

/// The cases of an area, or the one that is asked for.
fn chosen(area: &str) -> Vec<Case> {
    let mut cases = case::cases(area);
    if let Ok(name) = std::env::var("DIFFERENTIAL_CASE") {
        cases.retain(|case| case.name == name);
    }
    cases
}

fn write_contexts(bench: &Bench, cases: &[Case]) {
    for case in cases {
        let context = bench.path("contexts").join(&case.name);
        fs::create_dir(&context).unwrap();
        fs::set_permissions(&context, fs::Permissions::from_mode(0o755)).unwrap();
        context::write(case, &context);
    }
}

/// What is wrong with one case.
fn check(bench: &Bench, case: &Case) -> Vec<String> {
    let ours = bench.ours(case, None);
    let peer = bench.peer(case);
    let mut wrong = endings(case, ours.as_ref().err(), &peer);
    if let (Ok(image), None) = (&ours, compare::expected_failure(case)) {
        let peer = peer.as_ref().ok();
        wrong.extend(compare::differences(
            case,
            (&image.tree, &image.config),
            peer,
        ));
    }
    wrong
}

/// Whether each side ended as the case says.
fn endings(case: &Case, ours: Option<&String>, peer: &Built) -> Vec<String> {
    let mut wrong = Vec::new();
    match (ours, compare::expected_failure(case)) {
        (Some(message), None) => wrong.push(format!("we fail:\n{message}")),
        (None, Some(_)) => wrong.push("we build it".to_owned()),
        (Some(message), Some(text)) if !message.contains(text) => {
            wrong.push(format!("no `{text}` in our message:\n{message}"));
        }
        _ => {}
    }
    let must_fail = matches!(case.ending, Ending::Fails(_) | Ending::PeerFails(_));
    match peer {
        Ok(_) if must_fail => wrong.push("the peer builds it".to_owned()),
        Err(message) if !must_fail => wrong.push(format!("the peer fails:\n{message}")),
        _ => {}
    }
    wrong
}

fn compare_area(area: &str) {
    if !User::is_root() {
        skip("owners can only be compared as root");
        return;
    }
    let cases = chosen(area);
    if cases.is_empty() {
        return;
    }
    let bench = Bench::new();
    write_contexts(&bench, &cases);
    bench.prepare_peer();
    let mut wrong = Vec::new();
    for case in &cases {
        let found = check(&bench, case);
        if !found.is_empty() {
            wrong.push(format!("{}:\n    {}", case.name, found.join("\n    ")));
        }
    }
    let (bad, all) = (wrong.len(), cases.len());
    assert!(
        wrong.is_empty(),
        "{bad} of {all} cases of {area}:\n\n{}",
        wrong.join("\n\n")
    );
}

macro_rules! areas {
    ($($area:ident)*) => {
        $(#[test]
        fn $area() {
            compare_area(stringify!($area));
        })*
    };
}

areas! { add args config copy copy_flags heredocs ignore run stages syntax }

#[test]
fn an_ordinary_user_gets_the_same_digests() {
    let Some(user) = User::with_subuids() else {
        return;
    };
    let cases: Vec<Case> = AREAS.iter().flat_map(|area| chosen(area)).collect();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.user).collect();
    let (root, rootless) = (Bench::new(), Bench::new());
    write_contexts(&root, &cases);
    write_contexts(&rootless, &cases);
    rootless.give(&user);
    let mut wrong = Vec::new();
    for case in &cases {
        let one = root.ours(case, None).map(|image| image.digest);
        let other = rootless.ours(case, Some(&user)).map(|image| image.digest);
        if one.is_err() || one != other {
            wrong.push(format!(
                "{}:\n    root: {one:?}\n    user: {other:?}",
                case.name
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn names_of_cases_are_unique() {
    let mut names: Vec<String> = AREAS
        .iter()
        .flat_map(|area| case::cases(area))
        .map(|case| case.name)
        .collect();
    let count = names.len();
    assert!(count >= 150, "only {count} cases");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
