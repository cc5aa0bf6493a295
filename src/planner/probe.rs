//! Asks the cache about every step of a graph, without running anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cache::{Key, Material, Record};
use crate::diagnostic::SourceFile;
use crate::digest::DiffId;
use crate::failure::Failure;

use super::graph::{Graph, Step, StepId};
use super::key::{self, INPUTS, Selections};
use super::op::{CopyInput, Op, RunMount, Source};
use super::plan::{Plan, PlannedStep};
use super::ports::{CacheProbe, ContextProbe, Wanted};

/// What is known about a step before anything runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nobody needs it: it is not below a target, and what reads it is cached. The cache was not
    /// asked.
    Unneeded,
    /// Scratch or an image: nothing has to be made.
    Given,
    /// Its result is known.
    Cached(Box<Record>),
    /// It has to be made, whatever its inputs turn out to be.
    Build,
    /// Its definition is new, but once its inputs are known its content key may hit.
    Undetermined,
}

impl Verdict {
    /// Whether the layers up to this step are known.
    fn is_known(&self) -> bool {
        matches!(self, Self::Given | Self::Cached(_))
    }
}

/// Computes all definition keys of `graph` and asks the cache about what is needed. Contexts are
/// asked for the digests of what the steps take, all at once; the cache in waves: one for the
/// chains of the targets, another for what their misses read, and so on.
pub fn plan(
    graph: Graph,
    source: &Arc<SourceFile>,
    contexts: &dyn ContextProbe,
    cache: &dyn CacheProbe,
) -> Result<Plan, Failure> {
    let selections = select(&graph, source, contexts)?;
    let mut keys: Vec<Key> = Vec::with_capacity(graph.steps.len());
    let mut materials: Vec<Material> = Vec::with_capacity(graph.steps.len());
    for (step, selections) in graph.steps.iter().zip(&selections) {
        let material = key::definition(step, &keys, selections);
        keys.push(material.key());
        materials.push(material);
    }
    let prober = Prober {
        graph: &graph,
        keys: &keys,
        materials: &materials,
        selections: &selections,
        stale: stale(&graph),
        cache,
    };
    let verdicts = prober.verdicts();
    let steps = keys
        .into_iter()
        .zip(materials)
        .zip(selections)
        .zip(verdicts)
        .map(|(((key, material), selections), verdict)| PlannedStep {
            key,
            material,
            selections,
            verdict,
        })
        .collect();
    Ok(Plan { graph, steps })
}

/// The digests of everything that steps take from contexts.
fn select(
    graph: &Graph,
    source: &Arc<SourceFile>,
    contexts: &dyn ContextProbe,
) -> Result<Vec<Selections>, Failure> {
    let mut selections: Vec<Selections> = Vec::with_capacity(graph.steps.len());
    let mut wanted = Vec::new();
    let mut places = Vec::new();
    for step in &graph.steps {
        selections.push(Selections::default());
        match &step.op {
            Op::Copy(copy) if takes_from_outside(&copy.from, &copy.inputs) => {
                wanted.push(Wanted::Copy(copy));
                places.push((step.id, None));
            }
            Op::Run(run) => {
                for (index, mount) in run.mounts.iter().enumerate() {
                    if let Some((context, source)) = shown_context(mount) {
                        wanted.push(Wanted::Mount { context, source });
                        places.push((step.id, Some(index)));
                    }
                }
            }
            _ => {}
        }
    }
    if wanted.is_empty() {
        return Ok(selections);
    }
    let answers = contexts.select_all(&wanted);
    for ((id, mount), answer) in places.into_iter().zip(answers) {
        let step = graph.step(id);
        // BuildKit shows the instruction, too.
        let taken = answer.map_err(|failure| failure.at(source, step.span))?;
        let slot = &mut selections[id.0];
        match mount {
            None => slot.copy = Some(taken),
            Some(index) => {
                slot.mounts.resize(index + 1, None);
                slot.mounts[index] = Some(taken);
            }
        }
    }
    Ok(selections)
}

/// Whether a COPY takes anything that is neither in the Dockerfile nor in a step.
fn takes_from_outside(from: &Source, inputs: &[CopyInput]) -> bool {
    matches!(from, Source::Context(_))
        && !inputs
            .iter()
            .all(|input| matches!(input, CopyInput::Inline { .. }))
}

/// The context and path that a mount shows.
fn shown_context(mount: &RunMount) -> Option<(&str, &str)> {
    let (from, source) = mount.shown()?;
    match from {
        Source::Context(context) => Some((context, source)),
        Source::Step(_) => None,
    }
}

/// For each step whether it uses something that is rebuilt because the user said so: then its
/// definition proves nothing.
fn stale(graph: &Graph) -> Vec<bool> {
    let mut stale: Vec<bool> = Vec::with_capacity(graph.steps.len());
    for step in &graph.steps {
        let base = step.base.iter().filter(|_| !ignores_base(step));
        let inputs = base.chain(&step.reads);
        let inherited = inputs.copied().any(|id| stale[id.0]);
        stale.push(step.no_cache || inherited);
    }
    stale
}

