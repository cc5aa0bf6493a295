//! `builder build`

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::args::{BuildArgs, GlobalArgs};
use super::super::interrupt::Interrupt;
use super::super::isolation::Passage;
use super::super::screen::{self, Show};
use super::super::{Environment, Stop, files, request};
use crate::diagnostic::Diagnostic;
use crate::event::{EventSink, Reporter};
use crate::failure::{ExitCode, Failure};
use crate::pipeline::Enter;
use crate::pipeline::request::BuildRequest;
use crate::pipeline::result::BuildResult;

/// What BuildKit's clients put before the error of a build; scripts match it.
const PREFIX: &str = "failed to build: failed to solve: ";

/// Builds: `walk` is the pipeline, `on_stop` tells it that the user wants no more.
pub(crate) fn build(
    (args, global): (&BuildArgs, &GlobalArgs),
    environment: &Environment,
    on_stop: impl FnOnce() + Send + 'static,
    walk: impl FnOnce(&BuildRequest, &Reporter, &Enter<'_>) -> Result<BuildResult, Failure>,
) -> Result<ExitCode, Stop> {
    let asked = request::build(args, global, environment)?;
    let show = Show::choose(args.quiet, args.progress, environment)?;
    let result_files = [&asked.iidfile, &asked.metadata_file];
    result_files
        .into_iter()
        .flatten()
        .for_each(|path| files::clear(path));

    let interrupt = Interrupt::watch(on_stop);
    let console = screen::console(show.mode, global.debug, environment);
    let reporter = Reporter::new(Arc::clone(&console) as Arc<dyn EventSink>);
    asked
        .notices
        .iter()
        .for_each(|notice| reporter.notice(notice.clone()));
    let passage = Passage::new(
        &asked.request.root,
        asked.request.run.isolation,
        environment,
    );
    if passage.may_leave() {
        console.hold();
    }
    let enter = |need| {
        let driver = passage.enter(need, &reporter)?;
        console.release();
        Ok(driver)
    };
    let result = match walk(&asked.request, &reporter, &enter) {
        Ok(result) => result,
        Err(failure) => {
            if let Some(code) = passage.done_elsewhere() {
                return Err(Stop::DoneElsewhere(code));
            }
            console.finish(Some((&failure, PREFIX)));
            let code = interrupt.exit_code().unwrap_or(failure.exit_code());
            return Err(Stop::Told(code));
        }
    };
    console.finish(None);
    if let Some(path) = &asked.iidfile {
        files::write(path, result.image_id.to_string().as_bytes())?;
    }
    if let Some(path) = &asked.metadata_file {
        let metadata = metadata(&result, asked.metadata_warnings);
        files::write(path, format!("{metadata:#}").as_bytes())?;
    }
    if show.prints_id {
        super::print(format!("{}\n", result.image_id).as_bytes())?;
    }
    Ok(ExitCode::Success)
}

/// The metadata file, with the keys of buildx.
fn metadata(result: &BuildResult, with_warnings: bool) -> Value {
    let reference = result.digest.hex();
    let mut metadata = json!({
        "buildx.build.ref": format!("builder/builder/{}", &reference[..25]),
        "containerimage.descriptor": result.descriptor,
        "containerimage.digest": result.digest,
    });
    if let Some(digest) = &result.config_digest {
        metadata["containerimage.config.digest"] = json!(digest);
    }
    if !result.names.is_empty() {
        metadata["image.name"] = json!(result.names.join(","));
    }
    if with_warnings {
        let warnings: Vec<Value> = result.warnings.iter().map(warning).collect();
        metadata["buildx.build.warnings"] = json!(warnings);
    }
    metadata
}

/// A finding in the form of BuildKit's `VertexWarning`.
fn warning(diagnostic: &Diagnostic) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let source = &diagnostic.source;
    let line = |offset| json!({ "line": source.line_column(offset).0 });
    let span = diagnostic.span;
    json!({
        "level": 1,
        "short": STANDARD.encode(crate::ui::render::check_line(diagnostic)),
        "detail": diagnostic.help.iter().map(|help| STANDARD.encode(help)).collect::<Vec<_>>(),
        "url": diagnostic.url,
        "sourceInfo": {
            "filename": source.name,
            "data": STANDARD.encode(&source.text),
            "language": "Dockerfile",
        },
        "range": [{ "start": line(span.start), "end": line(span.end) }],
    })
}
