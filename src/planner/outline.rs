//! What a file offers: the parameters of a target (`--call=outline`) and its stages
//! (`--call=targets`).

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Failure;
use crate::parser::ast::{Arg, Command, Dockerfile, Instruction};
use crate::parser::expand;

use super::frontend;
use super::op::{Op, RunMount};
use super::request::PlanRequest;
use super::resolve::Origin;
use super::source::World;
use super::stage::StageTable;
use super::survey::{Look, lines};
use super::words::Words;

/// The parameters of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The stage's name; empty without one.
    pub name: String,
    /// What the comment above its FROM says of it.
    pub description: String,
    /// Arguments that it and the stages it needs take, in order of the file.
    pub args: Vec<OutlineArg>,
    /// Secrets, in order of the file.
    pub secrets: Vec<OutlineMount>,
    /// ssh agents, in order of the file.
    pub ssh: Vec<OutlineMount>,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineArg {
    /// Its name.
    pub name: String,
    /// What the comment above its ARG says of it.
    pub description: String,
    /// Its value as things are; empty without one.
    pub value: String,
    /// The first and the last line of its ARG.
    pub lines: (usize, usize),
}

/// A secret or an ssh agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineMount {
    /// Its id.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// The first and the last line of the first RUN that mounts it.
    pub lines: (usize, usize),
}

/// The stages of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// In order of the file.
    pub targets: Vec<TargetLine>,
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetLine {
    /// Its name; empty without one.
    pub name: String,
    /// Whether it is built if no target is named.
    pub is_default: bool,
    /// What the comment above its FROM says of it.
    pub description: String,
    /// What it is built from, as written.
    pub base: String,
    /// Its platform, as written; empty without one.
    pub platform: String,
    /// The first and the last line of its FROM.
    pub lines: (usize, usize),
}

/// Lists the stages of a file.
pub fn targets(file: &Dockerfile) -> Result<Listed, Failure> {
    let table = StageTable::of(file)?;
    let last = table.stages.len() - 1;
    let instruction_at = |span| file.instructions.iter().find(|one| one.span == span);
    let targets = table.stages.iter().map(|stage| {
        let name = stage.name.clone().unwrap_or_default();
        let platform = stage.from.platform.as_ref();
        TargetLine {
            is_default: stage.id.0 == last,
            description: described(instruction_at(stage.span), &name),
            base: stage.from.image.raw.clone(),
            platform: platform.map(|word| word.raw.clone()).unwrap_or_default(),
            lines: lines(file, stage.span),
            name,
        }
    });
    Ok(Listed {
        targets: targets.collect(),
    })
}

/// Lists the parameters of the request's target. No image is needed.
pub fn outline(request: &PlanRequest<'_>, world: World<'_>) -> Result<Outline, Failure> {
    let file = request.dockerfile;
    frontend::check(file, request.build_args)?;
    let table = StageTable::of(file)?;
    let target = table.target(request.target)?;
    let words = Words::of(file);
    let look = Look::at(request, world, (&table, &words), &[target])?;
    if !look.errors.is_empty() {
        return Err(Failure::Diagnosed(look.errors));
    }
    let stage = &table.stages[target.0];
    let from = file.instructions.iter().find(|one| one.span == stage.span);
    let name = stage.name.clone().unwrap_or_default();
    let mut outline = Outline {
        description: described(from, &name),
        name,
        args: Arguments::of(request, &table, &look).all(&table, &look),
        ..Outline::default()
    };
    for step in &look.builder.finish(Vec::new()).steps {
        let Op::Run(run) = &step.op else { continue };
        for mount in &run.mounts {
            let (list, id, required) = match mount {
                RunMount::Secret { id, required, .. } => (&mut outline.secrets, id, *required),
                RunMount::Ssh { id, required, .. } => (&mut outline.ssh, id, *required),
                RunMount::Bind { .. } | RunMount::Cache { .. } | RunMount::Tmpfs { .. } => continue,
            };
            match list.iter_mut().find(|known| known.name == *id) {
                Some(known) => known.required |= required,
                None => list.push(OutlineMount {
                    name: id.clone(),
                    required,
                    lines: lines(file, step.span),
                }),
            }
        }
    }
    outline.secrets.sort_by_key(|mount| mount.lines);
    outline.ssh.sort_by_key(|mount| mount.lines);
    Ok(outline)
}

/// What the comments above an instruction say of a name; nothing is said of no name.
fn described(instruction: Option<&Instruction>, name: &str) -> String {
    let named = instruction.filter(|_| !name.is_empty());
    let text = named.and_then(|instruction| instruction.description(name));
    text.unwrap_or_default().to_owned()
}

