//! One instruction: what it does to the stage's files, config and variables.

use std::collections::BTreeMap;

use crate::clock::Epoch;
use crate::diagnostic::Diagnostic;
use crate::parser::ast::{Command, Instruction, Word};

use super::super::graph::{GraphBuilder, StageId, Step, StepId};
use super::super::op::{Op, Source, WorkdirOp};
use super::super::resolve::{Entry, Origin, ResolvedStage};
use super::super::scope::Scope;
use super::super::stage::mentions;
use super::super::words::Words;
use super::config::{Arguments, ConfigFold};
use super::copy::{self, CopyScope};
use super::label;
use super::path;
use super::run::{self, RunScope};
use super::stage::{Cursor, LoweredStage, Lowering};

/// One instruction in its stage.
pub(crate) struct At<'s, 'l, 'a> {
    /// What lowering knows.
    pub(crate) lowering: Lowering<'l, 'a>,
    /// The stage.
    pub(crate) stage: &'s ResolvedStage<'a>,
    /// The instruction.
    pub(crate) entry: &'s Entry<'a>,
    /// How to expand and to name places: a trigger has a text of its own.
    pub(crate) words: &'s Words,
}

/// The stages before this one, and where steps go.
type Surroundings<'s> = (&'s BTreeMap<StageId, LoweredStage>, &'s mut GraphBuilder);

impl At<'_, '_, '_> {
    /// Applies the instruction: steps go to the builder, the rest to config, scope and cursor.
    pub(crate) fn apply(
        &self,
        fold: &mut ConfigFold,
        scope: &mut Scope,
        cursor: &mut Cursor,
        (done, builder): Surroundings<'_>,
    ) -> Result<(), Diagnostic> {
        let instruction: &Instruction = &self.entry.instruction;
        match &instruction.command {
            Command::Run(_) | Command::Copy(_) | Command::Add(_) => {
                let mut sources = Vec::new();
                for mention in mentions(instruction) {
                    let place = (self.stage, self.words);
                    let source = self.lowering.source(&mention, place, done, builder)?;
                    sources.push((mention.name, source));
                }
                let (op, line, epoch) = self.files(fold, scope, cursor.epoch, &sources)?;
                cursor.epoch = epoch;
                self.push((op, fold.is_windows()), cursor, scope, builder);
                cursor.history.push((line, Some(cursor.step)));
            }
            Command::Workdir(word) => {
                let (op, line) = self.workdir(word, fold, scope)?;
                if let Some(op) = op {
                    let op = (Op::Workdir(op), fold.is_windows());
                    self.push(op, cursor, scope, builder);
                    cursor.history.push((line, Some(cursor.step)));
                } else {
                    cursor.history.push((line, None));
                }
            }
            _ => {
                let arguments = Arguments {
                    globals: self.lowering.globals,
                    build_args: self.lowering.request.build_args,
                };
                if let Some(line) = fold.apply(instruction, scope, arguments, self.words)? {
                    cursor.history.push((line, None));
                }
            }
        }
        Ok(())
    }

    /// RUN, COPY and ADD: the operation, its line of history and the epoch from here on.
    fn files(
        &self,
        fold: &ConfigFold,
        scope: &Scope,
        epoch: Epoch,
        sources: &[(String, (Source, Epoch))],
    ) -> Result<(Op, String, Epoch), Diagnostic> {
        let instruction: &Instruction = &self.entry.instruction;
        let (copy, add) = match &instruction.command {
            Command::Copy(copy) => (copy, false),
            Command::Add(copy) => (copy, true),
            Command::Run(run) => {
                let source = |name: &str| {
                    let found = sources.iter().find(|(known, _)| known == name)?;
                    Some(found.1.0.clone())
                };
                let run_scope = RunScope {
                    request: self.lowering.request,
                    words: self.words,
                    scope,
                    fold,
                    source: &source,
                    platform: &self.stage.platform,
                    epoch,
                };
                let (op, line) = run::lower(run, instruction.span, &run_scope)?;
                return Ok((Op::Run(Box::new(op)), line, epoch));
            }
            _ => {
                return Err(self
                    .words
                    .error("unexpected-instruction", instruction.span, ""));
            }
        };
        let (from, made) = match sources.first() {
            Some((_, (source, made))) => (source.clone(), *made),
            None => (Source::Context(String::new()), Epoch::default()),
        };
        let copy_scope = CopyScope {
            words: self.words,
            scope,
            fold,
            from,
            add,
        };
        let (op, line) = copy::lower(copy, instruction.span, &copy_scope)?;
        Ok((Op::Copy(Box::new(op)), line, epoch.max(made)))
    }

    /// WORKDIR: the directory to make, unless it is the root, and its line of history.
    fn workdir(
        &self,
        word: &Word,
        fold: &mut ConfigFold,
        scope: &Scope,
    ) -> Result<(Option<WorkdirOp>, String), Diagnostic> {
        let written = self.words.word(word, scope)?;
        let (windows, directory) = (fold.is_windows(), fold.directory());
        let target = if windows {
            let path = path::from_windows(&written).map_err(|message| {
                let error = self.words.error("windows-path", word.span, message);
                error.help("name a path below C:\\")
            })?;
            path::join(&directory, &path)
        } else {
            path::join(&directory, &written)
        };
        let config = &mut fold.config.config;
        config.working_dir = if windows {
            path::to_windows(&target)
        } else {
            target.clone()
        };
        let line = format!("WORKDIR {target}");
        let user = config.user.clone();
        let op = (target != "/").then_some(WorkdirOp { path: target, user });
        Ok((op, line))
    }

    fn push(
        &self,
        (op, is_windows): (Op, bool),
        cursor: &mut Cursor,
        scope: &Scope,
        builder: &mut GraphBuilder,
    ) {
        let instruction: &Instruction = &self.entry.instruction;
        let text = label::text(instruction);
        let span = match self.entry.origin {
            Origin::ImageTrigger(_) => self.stage.span,
            Origin::Stage | Origin::StageTrigger => instruction.span,
        };
        let reads = reads(&op);
        let mut step = Step {
            name: cursor
                .numbering
                .name(&text, scope, self.entry.origin.is_trigger()),
            base: Some(cursor.step),
            reads,
            ..self.lowering.step(self.stage, span, op, cursor.epoch)
        };
        if is_windows {
            // Also if the base is one although nobody asked for it: its layers have their form.
            "windows".clone_into(&mut step.platform.os);
        }
        cursor.step = builder.add(step);
    }
}

/// The steps that an operation reads, each once.
fn reads(op: &Op) -> Vec<StepId> {
    let sources: Vec<&Source> = match op {
        Op::Copy(copy) => vec![&copy.from],
        Op::Run(run) => run.sources().collect(),
        Op::Scratch | Op::Image(_) | Op::Workdir(_) => Vec::new(),
    };
    let mut steps: Vec<StepId> = sources
        .into_iter()
        .filter_map(|source| match source {
            Source::Step(step) => Some(*step),
            Source::Context(_) => None,
        })
        .collect();
    steps.sort();
    steps.dedup();
    steps
}
