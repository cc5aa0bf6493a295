//! `builder build --check` and `--call=…`: questions about a Dockerfile, answered on standard output
//! in the words of buildx or as BuildKit's JSON.

use std::io;
use std::sync::Arc;

use serde_json::{Value, json};

use super::super::args::values::CallMethod;
use super::super::args::{BuildArgs, GlobalArgs};
use super::super::screen::{self, Show};
use super::super::{Environment, Stop, files, request};
use crate::diagnostic::{Diagnostic, SourceFile};
use crate::event::{EventSink, Reporter};
use crate::failure::{ExitCode, Failure};
use crate::pipeline::call::{Answer, Finding, Question, Reply};
use crate::pipeline::request::BuildRequest;
use crate::planner::{Listed, Outline, OutlineMount};
use crate::ui::{Table, check};

/// What goes before the error of an outline or a list of targets.
const PREFIX: &str = "failed to build: failed to solve: ";

/// Answers what `--call` asks; `ask` is the pipeline.
pub(crate) fn call(
    (args, global): (&BuildArgs, &GlobalArgs),
    environment: &Environment,
    ask: impl FnOnce(&BuildRequest, Question, &Reporter) -> Result<Answer, Failure>,
) -> Result<ExitCode, Stop> {
    let asked = request::build(args, global, environment)?;
    let question = match asked.call.method {
        CallMethod::Build | CallMethod::Check => Question::Check,
        CallMethod::Outline => Question::Outline,
        CallMethod::Targets => Question::Targets,
    };
    let show = Show::choose(args.quiet, args.progress, environment)?;
    asked
        .metadata_file
        .iter()
        .for_each(|path| files::clear(path));
    let console = screen::console(show.mode, global.debug, environment);
    let reporter = Reporter::new(Arc::clone(&console) as Arc<dyn EventSink>);
    for notice in &asked.notices {
        reporter.notice(notice.clone());
    }
    let answer = match ask(&asked.request, question, &reporter) {
        Ok(answer) => answer,
        Err(failure) => {
            console.finish(Some((&failure, PREFIX)));
            return Err(Stop::Told(failure.exit_code()));
        }
    };
    let json = json(&answer);
    if let Some(path) = &asked.metadata_file {
        let metadata = json!({ "result.json": json });
        files::write(path, format!("{metadata:#}").as_bytes())?;
    }
    let text = if asked.call.json {
        format!("{json:#}\n").into_bytes()
    } else {
        text(&answer.reply).map_err(Stop::stdout)?
    };
    let Reply::Check { warnings, errors } = answer.reply else {
        console.finish(None);
        super::print(&text)?;
        return Ok(ExitCode::Success);
    };
    if !errors.is_empty() {
        super::print(&text)?;
        console.finish(Some((&Failure::Diagnosed(errors), "")));
        return Err(Stop::Told(ExitCode::Failed));
    }
    console.finish(None);
    super::print(&text)?;
    let is_fine = warnings.is_empty() || asked.call.ignore_status;
    Ok(if is_fine {
        ExitCode::Success
    } else {
        ExitCode::Failed
    })
}

/// The answer for people.
fn text(reply: &Reply) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    match reply {
        Reply::Check { warnings, errors } => {
            if !warnings.is_empty() || errors.is_empty() {
                check::summary(warnings.len(), &mut out)?;
            }
            for Finding { diagnostic, lines } in warnings {
                check::finding(diagnostic, *lines, &mut out)?;
            }
            if !warnings.is_empty() && !errors.is_empty() {
                out.push(b'\n');
            }
        }
        Reply::Outline(outline) => outline_text(outline, &mut out)?,
        Reply::Targets(listed) => {
            let mut table = Table::new(&["TARGET", "DESCRIPTION"]).gap(1);
            for target in &listed.targets {
                let name = match (target.name.as_str(), target.is_default) {
                    ("", true) => "(default)".to_owned(),
                    (name, true) => format!("{name} (default)"),
                    (name, false) => name.to_owned(),
                };
                table.row([name, target.description.clone()]);
            }
            table.write(&mut out)?;
        }
    }
    Ok(out)
}

