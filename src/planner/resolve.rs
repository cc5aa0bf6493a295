//! Stages of one target platform: bases resolved, ONBUILD spliced in, unreachable ones dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::rc::Rc;

use crate::diagnostic::{Diagnostic, Span};
use crate::failure::Failure;
use crate::parser::ast::{Command, Instruction, TriggerProblem};
use crate::platform::Platform;

use super::graph::StageId;
use super::onbuild;
use super::scope::Globals;
use super::source::{External, ExternalId, Externals};
use super::stage::{Meaning, Mention, StageDef, StageTable, mentions};
use super::words::Words;

/// The stages that a target needs, each after all that it uses.
#[derive(Debug)]
pub(crate) struct StageGraph<'a> {
    /// In order of the file; the last is the target.
    pub(crate) stages: Vec<ResolvedStage<'a>>,
}

/// A stage whose base is known.
#[derive(Debug)]
pub(crate) struct ResolvedStage<'a> {
    /// The stage as written.
    pub(crate) id: StageId,
    /// What the log calls it; empty if it is the only one.
    pub(crate) label: String,
    /// Where FROM stands.
    pub(crate) span: Span,
    /// What it stands on.
    pub(crate) base: Base,
    /// The platform that its RUNs are for.
    pub(crate) platform: Platform,
    /// Its instructions, triggers first.
    pub(crate) entries: Vec<Entry<'a>>,
}

/// What a stage stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(StageId),
    /// An image or a named context.
    External(ExternalId),
}

/// One instruction of a stage.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// The instruction.
    pub(crate) instruction: Held<'a>,
    /// Where it came from.
    pub(crate) origin: Origin,
}

/// An instruction of the file, or one that was parsed on the way.
#[derive(Clone, Debug)]
pub(crate) enum Held<'a> {
    /// One of the file.
    Borrowed(&'a Instruction),
    /// One of an image's trigger; boxed, so that those of the file cost a pointer each.
    Owned(Box<Instruction>),
}

impl Deref for Held<'_> {
    type Target = Instruction;

    fn deref(&self) -> &Instruction {
        match self {
            Self::Borrowed(instruction) => instruction,
            Self::Owned(instruction) => instruction,
        }
    }
}

/// Where an instruction came from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// The stage itself.
    Stage,
    /// An ONBUILD of a stage of this file; its spans are good.
    StageTrigger,
    /// An ONBUILD of an image; its spans index the trigger's own text.
    ImageTrigger(Rc<Words>),
}

impl Origin {
    /// How to expand and to name places; `file` is for instructions of the file itself.
    pub(crate) fn words<'w>(&'w self, file: &'w Words) -> &'w Words {
        match self {
            Self::Stage | Self::StageTrigger => file,
            Self::ImageTrigger(words) => words,
        }
    }

    /// Whether this is a trigger.
    pub(crate) fn is_trigger(&self) -> bool {
        !matches!(self, Self::Stage)
    }
}

/// FROM lines with variables expanded.
struct Header {
    base: Base,
    platform: Platform,
    /// Whether a named context stands for the whole stage.
    replaced: bool,
}

/// The file and the platform that stages are resolved for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'s, 'a> {
    /// The stages.
    pub(crate) table: &'s StageTable<'a>,
    /// How to expand and to name places.
    pub(crate) words: &'s Words,
    /// The target platform.
    pub(crate) platform: &'s Platform,
}

/// Resolves what `target` needs.
pub(crate) fn resolve<'a>(
    site: Site<'_, 'a>,
    target: StageId,
    globals: &Globals,
    externals: &mut Externals<'_>,
) -> Result<StageGraph<'a>, Failure> {
    let Site { table, words, .. } = site;
    let headers = headers(site, globals, externals)?;
    let mut uses = own_uses(site, &headers)?;
    reject_cycles(site, &headers, &uses)?;
    let mut triggers: BTreeMap<StageId, Vec<Entry<'a>>> = BTreeMap::new();
    loop {
        let reachable = reachable(&headers, &uses, target);
        let wanted = wanted(site, &headers, &uses, &reachable);
        externals.require(&wanted, table, words)?;
        let fresh: Vec<StageId> = reachable
            .iter()
            .filter(|id| !triggers.contains_key(id))
            .copied()
            .collect();
        if fresh.is_empty() {
            reject_forward(site, &uses, &reachable)?;
            let lone = table.is_lone();
            let stages = reachable.into_iter().map(|id| {
                let found = triggers.remove(&id).unwrap_or_default();
                finish(&table.stages[id.0], &headers[id.0], found, lone)
            });
            return Ok(StageGraph {
                stages: stages.collect(),
            });
        }
        for id in fresh {
            let stage = &table.stages[id.0];
            let found = stage_triggers(site, stage, &headers, externals)?;
            for entry in &found {
                let words = entry.origin.words(words);
                for mention in mentions(&entry.instruction) {
                    let meaning = mean(table, &mention, words)?;
                    uses[id.0].push((
                        meaning,
                        Mention {
                            span: stage.span,
                            ..mention
                        },
                    ));
                }
            }
            triggers.insert(id, found);
        }
        reject_cycles(site, &headers, &uses)?;
    }
}

