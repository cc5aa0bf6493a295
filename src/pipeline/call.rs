//! `--check` and `--call`: questions about a Dockerfile that nothing is built for. Images are asked
//! for only where they are at hand: in the store, or in a layout on the disk.

use std::sync::Arc;

use super::checks;
use super::contexts::Contexts;
use super::error::PipelineError;
use super::fetch::Fetches;
use super::images::Images;
use super::load;
use super::request::BuildRequest;
use super::street;
use crate::cache::{Access, Store};
use crate::diagnostic::{Diagnostic, Severity, SourceFile};
use crate::event::Reporter;
use crate::failure::Failure;
use crate::lint;
use crate::parser;
use crate::planner::ports::{ImageResolver, ResolvedImage};
use crate::planner::{self, Listed, Outline, World};
use crate::platform::Platform;
use crate::registry::Client;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// What is wrong with the file?
    Check,
    /// Which parameters does the target take?
    Outline,
    /// Which stages are there?
    Targets,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The Dockerfile.
    pub source: Arc<SourceFile>,
    /// What was asked for.
    pub reply: Reply,
}

/// The answer to a [`Question`] of the same name.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Warnings in order of place, and errors: a file with errors cannot be built.
    Check {
        /// Findings of the checks.
        warnings: Vec<Finding>,
        /// What makes the file unfit.
        errors: Vec<Diagnostic>,
    },
    /// The parameters.
    Outline(Outline),
    /// The stages.
    Targets(Listed),
}

/// A finding and the lines of the instruction that it is about.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The finding.
    pub diagnostic: Diagnostic,
    /// The first and the last line.
    pub lines: (usize, usize),
}

/// Answers a question about the Dockerfile of a request.
pub fn answer(
    request: &BuildRequest,
    question: Question,
    reporter: &Reporter,
) -> Result<Answer, Failure> {
    let store = Store::open(&request.root, Access::ReadWrite)?;
    let fetches = Fetches::new(&store, request);
    let loaded = load::load(request, &store, &fetches, reporter)?;
    let source = Arc::clone(&loaded.source);
    let (dockerfile, found) = parser::parse(&source);
    let is_error = |finding: &Diagnostic| finding.severity == Severity::Error;
    let (mut errors, mut found): (Vec<_>, Vec<_>) = found.into_iter().partition(is_error);
    if question != Question::Check && !errors.is_empty() {
        return Err(Failure::Diagnosed(errors));
    }
    let plan_request = street::plan_request(request, &loaded, &dockerfile)?;
    let client = Client::new(Arc::new(request.registry.clone()));
    let images = Images::new(&store, &client, reporter, request);
    let context = loaded.context.clone();
    let contexts = Contexts::new(&store, reporter, &fetches, context, &request.named_contexts);
    let images = AtHand(&images);
    let world = World {
        images: &images,
        contexts: &contexts,
    };
    let reply = match question {
        Question::Targets => Reply::Targets(planner::targets(&dockerfile)?),
        Question::Outline => Reply::Outline(planner::outline(&plan_request, world)?),
        Question::Check => {
            let mut survey = planner::Survey::default();
            if errors.is_empty() {
                survey = planner::survey(&plan_request, world)?;
                errors = survey.errors;
            }
            let named = plan_request.target.filter(|_| errors.is_empty());
            let reached = named.map(|_| survey.stages.keys().map(|stage| stage.0).collect());
            let context = loaded.context.as_deref();
            let checked = checks::check(&plan_request, context, &survey.stages, reached.as_ref());
            found.extend(checked);
            let (wrong, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(is_error);
            // That findings fail a build is what the exit code of a check says anyway.
            errors.extend(
                wrong
                    .into_iter()
                    .filter(|error| error.code != lint::VIOLATION),
            );
            let warnings = warnings.into_iter().map(|diagnostic| Finding {
                lines: lint::lines(&dockerfile, &diagnostic),
                diagnostic,
            });
            Reply::Check {
                warnings: warnings.collect(),
                errors,
            }
        }
    };
    Ok(Answer { source, reply })
}

/// Images that can be had without asking anybody.
struct AtHand<'a>(&'a Images<'a>);

impl ImageResolver for AtHand<'_> {
    fn resolve(&self, name: &str, platform: &Platform) -> Result<ResolvedImage, Failure> {
        let missing = || PipelineError::NotAtHand {
            name: name.to_owned(),
        };
        Ok(self.0.at_hand(name, platform).ok_or_else(missing)?)
    }
}
