//! One stage: the fold over its instructions.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Epoch;
use crate::diagnostic::{Diagnostic, Span};
use crate::image::ImageConfig;
use crate::lint;

use super::super::graph::{GraphBuilder, StageId, Step, StepId};
use super::super::op::{CopyInput, CopyOp, ImageOp, Op, Source, Unpack};
use super::super::ports::ResolvedImage;
use super::super::request::{NoCache, PlanRequest};
use super::super::resolve::{Base, ResolvedStage, Site};
use super::super::scope::{Globals, Scope};
use super::super::source::{External, ExternalId, Externals};
use super::super::stage::{Meaning, Mention};
use super::super::words::Words;
use super::config::ConfigFold;
use super::finish;
use super::instruction::At;
use super::label::Numbering;

/// A stage after its last instruction.
#[derive(Clone, Debug)]
pub(crate) struct LoweredStage {
    /// Its last step.
    pub(crate) step: StepId,
    /// Its config, without history and layers.
    pub(crate) config: ImageConfig,
    /// The variables that a child stage starts with.
    pub(crate) scope: Scope,
    /// Its epoch.
    pub(crate) epoch: Epoch,
    /// The stage it stands on.
    pub(crate) parent: Option<StageId>,
    /// The image it stands on, if it is the first of its chain.
    pub(crate) image: Option<Arc<ResolvedImage>>,
    /// Its own lines of history, with the steps that made layers.
    pub(crate) history: Vec<(String, Option<StepId>)>,
}

/// What lowering knows: everything but the steps it makes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lowering<'l, 'a> {
    /// What was asked.
    pub(crate) request: &'l PlanRequest<'l>,
    /// The file and the target platform.
    pub(crate) site: Site<'l, 'a>,
    /// What FROM lines see.
    pub(crate) globals: &'l Globals,
    /// Images and contexts.
    pub(crate) externals: &'l Externals<'l>,
    /// `SOURCE_DATE_EPOCH`, if it is set.
    pub(crate) fixed: Option<Epoch>,
}

/// The point that a stage has reached.
pub(crate) struct Cursor {
    /// The last step.
    pub(crate) step: StepId,
    /// The epoch of what comes next.
    pub(crate) epoch: Epoch,
    /// The names of what comes next.
    pub(crate) numbering: Numbering,
    /// The lines of history so far.
    pub(crate) history: Vec<(String, Option<StepId>)>,
}

