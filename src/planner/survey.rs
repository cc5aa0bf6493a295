//! A look at a file that builds nothing and needs no image: what `--check` and `--call` ask.
//!
//! Stages are resolved and lowered as for a build. What stands on an image that is not known is
//! lowered on nothing: its instructions are looked at, but what is wrong with them is not told, for
//! it may be right with the variables of the image.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Diagnostic;
use crate::failure::Failure;
use crate::lint;
use crate::parser::ast::Dockerfile;
use crate::platform::Platform;

use super::build;
use super::frontend;
use super::graph::{GraphBuilder, StageId};
use super::lower::{LoweredStage, Lowering};
use super::request::PlanRequest;
use super::resolve::{self, Base, ResolvedStage, Site};
use super::scope::Globals;
use super::source::{Externals, World};
use super::stage::StageTable;
use super::words::Words;

/// What a look at a file shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Survey {
    /// The stages that the target reaches, or all without a target, and what checks want to know
    /// of the images they stand on, where that is known.
    pub stages: BTreeMap<StageId, Option<lint::Base>>,
    /// What the file says wrong, in order of place.
    pub errors: Vec<Diagnostic>,
}

/// Looks at a file: at what its target needs, or without a target at every stage. Images that the
/// world does not have are no errors. Only the first platform of the request counts.
pub fn survey(request: &PlanRequest<'_>, world: World<'_>) -> Result<Survey, Failure> {
    frontend::check(request.dockerfile, request.build_args)?;
    let table = StageTable::of(request.dockerfile)?;
    let targets = match request.target {
        Some(name) => vec![table.target(Some(name))?],
        None => (0..table.stages.len()).rev().map(StageId).collect(),
    };
    let words = Words::of(request.dockerfile);
    let look = Look::at(request, world, (&table, &words), &targets)?;
    Ok(Survey {
        stages: look.builder.finish(Vec::new()).stages,
        errors: look.errors,
    })
}

/// The arguments that a file is given: those predefined for the first platform, and what
/// `--build-arg` says.
pub fn arguments(request: &PlanRequest<'_>) -> BTreeMap<String, String> {
    let build = &request.build_platform;
    let stage = StageTable::of(request.dockerfile)
        .map(|table| table.target_name(request.target))
        .unwrap_or_default();
    let platform = platform(request);
    let globals = Globals::predefined(build, platform, &stage, request.build_args);
    let mut arguments = request.build_args.clone();
    arguments.extend(globals.0.pairs());
    arguments
}

fn platform<'r>(request: &'r PlanRequest<'_>) -> &'r Platform {
    request.platforms.first().unwrap_or(&request.build_platform)
}

/// Stages, looked at.
pub(super) struct Look<'a> {
    /// As written, with triggers.
    pub(super) stages: BTreeMap<StageId, ResolvedStage<'a>>,
    /// As they end.
    pub(super) done: BTreeMap<StageId, LoweredStage>,
    /// Their steps.
    pub(super) builder: GraphBuilder,
    /// What FROM lines see.
    pub(super) globals: Globals,
    /// What is wrong, in order of place.
    pub(super) errors: Vec<Diagnostic>,
    /// Stages whose variables are not all known.
    vague: BTreeSet<StageId>,
}

impl<'a> Look<'a> {
    /// Looks at what these targets need.
    pub(super) fn at(
        request: &PlanRequest<'a>,
        world: World<'_>,
        (table, words): (&StageTable<'a>, &Words),
        targets: &[StageId],
    ) -> Result<Self, Failure> {
        let mut look = Self {
            stages: BTreeMap::new(),
            done: BTreeMap::new(),
            builder: GraphBuilder::default(),
            globals: Globals::default(),
            errors: Vec::new(),
            vague: BTreeSet::new(),
        };
        let site = Site {
            table,
            words,
            platform: platform(request),
        };
        let mut externals = Externals::forgiving(world);
        match build::globals(request, site) {
            Ok(globals) => look.globals = globals,
            Err(failure) => return look.failed(failure),
        }
        for target in targets {
            if look.done.contains_key(target) {
                continue;
            }
            match look.target(request, site, *target, &mut externals) {
                Ok(()) => {}
                Err(failure) => look = look.failed(failure)?,
            }
        }
        look.errors.sort_by_key(|error| error.span);
        look.errors.dedup();
        Ok(look)
    }

    /// Findings are kept, other failures end the look.
    fn failed(mut self, failure: Failure) -> Result<Self, Failure> {
        match failure {
            Failure::Diagnosed(errors) => {
                self.errors.extend(errors);
                Ok(self)
            }
            Failure::Room(_) | Failure::Placed { .. } => Err(failure),
        }
    }

    fn target(
        &mut self,
        request: &PlanRequest<'a>,
        site: Site<'_, 'a>,
        target: StageId,
        externals: &mut Externals<'_>,
    ) -> Result<(), Failure> {
        let fixed = build::fixed_epoch(request, &self.globals)?;
        let resolved = resolve::resolve(site, target, &self.globals, externals)?;
        for stage in resolved.stages {
            if self.done.contains_key(&stage.id) {
                continue;
            }
            let lowering = Lowering {
                request,
                site,
                globals: &self.globals,
                externals,
                fixed,
            };
            let is_vague = match &stage.base {
                Base::Scratch => false,
                Base::Stage(parent) => self.vague.contains(parent),
                Base::External(id) => externals.find(id).is_none(),
            };
            let mut errors = Vec::new();
            let lowered = lowering.stage(&stage, &self.done, &mut self.builder, &mut errors);
            if is_vague {
                self.vague.insert(stage.id);
            } else {
                self.errors.append(&mut errors);
            }
            self.done.insert(stage.id, lowered);
            self.stages.insert(stage.id, stage);
        }
        Ok(())
    }
}

/// The lines from the first to the last byte of a place.
pub(super) fn lines(file: &Dockerfile, span: crate::diagnostic::Span) -> (usize, usize) {
    let line = |offset| file.source.line_column(offset).0;
    let last = span.end.saturating_sub(1).max(span.start);
    (line(span.start), line(last))
}