struct Prober<'p> {
    graph: &'p Graph,
    keys: &'p [Key],
    materials: &'p [Material],
    selections: &'p [Selections],
    stale: Vec<bool>,
    cache: &'p dyn CacheProbe,
}

impl Prober<'_> {
    fn verdicts(&self) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Unneeded; self.graph.steps.len()];
        let ends = self.graph.targets.iter().map(|target| target.step);
        let mut wave = self.chains(ends, &verdicts);
        while !wave.is_empty() {
            let mut records = self.look_up(&wave);
            // Bases have smaller numbers, so they are decided first.
            for id in &wave {
                let step = self.graph.step(*id);
                verdicts[id.0] = self.verdict(step, records.remove(id), &verdicts);
            }
            let missed = wave.iter().filter(|id| !verdicts[id.0].is_known());
            let reads = missed.flat_map(|id| &self.graph.step(*id).reads);
            wave = self.chains(reads.copied(), &verdicts);
        }
        verdicts
    }

    /// The steps up to these ends about which nothing is said yet.
    fn chains(&self, ends: impl Iterator<Item = StepId>, verdicts: &[Verdict]) -> BTreeSet<StepId> {
        let mut steps = BTreeSet::new();
        for end in ends {
            let mut next = Some(end);
            while let Some(id) = next.filter(|id| verdicts[id.0] == Verdict::Unneeded) {
                if !steps.insert(id) {
                    break;
                }
                next = self.graph.step(id).base;
            }
        }
        steps
    }

    /// The records of those that may use one.
    fn look_up(&self, wave: &BTreeSet<StepId>) -> BTreeMap<StepId, Record> {
        let asks = |id: &&StepId| {
            let step = self.graph.step(**id);
            !step.no_cache && !matches!(step.op, Op::Scratch | Op::Image(_))
        };
        let asking: Vec<StepId> = wave.iter().filter(asks).copied().collect();
        let wanted: Vec<Key> = asking.iter().map(|id| self.keys[id.0]).collect();
        let found = self.cache.probe_all(&wanted);
        let pairs = asking.into_iter().zip(found);
        pairs
            .filter_map(|(id, record)| Some((id, record?)))
            .collect()
    }

    fn verdict(&self, step: &Step, record: Option<Record>, earlier: &[Verdict]) -> Verdict {
        if matches!(step.op, Op::Scratch | Op::Image(_)) {
            return Verdict::Given;
        }
        if step.no_cache {
            return Verdict::Build;
        }
        let base_known = step.base.is_none_or(|base| earlier[base.0].is_known());
        let on_base = base_known || ignores_base(step);
        if let (Some(record), true, false) = (record, on_base, self.stale[step.id.0]) {
            return Verdict::Cached(Box::new(record));
        }
        if let (Op::Run(run), true, true) = (&step.op, base_known, step.reads.is_empty()) {
            // All that the content key is made of is known already.
            let below = self.chain(step.base, earlier);
            let material = key::run_content(step, run, &below, &self.selections[step.id.0]);
            return match self.cache.probe(&material.key()) {
                Some(record) => Verdict::Cached(Box::new(record)),
                None => Verdict::Build,
            };
        }
        if self.may_hit_by_content(step) {
            Verdict::Undetermined
        } else {
            Verdict::Build
        }
    }

    /// The layers up to a step whose verdict is known, bottom first.
    fn chain(&self, from: Option<StepId>, earlier: &[Verdict]) -> Vec<DiffId> {
        let mut chain = Vec::new();
        let mut next = from;
        while let Some(id) = next {
            let step = self.graph.step(id);
            match (&step.op, &earlier[id.0]) {
                (Op::Image(image), _) => {
                    chain.extend(image.layers.iter().rev().map(|layer| layer.diff_id));
                }
                (_, Verdict::Cached(record)) => chain.push(record.diff_id),
                _ => {}
            }
            next = step.base;
        }
        chain.reverse();
        chain
    }

    /// Whether some record is of this very operation on other inputs.
    fn may_hit_by_content(&self, step: &Step) -> bool {
        let own = &self.materials[step.id.0];
        let operation = key::operation(&step.op).key();
        self.cache.similar(&operation).iter().any(|record| {
            let other = &record.material;
            // What is taken from a context is known; a record of other files is of no use.
            let taken = own.field("selection");
            let same_files = taken.is_none() || taken == other.field("selection");
            same_files
                && own
                    .differences(other)
                    .iter()
                    .all(|field| INPUTS.contains(field))
        })
    }
}

/// Whether a step's layer does not depend on what is below.
fn ignores_base(step: &Step) -> bool {
    matches!(&step.op, Op::Copy(copy) if copy.link)
}
