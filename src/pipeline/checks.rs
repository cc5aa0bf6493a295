//! Build checks: what planning learnt goes to `lint`, what it finds goes to the user.

use std::collections::{BTreeMap, BTreeSet};

use crate::context::LocalContext;
use crate::diagnostic::{Diagnostic, Severity};
use crate::event::{Event, Reporter};
use crate::failure::Failure;
use crate::lint::{self, Base, Facts, LintContext};
use crate::planner::graph::{Graph, StageId};
use crate::planner::{self, PlanRequest};
use crate::tree::TreePath;

/// The build argument that replaces `# check=`.
const CHECK: &str = "BUILDKIT_DOCKERFILE_CHECK";

/// What is known of the stages of a file.
pub(super) type Stages = BTreeMap<StageId, Option<Base>>;

/// What planning and the context know.
struct Known<'a> {
    stages: &'a Stages,
    context: Option<&'a LocalContext>,
}

impl Facts for Known<'_> {
    fn base(&self, stage: usize) -> Option<Base> {
        self.stages.get(&StageId(stage)).cloned().flatten()
    }

    fn is_ignored(&self, path: &str) -> bool {
        let path = TreePath::clean(path);
        self.context
            .is_some_and(|context| context.ignores_wholly(&path))
    }
}

/// Checks a file; `stages` is what is known of them. Only those that `reachable` names are checked;
/// `None` checks all.
pub(super) fn check(
    request: &PlanRequest<'_>,
    context: Option<&LocalContext>,
    stages: &Stages,
    reachable: Option<&BTreeSet<usize>>,
) -> Vec<Diagnostic> {
    let arguments = planner::arguments(request);
    let context = LintContext {
        facts: &Known { stages, context },
        build_args: &arguments,
        check: request.build_args.get(CHECK).map(String::as_str),
        reachable,
    };
    lint::check(request.dockerfile, &context)
}

/// The checks of an ordinary build: warnings are told, once for all platforms, also if planning
/// failed. `# check=error=true` makes the build fail.
pub(super) fn during_build(
    request: &PlanRequest<'_>,
    context: Option<&LocalContext>,
    graph: Option<&Graph>,
    reporter: &Reporter,
) -> Result<Vec<Diagnostic>, Failure> {
    let nothing = Stages::new();
    let stages = graph.map_or(&nothing, |graph| &graph.stages);
    let reachable = stages.keys().map(|stage| stage.0).collect();
    let found = check(request, context, stages, Some(&reachable));
    let is_error = |finding: &Diagnostic| finding.severity == Severity::Error;
    let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(is_error);
    for warning in &warnings {
        reporter.send(Event::Warning(Box::new(warning.clone())));
    }
    if errors.is_empty() {
        Ok(warnings)
    } else {
        Err(Failure::Diagnosed(errors))
    }
}
