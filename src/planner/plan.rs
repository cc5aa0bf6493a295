//! The plan: a graph and what the cache says of it, printable without running anything.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cache::{Key, Material};
use crate::diagnostic::SourceFile;

use super::explain::Explanation;
use super::graph::{Graph, Step, StepId};
use super::key::Selections;
use super::op::{Op, Source};
use super::probe::Verdict;

/// What is known about a step before anything runs.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedStep {
    /// Its definition key.
    pub key: Key,
    /// What the key is made of.
    pub material: Material,
    /// The digests of what it takes from contexts.
    pub selections: Selections,
    /// What the cache says.
    pub verdict: Verdict,
    /// Whether its layer or its files are needed: the chains of the targets, and what steps that
    /// are not cached read. The rest of the graph needs no look.
    pub needed: bool,
}

/// A graph and what the cache says of each step.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The graph.
    pub graph: Graph,
    /// One a step of the graph, same order.
    pub steps: Vec<PlannedStep>,
}

impl Plan {
    /// The planned step.
    pub fn step(&self, id: StepId) -> &PlannedStep {
        &self.steps[id.0]
    }

    /// For people: one line a needed step with its verdict, reasons below, a summary at the end.
    pub fn text(&self, explanations: &[Explanation]) -> String {
        let mut text = String::new();
        for (step, planned) in self.graph.steps.iter().zip(&self.steps) {
            if !planned.needed {
                continue;
            }
            line(
                &mut text,
                format_args!("{:<12} {}", word(&planned.verdict), step.name),
            );
            let reasons = explanations.iter().filter(|found| found.step == step.id);
            for reason in reasons.flat_map(|found| &found.reasons) {
                line(&mut text, format_args!("{:<12}   because {reason}", ""));
            }
        }
        for target in &self.graph.targets {
            let name = &self.graph.step(target.step).name;
            line(
                &mut text,
                format_args!("target {}: {name}", target.platform),
            );
        }
        let count = |wanted: &str| {
            let of = |planned: &&PlannedStep| planned.needed && word(&planned.verdict) == wanted;
            self.steps.iter().filter(of).count()
        };
        let skipped = self.steps.iter().filter(|planned| !planned.needed).count();
        line(
            &mut text,
            format_args!(
                "{} cached, {} to build, {} undetermined, {skipped} not needed",
                count("cached"),
                count("build"),
                count("undetermined"),
            ),
        );
        text
    }

    /// For programs: everything, with the material of each key.
    pub fn json(&self, source: &SourceFile, explanations: &[Explanation]) -> Value {
        let steps: Vec<Value> = self
            .graph
            .steps
            .iter()
            .zip(&self.steps)
            .map(|(step, planned)| {
                let reasons = explanations.iter().find(|found| found.step == step.id);
                json!({
                    "id": step.id.0,
                    "name": step.name,
                    "operation": operation(&step.op),
                    "stage": step.stage.0,
                    "platform": step.platform.to_string(),
                    "line": source.line_column(step.span.start).0,
                    "base": step.base.map(|base| base.0),
                    "reads": step.reads.iter().map(|read| read.0).collect::<Vec<_>>(),
                    "contexts": contexts(&step.op),
                    "verdict": word(&planned.verdict),
                    "needed": planned.needed,
                    "key": planned.key.to_string(),
                    "material": planned.material,
                    "reasons": reasons.map(|found| &found.reasons),
                })
            })
            .collect();
        let targets: Vec<Value> = self
            .graph
            .targets
            .iter()
            .map(|target| {
                json!({
                    "platform": target.platform.to_string(),
                    "step": target.step.0,
                    "created": target.epoch.rfc3339(),
                    "config": target.config,
                })
            })
            .collect();
        json!({ "version": 1, "steps": steps, "targets": targets })
    }

