//! A small language for planner tests: a project is a Dockerfile with a fake world around it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::Mutex;

use crate::cache::{Key, Record};
use crate::clock::Epoch;
use crate::diagnostic::{Severity, SourceFile};
use crate::digest::{ContentDigest, DiffId, Digest};
use crate::failure::{Explain, Failure, Kind};
use crate::image::{Descriptor, History, ImageConfig, RootFs};
use crate::parser;
use crate::platform::Platform;
use crate::reference::Reference;

use super::graph::{Graph, Step, StepId};
use super::key;
use super::op::{CopyInput, CopyOp, Op, SelectionDigest};
use super::ports::{BaseLayer, CacheProbe, ContextProbe, ImageResolver, ResolvedImage};
use super::{
    EpochPolicy, NoCache, Plan, PlanRequest, RunDefaults, Variable, Verdict, World, explain, graph,
    plan,
};

mod caching;
mod config;
mod corpus;
mod errors;
mod mounts;
mod platforms;
mod scopes;
mod snapshots;
mod stages;

/// A Dockerfile, its arguments and its surroundings.
pub(super) struct Project {
    dockerfile: String,
    target: Option<String>,
    build_args: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    platforms: Vec<Platform>,
    no_cache: NoCache,
    epoch: EpochPolicy,
    run: RunDefaults,
    world: FakeWorld,
}

/// Images, contexts and a cache, all in tables.
#[derive(Default)]
pub(super) struct FakeWorld {
    images: BTreeMap<String, ImageConfig>,
    contexts: BTreeMap<String, String>,
    /// What files hold, by context and path; everything else holds its own name.
    files: BTreeMap<String, String>,
    asked: Mutex<Vec<String>>,
    probed: Mutex<usize>,
    records: Mutex<BTreeMap<Key, Record>>,
    operations: Mutex<Vec<(Key, Record)>>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}: not found")]
struct NotFound(String);

impl Explain for NotFound {
    fn kind(&self) -> Kind {
        Kind::User
    }
}

/// The file without the blanks that all its lines start with.
fn dedent(text: &str) -> String {
    let text = text.trim_matches('\n').trim_end();
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let filled = text.lines().filter(|line| !line.trim().is_empty());
    let common = filled.map(indent).min().unwrap_or(0);
    let lines = text.lines();
    let lines: Vec<&str> = lines
        .map(|line| line.get(common..).unwrap_or_default())
        .collect();
    lines.join("\n") + "\n"
}

pub(super) fn project(dockerfile: &str) -> Project {
    Project {
        dockerfile: dedent(dockerfile),
        target: None,
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        platforms: Vec::new(),
        no_cache: NoCache::Never,
        epoch: EpochPolicy::Base,
        run: RunDefaults::default(),
        world: FakeWorld::default(),
    }
}

impl Project {
    pub(super) fn target(mut self, target: &str) -> Self {
        self.target = Some(target.to_owned());
        self
    }