/// The arguments above the first FROM.
struct Arguments<'r> {
    request: &'r PlanRequest<'r>,
    globals: BTreeMap<String, OutlineArg>,
    /// What the default of a global argument mentions.
    mentions: BTreeMap<String, BTreeSet<String>>,
}

impl<'r> Arguments<'r> {
    fn of(request: &'r PlanRequest<'r>, table: &StageTable<'_>, look: &Look<'_>) -> Self {
        let mut arguments = Self {
            request,
            globals: BTreeMap::new(),
            mentions: BTreeMap::new(),
        };
        for instruction in &table.globals {
            let Command::Arg(args) = &instruction.command else {
                continue;
            };
            for arg in args {
                let name = &arg.name.raw;
                let value = expand::Env::lookup(&look.globals, name).unwrap_or_default();
                let listed = arguments.listed(arg, instruction, value);
                arguments.globals.insert(name.clone(), listed);
                let default = arg.default.as_ref().filter(|_| !arguments.is_given(name));
                let used = default.map(|word| arguments.used(&word.raw, look));
                arguments
                    .mentions
                    .insert(name.clone(), used.unwrap_or_default());
            }
        }
        arguments
    }

    /// The arguments of all stages of the look: the target's meaning of a name goes first.
    fn all(&self, table: &StageTable<'_>, look: &Look<'_>) -> Vec<OutlineArg> {
        let mut listed: BTreeMap<String, OutlineArg> = BTreeMap::new();
        let mut list = |arg: OutlineArg| {
            listed.entry(arg.name.clone()).or_insert(arg);
        };
        for (id, stage) in look.stages.iter().rev() {
            for entry in stage.entries.iter().rev() {
                let Command::Arg(args) = &entry.instruction.command else {
                    continue;
                };
                // The places of an image's triggers are not in this file.
                if matches!(entry.origin, Origin::ImageTrigger(_)) {
                    continue;
                }
                for arg in args {
                    let scope = look.done.get(id).map(|lowered| &lowered.scope);
                    let value = scope.and_then(|scope| scope.argument(&arg.name.raw));
                    let value = value.unwrap_or_default();
                    self.in_stage(arg, &entry.instruction, value)
                        .into_iter()
                        .for_each(&mut list);
                }
            }
            let from = table.stages[id.0].from;
            let words = std::iter::once(&from.image).chain(&from.platform);
            for word in words {
                for name in self.with_mentions(self.used(&word.raw, look)) {
                    self.globals
                        .get(&name)
                        .cloned()
                        .into_iter()
                        .for_each(&mut list);
                }
            }
        }
        let mut all: Vec<OutlineArg> = listed.into_values().collect();
        all.sort_by_key(|arg| arg.lines);
        all
    }

    /// An ARG of a stage; without a value of its own it means the global one, or a predefined one,
    /// which nobody needs to be told of.
    fn in_stage(&self, arg: &Arg, instruction: &Instruction, value: &str) -> Option<OutlineArg> {
        let name = &arg.name.raw;
        if arg.default.is_none() && !self.is_given(name) {
            let global = self.globals.get(name).cloned();
            return global.or_else(|| {
                let is_predefined = super::arguments(self.request).contains_key(name);
                (!is_predefined).then(|| self.listed(arg, instruction, value))
            });
        }
        Some(self.listed(arg, instruction, value))
    }

    fn listed(&self, arg: &Arg, instruction: &Instruction, value: &str) -> OutlineArg {
        let name = arg.name.raw.clone();
        OutlineArg {
            description: described(Some(instruction), &name),
            value: value.to_owned(),
            lines: lines(self.request.dockerfile, instruction.span),
            name,
        }
    }

    fn is_given(&self, name: &str) -> bool {
        self.request.build_args.contains_key(name)
    }

    /// The variables that a word asks for.
    fn used(&self, raw: &str, look: &Look<'_>) -> BTreeSet<String> {
        let escape = self.request.dockerfile.escape();
        let expanded = expand::process_word(raw, escape, &look.globals);
        expanded.map(|expanded| expanded.used).unwrap_or_default()
    }

    /// Names, and what the defaults of those among the global arguments mention.
    fn with_mentions(&self, names: BTreeSet<String>) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut open: Vec<String> = names.into_iter().collect();
        while let Some(name) = open.pop() {
            if all.insert(name.clone()) {
                open.extend(self.mentions.get(&name).into_iter().flatten().cloned());
            }
        }
        all
    }
}