/// The parameters as tables, each with an empty line after it.
fn outline_text(outline: &Outline, out: &mut Vec<u8>) -> io::Result<()> {
    let Outline {
        name,
        description,
        args,
        secrets,
        ssh,
    } = outline;
    if !name.is_empty() || !description.is_empty() {
        let name = if name.is_empty() { "(default)" } else { name };
        let mut table = Table::new(&["TARGET:", name]).gap(1);
        if !description.is_empty() {
            table.row(["DESCRIPTION:".to_owned(), description.clone()]);
        }
        table.write(out)?;
        out.push(b'\n');
    }
    if !args.is_empty() {
        let mut table = Table::new(&["BUILD ARG", "VALUE", "DESCRIPTION"]);
        for arg in args {
            table.row([arg.name.clone(), arg.value.clone(), arg.description.clone()]);
        }
        table.write(out)?;
        out.push(b'\n');
    }
    for (head, mounts) in [("SECRET", secrets), ("SSH", ssh)] {
        if mounts.is_empty() {
            continue;
        }
        let mut table = Table::new(&[head, "REQUIRED"]);
        for mount in mounts {
            let required = if mount.required { "true" } else { "" };
            table.row([mount.name.clone(), required.to_owned()]);
        }
        table.write(out)?;
        out.push(b'\n');
    }
    Ok(())
}

/// The answer as BuildKit's JSON.
fn json(answer: &Answer) -> Value {
    let source = &answer.source;
    match &answer.reply {
        Reply::Check { warnings, errors } => {
            let warnings: Vec<Value> = warnings.iter().map(warning).collect();
            let mut value = json!({
                "warnings": warnings,
                "sources": [{
                    "filename": source.name,
                    "data": base64(source),
                    "language": "Dockerfile",
                }],
            });
            if let Some(error) = errors.first() {
                let line = error.line();
                value["buildError"] =
                    json!({ "message": error.message, "location": location((line, line)) });
            }
            value
        }
        Reply::Outline(outline) => outline_json(outline, source),
        Reply::Targets(listed) => targets_json(listed, source),
    }
}

fn warning(finding: &Finding) -> Value {
    let Finding { diagnostic, lines } = finding;
    let Diagnostic {
        code,
        help,
        url,
        message,
        ..
    } = diagnostic;
    without_empty(json!({
        "ruleName": code,
        "description": help.as_deref().unwrap_or_default(),
        "url": url.as_deref().unwrap_or_default(),
        "detail": message,
        "location": location(*lines),
    }))
}

fn outline_json(outline: &Outline, source: &SourceFile) -> Value {
    let args = outline.args.iter().map(|arg| {
        without_empty(json!({
            "name": arg.name,
            "description": arg.description,
            "value": arg.value,
            "location": location(arg.lines),
        }))
    });
    without_empty(json!({
        "name": outline.name,
        "description": outline.description,
        "args": args.collect::<Vec<Value>>(),
        "secrets": mounts_json(&outline.secrets),
        "ssh": mounts_json(&outline.ssh),
        "sources": [base64(source)],
    }))
}

fn mounts_json(mounts: &[OutlineMount]) -> Vec<Value> {
    let mounts = mounts.iter().map(|mount| {
        without_empty(json!({
            "name": mount.name,
            "required": mount.required,
            "location": location(mount.lines),
        }))
    });
    mounts.collect()
}

fn targets_json(listed: &Listed, source: &SourceFile) -> Value {
    let targets = listed.targets.iter().map(|target| {
        without_empty(json!({
            "name": target.name,
            "default": target.is_default,
            "description": target.description,
            "base": target.base,
            "platform": target.platform,
            "location": location(target.lines),
        }))
    });
    json!({ "targets": targets.collect::<Vec<Value>>(), "sources": [base64(source)] })
}

/// Lines as BuildKit's `pb.Location`.
fn location((first, last): (usize, usize)) -> Value {
    json!({ "ranges": [{ "start": { "line": first }, "end": { "line": last } }] })
}

fn base64(source: &SourceFile) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(&source.text)
}

/// An object without the members that Go's `omitempty` leaves out.
fn without_empty(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.retain(|_, member| match member {
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Bool(yes) => *yes,
            _ => true,
        });
    }
    value
}