fn finish<'a>(
    stage: &StageDef<'a>,
    header: &Header,
    triggers: Vec<Entry<'a>>,
    lone: bool,
) -> ResolvedStage<'a> {
    let own = if header.replaced { &[] } else { stage.body };
    let own = own.iter().map(|instruction| Entry {
        instruction: Held::Borrowed(instruction),
        origin: Origin::Stage,
    });
    ResolvedStage {
        id: stage.id,
        label: if lone {
            String::new()
        } else {
            stage.label.clone()
        },
        span: stage.span,
        base: header.base.clone(),
        platform: header.platform.clone(),
        entries: triggers.into_iter().chain(own).collect(),
    }
}

/// Expands all FROM lines, reachable or not, as BuildKit does.
fn headers(
    site: Site<'_, '_>,
    globals: &Globals,
    externals: &Externals<'_>,
) -> Result<Vec<Header>, Failure> {
    let Site { table, words, .. } = site;
    let mut headers: Vec<Header> = Vec::with_capacity(table.stages.len());
    let mut errors = Vec::new();
    for stage in &table.stages {
        match header(stage, globals, words) {
            Ok(written) => {
                let header = place(site, stage, written, &headers, externals);
                headers.push(header);
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(headers)
    } else {
        Err(Failure::Diagnosed(errors))
    }
}

fn header(
    stage: &StageDef<'_>,
    globals: &Globals,
    words: &Words,
) -> Result<(String, Option<Platform>), Diagnostic> {
    let image = &stage.from.image;
    let name = words.word(image, globals)?;
    if name.is_empty() {
        let message = format!("base name ({}) should not be blank", image.raw);
        let help = "give the ARG a default above the first FROM, or pass --build-arg";
        return Err(words.error("blank-base", image.span, message).help(help));
    }
    let Some(written) = &stage.from.platform else {
        return Ok((name, None));
    };
    let text = words.word(written, globals)?;
    if text.is_empty() {
        let message = format!("empty platform value from expression {}", written.raw);
        return Err(words.error("empty-platform", written.span, message));
    }
    let platform = text.parse::<Platform>().map_err(|error| {
        let message = format!("failed to parse platform {}: {error}", written.raw);
        words.error("invalid-platform", written.span, message)
    })?;
    Ok((name, Some(platform)))
}

fn place(
    site: Site<'_, '_>,
    stage: &StageDef<'_>,
    (name, platform): (String, Option<Platform>),
    earlier: &[Header],
    externals: &Externals<'_>,
) -> Header {
    let target = site.platform;
    let platform = platform.unwrap_or_else(|| target.clone());
    if let Some(own) = &stage.name
        && externals.replaces_stage(own, &platform)
    {
        let id = ExternalId {
            name: own.clone(),
            platform: platform.clone(),
        };
        return Header {
            base: Base::External(id),
            platform,
            replaced: true,
        };
    }
    let (base, platform) = if let Some(base) = site.table.base(stage.id, &name) {
        let inherited = earlier.get(base.0).map(|header| header.platform.clone());
        (Base::Stage(base), inherited.unwrap_or(platform))
    } else if name == "scratch" {
        (Base::Scratch, target.clone())
    } else {
        let id = ExternalId {
            name,
            platform: platform.clone(),
        };
        (Base::External(id), platform)
    };
    Header {
        base,
        platform,
        replaced: false,
    }
}

/// For each stage what its own instructions mention.
type Uses = Vec<Vec<(Meaning, Mention)>>;

fn own_uses(site: Site<'_, '_>, headers: &[Header]) -> Result<Uses, Failure> {
    let Site { table, words, .. } = site;
    let mut errors = Vec::new();
    let mut uses = Uses::with_capacity(table.stages.len());
    for (stage, header) in table.stages.iter().zip(headers) {
        let mut own = Vec::new();
        let body = if header.replaced { &[] } else { stage.body };
        for instruction in body {
            for mention in mentions(instruction) {
                match mean(table, &mention, words) {
                    Ok(meaning) => own.push((meaning, mention)),
                    Err(error) => errors.push(error),
                }
            }
        }
        uses.push(own);
    }
    if errors.is_empty() {
        Ok(uses)
    } else {
        Err(Failure::Diagnosed(errors))
    }
}

fn mean(table: &StageTable<'_>, mention: &Mention, words: &Words) -> Result<Meaning, Diagnostic> {
    let meaning = table.meaning(mention);
    meaning.map_err(|message| words.error("invalid-stage-index", mention.span, message))
}

/// The stages that a stage stands on or reads.
fn neighbours<'a>(
    headers: &'a [Header],
    uses: &'a Uses,
    id: StageId,
) -> impl Iterator<Item = StageId> + 'a {
    let base = match &headers[id.0].base {
        Base::Stage(base) => Some(*base),
        Base::Scratch | Base::External(_) => None,
    };
    let read = uses[id.0].iter().filter_map(|(meaning, _)| match meaning {
        Meaning::Stage(read) => Some(*read),
        Meaning::Scratch | Meaning::External(_) => None,
    });
    base.into_iter().chain(read)
}