    pub(super) fn arg(mut self, name: &str, value: &str) -> Self {
        self.build_args.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn platform(mut self, platform: &str) -> Self {
        self.platforms.push(platform.parse().unwrap());
        self
    }

    pub(super) fn no_cache(mut self, no_cache: NoCache) -> Self {
        self.no_cache = no_cache;
        self
    }

    pub(super) fn epoch(mut self, epoch: i64) -> Self {
        self.epoch = EpochPolicy::Fixed(Epoch(epoch));
        self
    }

    pub(super) fn proxy(mut self, name: &str, value: &str) -> Self {
        self.run.proxies.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn host(mut self, name: &str) -> Self {
        self.run.hosts.push(name.to_owned());
        self
    }

    pub(super) fn image(mut self, name: &str, edit: impl FnOnce(&mut ImageConfig)) -> Self {
        let mut config = image_config(name);
        edit(&mut config);
        self.world.images.insert(name.to_owned(), config);
        self
    }

    pub(super) fn context(mut self, name: &str, value: &str) -> Self {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.world.contexts.insert(name, value);
        self
    }

    pub(super) fn file(mut self, path: &str, content: &str) -> Self {
        let (path, content) = (path.to_owned(), content.to_owned());
        self.world.files.insert(path, content);
        self
    }

    /// The same project with another Dockerfile, the cache kept.
    pub(super) fn rewritten(mut self, from: &str, to: &str) -> Self {
        assert!(self.dockerfile.contains(from), "{from}");
        self.dockerfile = self.dockerfile.replace(from, to);
        self
    }

    pub(super) fn try_graph(&self) -> Result<Graph, Failure> {
        let source = SourceFile::new("Dockerfile", self.dockerfile.as_str());
        let (dockerfile, diagnostics) = parser::parse(&source);
        let errors: Vec<_> = diagnostics
            .into_iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
            .collect();
        if !errors.is_empty() {
            return Err(Failure::Diagnosed(errors));
        }
        let request = PlanRequest {
            dockerfile: &dockerfile,
            target: self.target.as_deref(),
            build_args: &self.build_args,
            labels: &self.labels,
            platforms: &self.platforms,
            build_platform: "linux/amd64".parse().unwrap(),
            no_cache: self.no_cache.clone(),
            epoch: self.epoch,
            run: self.run.clone(),
        };
        let world = World {
            images: &self.world,
            contexts: &self.world,
        };
        graph(&request, world)
    }

    pub(super) fn graph(&self) -> Graph {
        self.try_graph()
            .unwrap_or_else(|failure| panic!("{}", told(&failure)))
    }

    pub(super) fn plan(&self) -> Plan {
        let source = Arc::new(SourceFile::new("Dockerfile", self.dockerfile.as_str()));
        plan(self.graph(), &source, &self.world, &self.world)
            .unwrap_or_else(|failure| panic!("{}", told(&failure)))
    }

    /// The error as one line a finding, with its hints in parentheses.
    pub(super) fn error(&self) -> String {
        match self.try_graph() {
            Ok(_) => panic!("no error in\n{}", self.dockerfile),
            Err(failure) => told(&failure),
        }
    }

    /// Records every step as if it had been built; a layer is named by what made it.
    pub(super) fn build(self) -> Self {
        let plan = self.plan();
        for (step, planned) in plan.graph.steps.iter().zip(&plan.steps) {
            if matches!(step.op, Op::Scratch | Op::Image(_)) {
                continue;
            }
            let operation = key::operation(&step.op);
            let made = match &planned.verdict {
                Verdict::Cached(record) => record.diff_id,
                _ => DiffId(Digest::of(operation.canonical().as_bytes())),
            };
            let record = record(step, planned.material.clone(), made);
            self.world.put(operation.key(), record);
        }
        self
    }

    /// `verdict name` of each needed step that is neither scratch nor image.
    pub(super) fn verdicts(&self) -> Vec<String> {
        let plan = self.plan();
        let steps = plan.graph.steps.iter().zip(&plan.steps);
        steps
            .filter_map(|(step, planned)| {
                let word = match planned.verdict {
                    Verdict::Unneeded | Verdict::Given => return None,
                    Verdict::Cached(_) => "cached",
                    Verdict::Build => "build",
                    Verdict::Undetermined => "undetermined",
                };
                Some(format!("{word} {}", text_of(step)))
            })
            .collect()
    }

    /// All reasons of all steps.
    pub(super) fn reasons(&self) -> Vec<String> {
        let explanations = explain(&self.plan(), &self.world);
        explanations
            .into_iter()
            .flat_map(|found| found.reasons)
            .collect()
    }

    /// The lines of history that this build adds.
    pub(super) fn history(&self) -> Vec<String> {
        let graph = self.graph();
        let lines = graph.targets[0].history.iter();
        lines
            .map(|(entry, _)| entry.created_by.clone().unwrap())
            .collect()
    }

    /// The config of the first target as JSON, without history.
    pub(super) fn config(&self) -> serde_json::Value {
        let mut config = self.graph().targets.remove(0).config;
        config.history.clear();
        serde_json::to_value(config).unwrap()
    }

    /// The names under which images were asked for so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.world.asked.lock().unwrap().clone()
    }
}

/// The name of a step without its place.
pub(super) fn text_of(step: &Step) -> &str {
    step.name
        .split_once("] ")
        .map_or(&*step.name, |(_, text)| text)
}

/// The step whose name has this text.
pub(super) fn step<'a>(graph: &'a Graph, text: &str) -> &'a Step {
    graph
        .steps
        .iter()
        .find(|step| step.name.contains(text))
        .unwrap_or_else(|| panic!("no step {text} in {}", printed(graph)))
}

pub(super) fn record(step: &Step, material: crate::cache::Material, made: DiffId) -> Record {
    Record {
        version: crate::cache::record::RECORD_VERSION,
        key: material.key(),
        operation: Some(key::operation(&step.op).key()),
        diff_id: made,
        size: 1,
        blobs: Vec::new(),
        tree: None,
        name: step.name.clone(),
        cost_ms: 1,
        platform: step.platform.to_string(),
        material,
    }
}

fn told(failure: &Failure) -> String {
    match failure {
        Failure::Diagnosed(diagnostics) => diagnostics
            .iter()
            .map(|diagnostic| {
                let help = diagnostic.help.iter().map(|help| format!(" ({help})"));
                let (name, line) = (&diagnostic.source.name, diagnostic.line());
                format!(
                    "{name}:{line}: {}{}",
                    diagnostic.message,
                    help.collect::<String>()
                )
            })
            .collect::<Vec<_>>()
            .join("\n"),
        Failure::Room(error) | Failure::Placed { cause: error, .. } => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                let _ = write!(text, ": {cause}");
                source = cause.source();
            }
            for hint in error.hints() {
                let _ = write!(text, " ({hint})");
            }
            text
        }
    }
}