impl<'a> Lowering<'_, 'a> {
    /// Lowers a stage on top of those done before. Errors of all its instructions are found.
    pub(crate) fn stage(
        self,
        stage: &ResolvedStage<'a>,
        done: &BTreeMap<StageId, LoweredStage>,
        builder: &mut GraphBuilder,
        errors: &mut Vec<Diagnostic>,
    ) -> LoweredStage {
        let mut numbering = Numbering::of(stage, self.request.platforms.len() > 1);
        let mut lowered = self.base(stage, done, &mut numbering, builder);
        builder.stage(stage.id, None);
        let inherited = weight(&lowered.config);
        if let Err(error) = self.site.words.spend(inherited, stage.span) {
            errors.push(error);
            return lowered;
        }
        let mut fold = ConfigFold::new(lowered.config);
        let mut cursor = Cursor {
            step: lowered.step,
            epoch: lowered.epoch,
            numbering,
            history: lowered.history,
        };
        for entry in &stage.entries {
            let at = At {
                lowering: self,
                stage,
                entry,
                words: entry.origin.words(self.site.words),
            };
            let result = at.apply(&mut fold, &mut lowered.scope, &mut cursor, (done, builder));
            if let Err(error) = result {
                errors.push(error);
            }
        }
        LoweredStage {
            step: cursor.step,
            config: fold.config,
            epoch: cursor.epoch,
            history: cursor.history,
            ..lowered
        }
    }

    /// What a stage starts with.
    fn base(
        self,
        stage: &ResolvedStage<'a>,
        done: &BTreeMap<StageId, LoweredStage>,
        numbering: &mut Numbering,
        builder: &mut GraphBuilder,
    ) -> LoweredStage {
        let id = match &stage.base {
            Base::Stage(parent) => match done.get(parent) {
                Some(parent_stage) => return child(*parent, parent_stage),
                None => return self.scratch(stage, builder),
            },
            Base::Scratch => return self.scratch(stage, builder),
            Base::External(id) => id,
        };
        match self.externals.find(id) {
            Some(External::Image { name, image }) => {
                builder.stage(stage.id, Some(seen(id, &image.config)));
                let mut scope = Scope::default();
                let shown = numbering.name(&format!("FROM {name}"), &scope, false);
                let (step, epoch) = self.image(stage, (name, shown), image, builder);
                let config = finish::inherited(&image.config);
                scope.inherit(&config.config);
                LoweredStage {
                    step,
                    config,
                    scope,
                    epoch,
                    parent: None,
                    image: Some(Arc::clone(image)),
                    history: Vec::new(),
                }
            }
            Some(External::Files(context)) => {
                let mut lowered = self.scratch(stage, builder);
                let text = format!("FROM {}", id.name);
                let name = numbering.name(&text, &lowered.scope, false);
                let op = Op::Copy(Box::new(whole_context(context)));
                lowered.step = builder.add(Step {
                    name,
                    base: Some(lowered.step),
                    ..self.step(stage, stage.span, op, lowered.epoch)
                });
                lowered.history.push((text, Some(lowered.step)));
                lowered
            }
            Some(External::Scratch) | None => self.scratch(stage, builder),
        }
    }

    fn scratch(self, stage: &ResolvedStage<'a>, builder: &mut GraphBuilder) -> LoweredStage {
        let config = finish::empty(self.site.platform);
        let mut scope = Scope::default();
        scope.inherit(&config.config);
        let epoch = self.fixed.unwrap_or_default();
        LoweredStage {
            step: builder.add(self.given(stage, Op::Scratch, "FROM scratch".to_owned())),
            config,
            scope,
            epoch,
            parent: None,
            image: None,
            history: Vec::new(),
        }
    }

    /// The step of an image, and its epoch. An image without layers is the empty file system.
    fn image(
        self,
        stage: &ResolvedStage<'a>,
        (name, shown): (&str, String),
        image: &ResolvedImage,
        builder: &mut GraphBuilder,
    ) -> (StepId, Epoch) {
        let created = image.config.created.as_deref();
        let created = created.and_then(Epoch::parse_rfc3339).unwrap_or_default();
        // Go's zero time, which some builders write, is no time at all.
        let epoch = self.fixed.unwrap_or(created.max(Epoch::default()));
        if image.layers.is_empty() {
            let step = self.given(stage, Op::Scratch, "FROM scratch".to_owned());
            return (builder.add(step), epoch);
        }
        let op = Op::Image(Box::new(ImageOp {
            name: name.to_owned(),
            reference: image.reference.clone(),
            manifest: image.manifest,
            config: image.config.clone(),
            layers: image.layers.clone(),
        }));
        (builder.add(self.given(stage, op, shown)), epoch)
    }

    /// A step that nothing has to be done for.
    fn given(self, stage: &ResolvedStage<'a>, op: Op, name: String) -> Step {
        Step {
            name,
            no_cache: false,
            ..self.step(stage, stage.span, op, Epoch::default())
        }
    }

    /// A step of a stage that still lacks its base, its reads and its name.
    pub(crate) fn step(self, stage: &ResolvedStage<'a>, span: Span, op: Op, epoch: Epoch) -> Step {
        let name = &self.site.table.stages[stage.id.0].name;
        let no_cache = match &self.request.no_cache {
            NoCache::Never => false,
            NoCache::All => true,
            NoCache::Stages(stages) => name.as_ref().is_some_and(|name| {
                stages
                    .iter()
                    .any(|filter| filter.eq_ignore_ascii_case(name))
            }),
        };
        Step {
            id: StepId(0),
            stage: stage.id,
            base: None,
            reads: Vec::new(),
            op,
            platform: stage.platform.clone(),
            name: String::new(),
            span,
            epoch,
            no_cache,
        }
    }

    /// What a mention means as a source of files, and the epoch of those files.
    pub(crate) fn source(
        self,
        mention: &Mention,
        (stage, words): (&ResolvedStage<'a>, &Words),
        done: &BTreeMap<StageId, LoweredStage>,
        builder: &mut GraphBuilder,
    ) -> Result<(Source, Epoch), Diagnostic> {
        let meaning = self.site.table.meaning(mention);
        let error = |message| words.error("invalid-stage-index", mention.span, message);
        let scratch = |builder: &mut GraphBuilder| {
            let step = builder.add(self.given(stage, Op::Scratch, "FROM scratch".to_owned()));
            (Source::Step(step), Epoch::default())
        };
        Ok(match meaning.map_err(error)? {
            Meaning::Scratch => scratch(builder),
            Meaning::Stage(id) => match done.get(&id) {
                Some(lowered) => (Source::Step(lowered.step), lowered.epoch),
                None => scratch(builder),
            },
            Meaning::External(name) => {
                let platform = self.site.platform.clone();
                match self.externals.find(&ExternalId { name, platform }) {
                    Some(External::Image { name, image }) => {
                        let shown = format!("FROM {name}");
                        let (step, epoch) = self.image(stage, (name, shown), image, builder);
                        (Source::Step(step), epoch)
                    }
                    Some(External::Files(context)) => {
                        (Source::Context(context.clone()), Epoch::default())
                    }
                    Some(External::Scratch) | None => scratch(builder),
                }
            }
        })
    }
}

/// What a stage on another stage starts with: everything but its history and triggers.
fn child(parent: StageId, stage: &LoweredStage) -> LoweredStage {
    let mut config = stage.config.clone();
    config.config.on_build.clear();
    LoweredStage {
        step: stage.step,
        config,
        scope: stage.scope.clone(),
        epoch: stage.epoch,
        parent: Some(parent),
        image: None,
        history: Vec::new(),
    }
}

/// What checks want to know of a base image.
fn seen(id: &ExternalId, config: &ImageConfig) -> lint::Base {
    let (actual, expected) = (config.platform(), &id.platform);
    let same = (&actual.os, &actual.architecture) == (&expected.os, &expected.architecture);
    let split = |variable: &String| {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        (name.to_owned(), value.to_owned())
    };
    lint::Base {
        env: config.config.env.iter().map(split).collect(),
        has_shell: config.config.shell.is_some(),
        wrong_platform: (!same).then(|| (id.name.clone(), actual, expected.clone())),
    }
}

/// Bytes of text that a stage inherits.
fn weight(config: &ImageConfig) -> usize {
    let inner = &config.config;
    let env: usize = inner.env.iter().map(String::len).sum();
    let labels = inner.labels.iter();
    env + labels
        .map(|(name, value)| name.len() + value.len())
        .sum::<usize>()
}

/// All files of a context, as the first layer of an image.
fn whole_context(context: &str) -> CopyOp {
    CopyOp {
        from: Source::Context(context.to_owned()),
        inputs: vec![CopyInput::Path(String::new())],
        destination: "/".to_owned(),
        destination_is_directory: true,
        chown: None,
        chmod: None,
        link: false,
        parents: false,
        excludes: Vec::new(),
        unpack: Unpack::Never,
    }
}
