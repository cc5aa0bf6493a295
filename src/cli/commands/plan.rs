//! `builder plan`

use std::sync::Arc;

use super::super::args::values::CallMethod;
use super::super::args::{GlobalArgs, PlanArgs, PlanFormat};
use super::super::screen::{self, Show};
use super::super::{CliError, Environment, Stop, request};
use crate::event::{EventSink, Reporter};
use crate::failure::{ExitCode, Failure};
use crate::pipeline::request::BuildRequest;
use crate::pipeline::result::Planned;

/// What goes before the error of a plan.
const PREFIX: &str = "failed to plan: ";

/// Prints the plan; `walk` is the street up to it.
pub(crate) fn plan(
    (args, global): (&PlanArgs, &GlobalArgs),
    environment: &Environment,
    walk: impl FnOnce(&BuildRequest, &Reporter) -> Result<Planned, Failure>,
) -> Result<ExitCode, Stop> {
    let asked = request::build(&args.build, global, environment)?;
    if asked.call.method != CallMethod::Build {
        let what = "--call of `builder plan`".to_owned();
        return Err(CliError::Unsupported { what }.into());
    }
    let show = Show::choose(args.build.quiet, args.build.progress, environment)?;
    let console = screen::console(show.mode, global.debug, environment);
    let reporter = Reporter::new(Arc::clone(&console) as Arc<dyn EventSink>);
    asked
        .notices
        .iter()
        .for_each(|notice| reporter.notice(notice.clone()));
    match walk(&asked.request, &reporter) {
        Ok(planned) => {
            console.finish(None);
            super::print(format(&planned, args.format).as_bytes())?;
            // The process ends here; the kernel takes back at once what would be freed bit by bit.
            std::mem::forget(planned);
            Ok(ExitCode::Success)
        }
        Err(failure) => {
            console.finish(Some((&failure, PREFIX)));
            Err(Stop::Told(failure.exit_code()))
        }
    }
}

fn format(planned: &Planned, format: PlanFormat) -> String {
    let Planned {
        plan,
        explanations,
        source,
    } = planned;
    match format {
        PlanFormat::Text => plan.text(explanations),
        PlanFormat::Json => format!("{:#}\n", plan.json(source, explanations)),
        PlanFormat::Dot => plan.dot(),
        PlanFormat::Mermaid => plan.mermaid(),
    }
}