/// The stages that `target` needs, in order of the file.
fn reachable(headers: &[Header], uses: &Uses, target: StageId) -> BTreeSet<StageId> {
    let mut seen = BTreeSet::from([target]);
    let mut open = vec![target];
    while let Some(id) = open.pop() {
        open.extend(neighbours(headers, uses, id).filter(|next| seen.insert(*next)));
    }
    seen
}

/// How far the search for circles got with a stage.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    New,
    Open,
    Done,
}

/// Fails if stages need one another in a circle; depth-first with an explicit stack, since the
/// file decides how deep it goes.
fn reject_cycles(site: Site<'_, '_>, headers: &[Header], uses: &Uses) -> Result<(), Diagnostic> {
    let Site { table, words, .. } = site;
    let mut marks = vec![Mark::New; table.stages.len()];
    for start in 0..marks.len() {
        let mut stack = vec![(StageId(start), false)];
        while let Some((id, leaving)) = stack.pop() {
            if leaving {
                marks[id.0] = Mark::Done;
            } else if marks[id.0] == Mark::New {
                marks[id.0] = Mark::Open;
                stack.push((id, true));
                for next in neighbours(headers, uses, id) {
                    if marks[next.0] == Mark::Open {
                        let stage = &table.stages[next.0];
                        let message =
                            format!("circular dependency detected on stage: {}", stage.label);
                        let span = uses[id.0]
                            .iter()
                            .find(|(meaning, _)| *meaning == Meaning::Stage(next))
                            .map_or(stage.span, |(_, mention)| mention.span);
                        return Err(words.error("circular-dependency", span, message));
                    }
                    stack.push((next, false));
                }
            }
        }
    }
    Ok(())
}

/// Fails if a needed stage reads one that comes later.
fn reject_forward(
    site: Site<'_, '_>,
    uses: &Uses,
    reachable: &BTreeSet<StageId>,
) -> Result<(), Failure> {
    let Site { table, words, .. } = site;
    let mut errors = Vec::new();
    for id in reachable {
        for (meaning, mention) in &uses[id.0] {
            if !matches!(meaning, Meaning::Stage(read) if read >= id) {
                continue;
            }
            let (from, label) = (&mention.name, &table.stages[id.0].label);
            let message = match &mention.target {
                None => format!(
                    "cannot copy from stage \"{from}\", it needs to be defined before current stage \"{label}\""
                ),
                Some(target) => format!(
                    "cannot mount from stage \"{from}\" to \"{target}\", stage needs to be defined before current command"
                ),
            };
            errors.push(words.error("forward-reference", mention.span, message));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Failure::Diagnosed(errors))
    }
}

/// The images and contexts that reachable stages need, and where each is used first.
fn wanted(
    site: Site<'_, '_>,
    headers: &[Header],
    uses: &Uses,
    reachable: &BTreeSet<StageId>,
) -> BTreeMap<ExternalId, Span> {
    let mut wanted = BTreeMap::new();
    for id in reachable {
        if let Base::External(external) = &headers[id.0].base {
            let span = site.table.stages[id.0].span;
            wanted.entry(external.clone()).or_insert(span);
        }
        for (meaning, mention) in &uses[id.0] {
            if let Meaning::External(name) = meaning {
                let external = ExternalId {
                    name: name.clone(),
                    platform: site.platform.clone(),
                };
                wanted.entry(external).or_insert(mention.span);
            }
        }
    }
    wanted
}

/// What was wrong with a trigger all along.
fn told(words: &Words, wrong: &TriggerProblem) -> Failure {
    let mut problem = words.error(wrong.code, wrong.span, wrong.message.as_str());
    problem.help.clone_from(&wrong.help);
    Failure::Diagnosed(vec![problem])
}

/// The triggers that a stage's base left for it.
fn stage_triggers<'a>(
    site: Site<'_, 'a>,
    stage: &StageDef<'a>,
    headers: &[Header],
    externals: &Externals<'_>,
) -> Result<Vec<Entry<'a>>, Failure> {
    let table = site.table;
    let header = &headers[stage.id.0];
    if header.replaced {
        return Ok(Vec::new());
    }
    match &header.base {
        Base::Scratch => Ok(Vec::new()),
        Base::Stage(base) if headers[base.0].replaced => Ok(Vec::new()),
        Base::Stage(base) => {
            let commands = table.stages[base.0].body.iter();
            let triggers = commands.filter_map(|instruction| match &instruction.command {
                Command::Onbuild(onbuild) => Some(onbuild),
                _ => None,
            });
            let entries = triggers.map(|onbuild| match &onbuild.problem {
                Some(wrong) => Err(told(site.words, wrong)),
                None => Ok(Entry {
                    instruction: Held::Borrowed(&onbuild.instruction),
                    origin: Origin::StageTrigger,
                }),
            });
            entries.collect()
        }
        Base::External(id) => match externals.find(id) {
            Some(External::Image { image, .. }) => {
                onbuild::of_image(&id.name, &image.config.config.on_build, site.words)
            }
            _ => Ok(Vec::new()),
        },
    }
}
