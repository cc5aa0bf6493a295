//! Both results against each other and against what the case expects.

use std::collections::BTreeMap;

use serde_json::Value;

use super::case::{Case, Ending};
use super::tree::{Tree, texts};

/// The fields of the config that are compared.
const FIELDS: [&str; 13] = [
    "Env",
    "Cmd",
    "Entrypoint",
    "WorkingDir",
    "User",
    "Labels",
    "ExposedPorts",
    "Volumes",
    "Healthcheck",
    "Shell",
    "StopSignal",
    "OnBuild",
    "Author",
];

/// What RUN leaves where the base has no place for it: BuildKit, buildah and we differ, and
/// the case `run-on-scratch` says what we do.
const SURROUNDINGS: [&str; 9] = [
    "dev",
    "proc",
    "sys",
    "run",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
    "run/.containerenv",
    "run/secrets",
];

/// The PATH that BuildKit adds to a config that has none.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything about an image in words: path or `config.FIELD` → text.
pub(crate) fn describe(tree: &Tree, config: &Value) -> BTreeMap<String, String> {
    let mut all = texts(tree);
    for field in FIELDS {
        let value = if field == "Author" {
            &config["author"]
        } else {
            &config["config"][field]
        };
        let is_nothing = match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        if !is_nothing {
            all.insert(format!("config.{field}"), value.to_string());
        }
    }
    all
}

/// The lines of the history that have text, for `@has history = […]`.
fn history(config: &Value) -> String {
    let entries = config["history"].as_array().cloned().unwrap_or_default();
    let entries = entries.iter().map(|entry| entry["created_by"].clone());
    Value::Array(entries.collect()).to_string()
}

/// What our image and the expectations, and then the peer, disagree about.
pub(crate) fn differences(
    case: &Case,
    (tree, config): (&Tree, &Value),
    peer: Option<&(Tree, Value)>,
) -> Vec<String> {
    let mut ours = describe(tree, config);
    let theirs = peer.map(|(tree, config)| describe(tree, config));
    let mut wrong = Vec::new();
    for expectation in &case.expectations {
        let place = &expectation.place;
        let history = (place == "history").then(|| history(config));
        let text = history
            .as_ref()
            .or(ours.get(place))
            .map_or("absent", String::as_str);
        if text != expectation.text {
            wrong.push(format!(
                "{place}: expected `{}`, ours `{text}`",
                expectation.text
            ));
        }
        let same = theirs.as_ref().is_some_and(|theirs| {
            theirs.get(place).map_or("absent", String::as_str) == expectation.text
        });
        if expectation.reason.is_some() && same {
            wrong.push(format!("{place}: the peer does not differ: make it `@has`"));
        }
    }
    let Some(mut theirs) = theirs else {
        return wrong;
    };
    normalise(&mut ours, &mut theirs);
    for expectation in &case.expectations {
        ours.remove(&expectation.place);
        theirs.remove(&expectation.place);
    }
    let found = disagreements(&ours, &theirs);
    wrong.extend(
        found
            .into_iter()
            .map(|(place, text)| format!("{place}: {text}")),
    );
    wrong
}

/// What our image and that of Docker's BuildKit disagree about: history too.
pub(crate) fn differences_to_docker(
    (tree, config): (&Tree, &Value),
    (peer_tree, peer_config): &(Tree, Value),
) -> BTreeMap<String, String> {
    let mut ours = describe(tree, config);
    let mut theirs = describe(peer_tree, peer_config);
    normalise(&mut ours, &mut theirs);
    if peer_config.get("history").is_some() {
        ours.insert("history".to_owned(), history(config));
        theirs.insert("history".to_owned(), history(peer_config));
    }
    disagreements(&ours, &theirs)
}

/// The places where two descriptions differ, and what each has there.
fn disagreements(
    ours: &BTreeMap<String, String>,
    theirs: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let text = |side: &BTreeMap<String, String>, place: &String| {
        side.get(place).map_or("absent", String::as_str).to_owned()
    };
    ours.keys()
        .chain(theirs.keys())
        .filter(|place| ours.get(*place) != theirs.get(*place))
        .map(|place| {
            let (ours, theirs) = (text(ours, place), text(theirs, place));
            (place.clone(), format!("ours `{ours}`, peer `{theirs}`"))
        })
        .collect()
}

/// Takes away what differs in every case for a known reason.
fn normalise(ours: &mut BTreeMap<String, String>, theirs: &mut BTreeMap<String, String>) {
    for place in SURROUNDINGS {
        ours.remove(place);
        theirs.remove(place);
    }
    // buildah gives no PATH to an image on scratch, and puts none into a config without Env.
    let with_path = |text: &str| text.contains("\"PATH=");
    if !theirs.get("config.Env").is_some_and(|text| with_path(text))
        && let Some(text) = ours.get_mut("config.Env")
    {
        *text = text.replace(&format!("\"{DEFAULT_PATH}\","), "");
        *text = text.replace(&format!("\"{DEFAULT_PATH}\""), "");
        if text == "[]" {
            ours.remove("config.Env");
        }
    }
    // An absent working directory is the root.
    for side in [ours, theirs] {
        side.entry("config.WorkingDir".to_owned())
            .or_insert_with(|| "\"/\"".to_owned());
    }
}

/// Whether a build was to fail and what must be in our message; `None` if it was to succeed.
pub(crate) fn expected_failure(case: &Case) -> Option<&str> {
    match &case.ending {
        Ending::Fails(text) | Ending::FailsHere(text, _) => Some(text),
        Ending::Built | Ending::PeerFails(_) => None,
    }
}
