//! Why a step is not cached: what differs from the nearest earlier record, in words.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cache::{Material, Record};

use super::graph::StepId;
use super::key::{self, INPUTS};
use super::op::Op;
use super::plan::Plan;
use super::ports::CacheProbe;
use super::probe::Verdict;

/// So many characters of a value are shown.
const SHOWN: usize = 60;

/// Why a step is not cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The step.
    pub step: StepId,
    /// One sentence a reason, lower case, no period.
    pub reasons: Vec<String>,
}

/// Explains every needed step that is not cached.
pub fn explain(plan: &Plan, cache: &dyn CacheProbe) -> Vec<Explanation> {
    let missed = plan.graph.steps.iter().filter(|step| {
        let planned = &plan.steps[step.id.0];
        matches!(planned.verdict, Verdict::Build | Verdict::Undetermined)
    });
    missed
        .map(|step| Explanation {
            step: step.id,
            reasons: reasons(plan, step.id, cache),
        })
        .collect()
}

fn reasons(plan: &Plan, id: StepId, cache: &dyn CacheProbe) -> Vec<String> {
    let step = plan.graph.step(id);
    if step.no_cache {
        return vec!["caching is off for it".to_owned()];
    }
    let own = &plan.steps[id.0].material;
    let records = cache.similar(&key::operation(&step.op).key());
    let Some(nearest) = nearest(own, &records) else {
        return vec![match &step.op {
            Op::Run(_) => "this command was never run before".to_owned(),
            _ => "this instruction was never built before".to_owned(),
        }];
    };
    let mut fields = comparable(own, &nearest.material);
    let below = step.base.filter(|base| {
        !matches!(
            plan.steps[base.0].verdict,
            Verdict::Given | Verdict::Cached(_)
        )
    });
    if let (Some(below), true) = (below, fields.contains(&"base") || fields.is_empty()) {
        fields.retain(|field| *field != "base");
        let mut reasons = changes(plan, id, &fields, &nearest.material);
        let name = &plan.graph.step(below).name;
        reasons.push(format!(
            "it stands on `{}`, which is built anew",
            shorten(name)
        ));
        return reasons;
    }
    if fields.is_empty() {
        return vec!["its earlier result is no longer in the cache".to_owned()];
    }
    changes(plan, id, &fields, &nearest.material)
}

/// The record with the fewest differences; of equals the newest. Records of contents alone (the
/// entries that a COPY placed) say nothing that could be compared.
fn nearest<'a>(own: &Material, records: &'a [Record]) -> Option<&'a Record> {
    let like = |record: &&Record| record.material.field("op") == own.field("op");
    records
        .iter()
        .filter(like)
        .min_by_key(|record| comparable(own, &record.material).len())
}

/// The fields that differ. The definition and the content material of a RUN say the same things by
/// other fields; of those only what both have can be compared.
fn comparable<'a>(own: &'a Material, other: &'a Material) -> Vec<&'a str> {
    let both = |field: &&str| own.field(field).is_some() && other.field(field).is_some();
    let mut fields = own.differences(other);
    fields.retain(|field| !INPUTS.contains(field) || both(field));
    fields
}

fn changes(plan: &Plan, id: StepId, fields: &[&str], old: &Material) -> Vec<String> {
    let new = &plan.steps[id.0].material;
    fields
        .iter()
        .flat_map(|field| {
            let (old, new) = (old.field(field), new.field(field));
            match *field {
                "env" => environment(old, new),
                "base" => vec![base(plan, id)],
                "from" => vec![reads(plan, id)],
                "selection" => vec!["the files that it takes changed".to_owned()],
                "mount_sources" => vec!["the files that its mounts show changed".to_owned()],
                "inputs" => vec!["its sources changed".to_owned()],
                "version" => vec!["this version of builder makes other keys".to_owned()],
                field => vec![format!(
                    "{} changed from {} to {}",
                    describe(field),
                    show(old),
                    show(new)
                )],
            }
        })
        .collect()
}

fn base(plan: &Plan, id: StepId) -> String {
    let base = plan.graph.step(id).base.map(|base| plan.graph.step(base));
    match base {
        Some(step) if matches!(step.op, Op::Image(_)) => {
            "the layers of the base image changed".to_owned()
        }
        Some(step) => format!("what it stands on changed: `{}`", shorten(&step.name)),
        None => "what it stands on changed".to_owned(),
    }
}

fn reads(plan: &Plan, id: StepId) -> String {
    let names: Vec<String> = plan
        .graph
        .step(id)
        .reads
        .iter()
        .map(|read| format!("`{}`", shorten(&plan.graph.step(*read).name)))
        .collect();
    format!("what it copies from changed: {}", names.join(", "))
}

/// Differences of two environments, variable by variable.
fn environment(old: Option<&Value>, new: Option<&Value>) -> Vec<String> {
    let variables = |value: Option<&'_ Value>| -> BTreeMap<String, String> {
        let items = value.and_then(Value::as_array).into_iter().flatten();
        items
            .filter_map(Value::as_str)
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let (old, new) = (variables(old), variables(new));
    let mut reasons = Vec::new();
    for (name, value) in &new {
        match old.get(name) {
            None => reasons.push(format!("variable {name} is new: {}", quoted(value))),
            Some(before) if before != value => reasons.push(format!(
                "variable {name} changed from {} to {}",
                quoted(before),
                quoted(value)
            )),
            Some(_) => {}
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        reasons.push(format!("variable {name} is no longer set"));
    }
    if reasons.is_empty() {
        reasons.push("the order of its variables changed".to_owned());
    }
    reasons
}

fn describe(field: &str) -> &str {
    match field {
        "args" => "its command",
        "script" => "its script",
        "cwd" => "its working directory",
        "user" => "its user",
        "mounts" => "the list of its mounts",
        "network" => "its network",
        "hosts" => "the list of added hosts",
        "hostname" => "the host name",
        "security" => "its security mode",
        "devices" => "the list of its devices",
        "platform" => "its platform",
        "epoch" => "the time of its files (SOURCE_DATE_EPOCH)",
        "destination" => "its destination",
        "chown" => "--chown",
        "chmod" => "--chmod",
        "link" => "--link",
        "parents" => "--parents",
        "exclude" => "--exclude",
        "unpack" => "--unpack",
        other => other,
    }
}

fn show(value: Option<&Value>) -> String {
    match value {
        None => "the default".to_owned(),
        Some(Value::Null) => "nothing".to_owned(),
        Some(Value::String(text)) => quoted(text),
        Some(other) => shorten(&other.to_string()),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", shorten(text))
}

fn shorten(text: &str) -> String {
    let one_line = text.replace('\n', " ");
    match one_line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &one_line[..end]),
        None => one_line,
    }
}