/// An image config such as a small base has: one layer, named by the image.
fn image_config(name: &str) -> ImageConfig {
    ImageConfig {
        created: Some("2024-01-02T03:04:05.678Z".to_owned()),
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        rootfs: RootFs {
            diff_ids: vec![DiffId(Digest::of(name.as_bytes()))],
            ..RootFs::default()
        },
        history: vec![History {
            created_by: Some(format!("ADD {name}")),
            ..History::default()
        }],
        ..ImageConfig::default()
    }
}

impl FakeWorld {
    fn put(&self, operation: Key, record: Record) {
        let mut operations = self.operations.lock().unwrap();
        operations.insert(0, (operation, record.clone()));
        self.records
            .lock()
            .unwrap()
            .entry(record.key)
            .or_insert(record);
    }

    pub(super) fn forget_layers(&self) {
        self.records.lock().unwrap().clear();
    }
}

impl ImageResolver for FakeWorld {
    fn resolve(&self, name: &str, platform: &Platform) -> Result<ResolvedImage, Failure> {
        self.asked
            .lock()
            .unwrap()
            .push(format!("{name} {platform}"));
        let short = name.split("://").last().unwrap_or(name);
        let mut config = match self.images.get(short) {
            Some(config) => config.clone(),
            None if short.contains("missing") => return Err(NotFound(name.to_owned()).into()),
            None => {
                let mut config = image_config(short);
                config.os.clone_from(&platform.os);
                config.architecture.clone_from(&platform.architecture);
                config
            }
        };
        config.variant.clone_from(&platform.variant);
        let reference = name.parse::<Reference>().ok();
        let layers = config.rootfs.diff_ids.iter().map(|diff_id| BaseLayer {
            diff_id: *diff_id,
            descriptor: Descriptor::new("layer", diff_id.0, 1),
        });
        Ok(ResolvedImage {
            manifest: Digest::of(format!("{reference:?} {platform}").as_bytes()),
            reference,
            layers: layers.collect(),
            config,
        })
    }
}

impl ContextProbe for FakeWorld {
    fn named(&self, name: &str) -> Option<String> {
        self.contexts.get(name).cloned()
    }

    fn selection(&self, op: &CopyOp) -> Result<SelectionDigest, Failure> {
        let mut text = String::new();
        for input in &op.inputs {
            match input {
                CopyInput::Path(path) if path.contains("missing") => {
                    return Err(NotFound(path.clone()).into());
                }
                CopyInput::Path(path) => {
                    let content = self.files.get(path).unwrap_or(path);
                    let _ = write!(text, "{path}={content};");
                }
                other => {
                    let _ = write!(text, "{other:?};");
                }
            }
        }
        Ok(SelectionDigest(ContentDigest::of(text.as_bytes())))
    }

    fn mounted(&self, context: &str, source: &str) -> Result<SelectionDigest, Failure> {
        let path = source.trim_start_matches('/');
        let held = self.files.get(path).map_or(path, String::as_str);
        let shown = format!("{context}:{held}");
        Ok(SelectionDigest(ContentDigest::of(shown.as_bytes())))
    }
}

impl CacheProbe for FakeWorld {
    fn probe(&self, key: &Key) -> Option<Record> {
        *self.probed.lock().unwrap() += 1;
        self.records.lock().unwrap().get(key).cloned()
    }

    fn similar(&self, operation: &Key) -> Vec<Record> {
        let operations = self.operations.lock().unwrap();
        let same = operations.iter().filter(|(key, _)| key == operation);
        same.map(|(_, record)| record.clone()).collect()
    }
}

/// A graph as text: steps with inputs and what they do, then what each target adds.
pub(super) fn printed(graph: &Graph) -> String {
    let mut text = String::new();
    for step in &graph.steps {
        let base = step
            .base
            .map_or(String::new(), |base| format!(" on {}", base.0));
        let reads: Vec<String> = step.reads.iter().map(|StepId(id)| id.to_string()).collect();
        let reads = match reads.as_slice() {
            [] => String::new(),
            reads => format!(" reads {}", reads.join(",")),
        };
        let _ = writeln!(
            text,
            "{}{base}{reads} @{}: {}",
            step.id.0, step.epoch.0, step.name
        );
        let _ = writeln!(text, "    {}", printed_op(&step.op));
    }
    for target in &graph.targets {
        let _ = writeln!(
            text,
            "target {} = {} @{}",
            target.platform, target.step.0, target.epoch.0
        );
        for (entry, step) in &target.history {
            let made = step.map_or("-".to_owned(), |step| step.0.to_string());
            let _ = writeln!(text, "    {made}: {}", entry.created_by.as_deref().unwrap());
        }
        let config = serde_json::to_string(&target.config.config).unwrap();
        let _ = writeln!(text, "    {config}");
    }
    text
}

fn printed_op(op: &Op) -> String {
    match op {
        Op::Image(image) => format!("Image {}", image.name),
        other => format!("{other:?}"),
    }
}

/// The set of names, for tests that do not care about order.
pub(super) fn set<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> BTreeSet<String> {
    items
        .into_iter()
        .map(|item| item.as_ref().to_owned())
        .collect()
}