    /// For Graphviz. Solid arrows are file systems, dashed ones are reads.
    pub fn dot(&self) -> String {
        let mut text = "digraph plan {\n  rankdir=BT;\n  node [shape=box, style=filled, fontname=\"sans-serif\"];\n".to_owned();
        for (step, planned) in self.graph.steps.iter().zip(&self.steps) {
            let label = step.name.replace('\\', "\\\\").replace('"', "\\\"");
            let label = label.replace(['\n', '\r'], " ");
            let (id, color) = (step.id.0, color(planned));
            line(
                &mut text,
                format_args!("  s{id} [label=\"{label}\", fillcolor=\"{color}\"];"),
            );
            for (input, style) in inputs(step) {
                line(
                    &mut text,
                    format_args!("  s{id} -> s{} [style={style}];", input.0),
                );
            }
        }
        for (index, target) in self.graph.targets.iter().enumerate() {
            let (platform, step) = (&target.platform, target.step.0);
            line(
                &mut text,
                format_args!("  t{index} [label=\"{platform}\", shape=ellipse, fillcolor=white];"),
            );
            line(&mut text, format_args!("  t{index} -> s{step};"));
        }
        text.push_str("}\n");
        text
    }

    /// For Mermaid, as Markdown pages show it.
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart BT\n".to_owned();
        for (step, planned) in self.graph.steps.iter().zip(&self.steps) {
            let (id, class) = (step.id.0, class(planned));
            let label = mermaid_label(&step.name);
            line(&mut text, format_args!("  s{id}[\"{label}\"]:::{class}"));
            for (input, style) in inputs(step) {
                let arrow = if style == "solid" { "-->" } else { "-.->" };
                line(&mut text, format_args!("  s{id} {arrow} s{}", input.0));
            }
        }
        for (index, target) in self.graph.targets.iter().enumerate() {
            let (platform, step) = (&target.platform, target.step.0);
            line(
                &mut text,
                format_args!("  t{index}([\"{platform}\"]) --> s{step}"),
            );
        }
        for (class, color) in COLORS {
            line(&mut text, format_args!("  classDef {class} fill:{color}"));
        }
        text
    }
}

/// Colours of verdicts; the word stands beside them in the text and JSON forms.
const COLORS: [(&str, &str); 5] = [
    ("given", "#eeeeee"),
    ("cached", "#c8e6c9"),
    ("build", "#ffcc80"),
    ("undetermined", "#fff59d"),
    ("skipped", "#ffffff"),
];

fn class(planned: &PlannedStep) -> &'static str {
    if planned.needed {
        word(&planned.verdict)
    } else {
        "skipped"
    }
}

fn color(planned: &PlannedStep) -> &'static str {
    let class = class(planned);
    let found = COLORS.iter().find(|(name, _)| *name == class);
    found.map_or("#ffffff", |(_, color)| color)
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Given => "given",
        Verdict::Cached(_) => "cached",
        Verdict::Build => "build",
        Verdict::Undetermined => "undetermined",
    }
}

fn operation(op: &Op) -> &'static str {
    match op {
        Op::Scratch => "scratch",
        Op::Image(_) => "image",
        Op::Run(_) => "run",
        Op::Copy(_) => "copy",
        Op::Workdir(_) => "workdir",
    }
}

/// The contexts that an operation reads; the empty name is the main one.
fn contexts(op: &Op) -> Vec<&str> {
    match op {
        Op::Copy(copy) => match &copy.from {
            Source::Context(name) => vec![name],
            Source::Step(_) => Vec::new(),
        },
        Op::Run(run) => run.contexts().collect(),
        Op::Scratch | Op::Image(_) | Op::Workdir(_) => Vec::new(),
    }
}

fn inputs(step: &Step) -> impl Iterator<Item = (StepId, &'static str)> {
    let base = step.base.map(|base| (base, "solid"));
    base.into_iter()
        .chain(step.reads.iter().map(|read| (*read, "dashed")))
}

/// Mermaid reads entities in labels, so everything that means something to it becomes one.
fn mermaid_label(name: &str) -> String {
    let mut label = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '"' | '#' | '<' | '>' | '&' | '`' | '|' | '[' | ']' | '{' | '}' | '\\' => {
                let _ = write!(label, "#{};", u32::from(c));
            }
            '\n' | '\r' => label.push(' '),
            c => label.push(c),
        }
    }
    label
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(arguments);
    text.push('\n');
}
