//! The street of this room: request in, graph out.

use std::collections::BTreeMap;

use crate::clock::Epoch;
use crate::failure::Failure;
use crate::parser::ast::Command;
use crate::parser::expand::Env as _;
use crate::platform::Platform;

use super::error::PlanError;
use super::frontend;
use super::graph::{Graph, GraphBuilder, StageId, Target};
use super::lower::{self, LoweredStage, Lowering};
use super::request::{EpochPolicy, PlanRequest};
use super::resolve::{self, Site};
use super::scope::Globals;
use super::source::{Externals, World};
use super::stage::StageTable;
use super::words::Words;

/// Makes the graph of a request: one target a platform, steps that do not depend on the platform
/// shared. Fails with diagnostics for what the file says wrong, and with the failures of the
/// outside world. Nothing is built and no file of the context is read.
pub fn graph(request: &PlanRequest<'_>, world: World<'_>) -> Result<Graph, Failure> {
    frontend::check(request.dockerfile, request.build_args)?;
    let table = StageTable::of(request.dockerfile)?;
    let target = table.target(request.target)?;
    let words = Words::of(request.dockerfile);
    let mut externals = Externals::new(world);
    let mut builder = GraphBuilder::default();
    let mut targets = Vec::new();
    let implicit = [request.build_platform.clone()];
    let platforms = match request.platforms {
        [] => &implicit,
        asked => asked,
    };
    for platform in platforms {
        let site = Site {
            table: &table,
            words: &words,
            platform,
        };
        targets.push(one(request, site, target, &mut externals, &mut builder)?);
    }
    Ok(builder.finish(targets))
}

/// One platform.
fn one(
    request: &PlanRequest<'_>,
    site: Site<'_, '_>,
    target: StageId,
    externals: &mut Externals<'_>,
    builder: &mut GraphBuilder,
) -> Result<Target, Failure> {
    let globals = globals(request, site)?;
    let fixed = fixed_epoch(request, &globals)?;
    let stages = resolve::resolve(site, target, &globals, externals)?;
    let lowering = Lowering {
        request,
        site,
        globals: &globals,
        externals,
        fixed,
    };
    let mut done: BTreeMap<StageId, LoweredStage> = BTreeMap::new();
    let mut errors = Vec::new();
    for stage in &stages.stages {
        let lowered = lowering.stage(stage, &done, builder, &mut errors);
        done.insert(stage.id, lowered);
    }
    if !errors.is_empty() {
        errors.sort_by_key(|error| error.span);
        errors.dedup();
        return Err(Failure::Diagnosed(errors));
    }
    let missing = || PlanError::TargetNotFound {
        name: request.target.unwrap_or_default().to_owned(),
        suggestion: None,
    };
    let platform: &Platform = site.platform;
    Ok(lower::target(target, &done, platform, request).ok_or_else(missing)?)
}

/// What FROM lines see: predefined arguments, then the ARGs above the first FROM.
pub(super) fn globals(request: &PlanRequest<'_>, site: Site<'_, '_>) -> Result<Globals, Failure> {
    let stage = site.table.target_name(request.target);
    let build = &request.build_platform;
    let args = request.build_args;
    let mut globals = Globals::predefined(build, site.platform, &stage, args);
    for instruction in &site.table.globals {
        let Command::Arg(args) = &instruction.command else {
            continue;
        };
        for arg in args {
            let name = arg.name.raw.as_str();
            let value = match (request.build_args.get(name), &arg.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(site.words.word(default, &globals)?),
                (None, None) => None,
            };
            if let Some(value) = value {
                globals.0.set(name, &value);
            }
        }
    }
    Ok(globals)
}

/// The epoch of all stages, if one is fixed: `--build-arg`, the request, or a global ARG.
pub(super) fn fixed_epoch(
    request: &PlanRequest<'_>,
    globals: &Globals,
) -> Result<Option<Epoch>, PlanError> {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    let value = match (request.build_args.get(NAME), request.epoch) {
        (Some(value), _) => value.as_str(),
        (None, EpochPolicy::Fixed(epoch)) => return Ok(Some(epoch)),
        (None, EpochPolicy::Base) => globals.lookup(NAME).unwrap_or_default(),
    };
    if value.is_empty() {
        return Ok(match request.epoch {
            EpochPolicy::Fixed(epoch) => Some(epoch),
            EpochPolicy::Base => None,
        });
    }
    match Epoch::parse(value) {
        Some(epoch) if epoch.0 >= 0 => Ok(Some(epoch)),
        _ if value.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            Err(PlanError::EpochOfSource {
                value: value.to_owned(),
            })
        }
        _ => Err(PlanError::InvalidEpoch {
            value: value.to_owned(),
        }),
    }
}
