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
mod docker;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use builders::{Bench, Built};
use case::{Case, Ending};
use common::{User, skip};
use docker::Docker;

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

/// The places where two builders differ, and how.
type Places = BTreeMap<String, String>;

/// The places where Docker's BuildKit makes something else of a case; `None` if it cannot build it.
fn check_docker(bench: &Bench, docker: &Docker, case: &Case, more: &[&str]) -> Option<Places> {
    let peer = docker.build(bench, case, more);
    if !matches!(case.ending, Ending::Built | Ending::PeerFails(_)) {
        let ending = || BTreeMap::from([("ending".to_owned(), "BuildKit builds it".to_owned())]);
        return peer.is_ok().then(ending);
    }
    let (peer, ours) = (peer.ok()?, bench.ours(case, None).ok()?);
    let ours = (&ours.tree, &ours.config);
    Some(compare::differences_to_docker(ours, &peer))
}

/// What the list of known differences does not say of a case, or says and is not so.
fn news_of(case: &Case, places: &Places, known: &BTreeSet<(String, String)>) -> Vec<String> {
    let name = &case.name;
    let listed = |place: &String| known.contains(&(name.clone(), place.clone()));
    let new = places.iter().filter(|(place, _)| !listed(place));
    let mut news: Vec<String> = new
        .map(|(place, text)| format!("{name}: {place}: {text}"))
        .collect();
    let stale = known
        .iter()
        .filter(|(case, place)| case == name && !places.contains_key(place));
    news.extend(stale.map(|(_, place)| format!("{name}: {place}: no difference any more")));
    news
}

#[test]
fn buildkit_makes_the_same_images() {
    if !User::is_root() {
        skip("Docker's engine wants root");
        return;
    }
    let Some(docker) = Docker::start() else {
        return;
    };
    let cases: Vec<Case> = AREAS.iter().flat_map(|area| chosen(area)).collect();
    let bench = Bench::new();
    write_contexts(&bench, &cases);
    docker.load(bench.base(), "busybox:latest");
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Some(places) = check_docker(&bench, &docker, case, &[]) {
                found.lock().unwrap().insert(case.name.as_str(), places);
            }
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    let (mut found, known) = (found.into_inner().unwrap(), case::known_of_docker());
    // What it cleans away after a step now and then stays when many run: only what repeats counts.
    for case in &cases {
        let places = found.get(case.name.as_str());
        if places.is_some_and(|places| !news_of(case, places, &known).is_empty())
            && let Some(places) = check_docker(&bench, &docker, case, &["--no-cache"])
        {
            found.insert(case.name.as_str(), places);
        }
    }
    let wrong = cases.iter().filter_map(|case| {
        let places = found.get(case.name.as_str())?;
        Some(news_of(case, places, &known))
    });
    let wrong: Vec<String> = wrong.flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The others use what BuildKit learned later.
    let (built, all) = (found.len(), cases.len());
    assert!(
        all == 1 || built > 350,
        "BuildKit builds {built} of {all} cases"
    );
}

#[test]
fn a_running_docker_takes_the_image_and_runs_it() {
    if !User::is_root() {
        skip("Docker's engine wants root");
        return;
    }
    let Some(docker) = Docker::start() else {
        return;
    };
    let bench = Bench::new();
    let context = bench.path("contexts");
    let lines = "FROM busybox\nRUN echo made by RUN > /made\nCMD cat /made\n";
    fs::write(context.join("Dockerfile"), lines).unwrap();
    let base = bench.base().display();
    let output = docker
        .command(env!("CARGO_BIN_EXE_builder"))
        .env("BUILDER_ROOT", bench.path("store"))
        .args(["build", "--load", "-t", "taken:1", "--progress=plain"])
        .arg(format!("--build-context=busybox=oci-layout://{base}"))
        .arg(&context)
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("Loaded image: taken:1"), "{log}");
    let output = docker.run(&["run", "--rm", "--network=none", "taken:1"]);
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "made by RUN\n", "{complaint}");
}

#[test]
fn an_ordinary_user_gets_the_same_digests() {
    let Some(user) = User::with_subuids() else {
        return;
    };
    let cases: Vec<Case> = AREAS.iter().flat_map(|area| chosen(area)).collect();
    let (root, rootless) = (Bench::new(), Bench::new());
    write_contexts(&root, &cases);
    write_contexts(&rootless, &cases);
    rootless.give(&user);
    let mut wrong = Vec::new();
    for case in &cases {
        let one = root.ours(case, None).map(|image| image.digest);
        let other = rootless.ours(case, Some(&user)).map(|image| image.digest);
        // What is refused is refused to both, each in its own words about paths.
        if one.as_ref().ok() != other.as_ref().ok() {
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
