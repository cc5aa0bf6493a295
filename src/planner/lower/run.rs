//! RUN: forms and heredocs to a command line, flags to what the sandbox is told.

use crate::clock::Epoch;
use crate::diagnostic::{Diagnostic, Span, Spanned, suggest};
use crate::parser::ast::{Heredoc, Run, ShellOrExec};
use crate::parser::expand::Env as _;
use crate::platform::Platform;

use super::super::op::{HOSTNAME, Network, RunMount, RunOp, Security, Source};
use super::super::request::PlanRequest;
use super::super::scope::Scope;
use super::super::variable::Variable;
use super::super::words::Words;
use super::config::ConfigFold;
use super::mount::{self, MountScope};

/// Where a script of `RUN <<EOF` with `#!` is shown to the command.
const SCRIPTS: &str = "/dev/pipes/";

/// The variable that tells programs which time to write.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// What a RUN's meaning depends on besides its own text.
pub(crate) struct RunScope<'a> {
    /// The whole request: defaults and control arguments.
    pub(crate) request: &'a PlanRequest<'a>,
    /// How to expand.
    pub(crate) words: &'a Words,
    /// The stage's variables.
    pub(crate) scope: &'a Scope,
    /// The stage's config.
    pub(crate) fold: &'a ConfigFold,
    /// What a mount's `from` means.
    pub(crate) source: &'a dyn Fn(&str) -> Option<Source>,
    /// The stage's platform.
    pub(crate) platform: &'a Platform,
    /// The stage's epoch.
    pub(crate) epoch: Epoch,
}

/// Lowers a RUN: the operation and its line of history.
pub(crate) fn lower(
    run: &Run,
    span: Span,
    scope: &RunScope<'_>,
) -> Result<(RunOp, String), Diagnostic> {
    if scope.fold.is_windows() || scope.platform.os == "windows" {
        let architecture = &scope.platform.architecture;
        let message = format!("RUN for windows/{architecture} is not supported");
        let error = scope.words.error("windows-run", span, message);
        return Err(error.help(
            "Windows images get files and metadata here: make the files in a stage for linux and COPY --from it",
        ));
    }
    let command = command(run, scope.fold);
    let config = &scope.fold.config.config;
    let cwd = scope.fold.directory();
    let request = scope.request;
    let control = |name: &str| request.build_args.get(name).map(String::as_str);
    let mount_scope = MountScope {
        words: scope.words,
        variables: scope.scope,
        cwd: &cwd,
        cache_namespace: control("BUILDKIT_CACHE_MOUNT_NS").unwrap_or_default(),
        source: scope.source,
    };
    let mounts: Vec<RunMount> = run
        .mounts
        .iter()
        .map(|mount| mount::lower(mount, &mount_scope))
        .collect::<Result<_, _>>()?;
    let mut env = scope.scope.environment().to_vec();
    if scope.scope.lookup(EPOCH).is_none() {
        env.push(Variable::new(EPOCH, &scope.epoch.0.to_string()));
    }
    let bytes = env.iter().map(|variable| variable.line().len() - 1);
    scope.words.spend(bytes.sum(), span)?;
    let mut hosts = request.run.hosts.clone();
    hosts.sort();
    hosts.dedup();
    let history = format!(
        "RUN {}{} # buildkit",
        scope.scope.history_prefix(),
        command.shown.join(" ")
    );
    let op = RunOp {
        args: command.args,
        script: command.script,
        env,
        proxies: scope
            .scope
            .proxies(&request.run.proxies, request.build_args),
        cwd,
        user: config.user.clone(),
        mounts,
        network: network(run.network.as_ref(), scope)?,
        hosts,
        hostname: control("BUILDKIT_SANDBOX_HOSTNAME")
            .unwrap_or(HOSTNAME)
            .to_owned(),
        security: security(run.security.as_ref(), scope.words)?,
        devices: run
            .devices
            .iter()
            .map(|device| device.value.clone())
            .collect(),
        platform: scope.platform.clone(),
    };
    Ok((op, history))
}

/// A command line, the script it runs if any, and the line as history shows it.
struct CommandLine {
    args: Vec<String>,
    script: Option<String>,
    shown: Vec<String>,
}

fn command(run: &Run, fold: &ConfigFold) -> CommandLine {
    let plain = |args: Vec<String>| CommandLine {
        shown: args.clone(),
        args,
        script: None,
    };
    let text = match &run.command {
        ShellOrExec::Exec(args) => {
            return plain(args.iter().map(|arg| arg.value.clone()).collect());
        }
        ShellOrExec::Shell(text) => text.value.as_str(),
    };
    match run.heredocs.as_slice() {
        [] => plain(fold.with_shell(text)),
        [heredoc] if is_marker_alone(text) => {
            if heredoc.body.starts_with("#!") {
                // The kernel reads the first line; history shows what BuildKit runs.
                let path = format!("{SCRIPTS}{}", heredoc.name);
                return CommandLine {
                    shown: fold.with_shell(&path),
                    args: vec![path],
                    script: Some(heredoc.body.clone()),
                };
            }
            plain(fold.with_shell(&heredoc.body))
        }
        heredocs => plain(fold.with_shell(&with_bodies(text, heredocs))),
    }
}

/// Whether a command is nothing but the marker of its heredoc.
fn is_marker_alone(text: &str) -> bool {
    let text = text.trim().trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = text.strip_prefix("<<") else {
        return false;
    };
    let name = rest.strip_prefix('-').unwrap_or(rest).trim_start();
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '<')
}

/// The command as the shell must see it: first line, then the bodies with their terminators.
fn with_bodies(text: &str, heredocs: &[Heredoc]) -> String {
    let mut whole = text.to_owned();
    for heredoc in heredocs {
        whole.push('\n');
        whole.push_str(heredoc.raw.trim_end_matches(['\n', '\r']));
    }
    whole
}

/// The first line of a simple heredoc, for the log: ` (set -e...)`.
pub(crate) fn heredoc_summary(run: &Run) -> Option<String> {
    let [heredoc] = run.heredocs.as_slice() else {
        return None;
    };
    let body = heredoc.body.trim();
    let first = body.lines().next().unwrap_or_default();
    let more = if body.lines().nth(1).is_some() {
        "..."
    } else {
        ""
    };
    Some(format!("{first}{more}"))
}

fn network(flag: Option<&Spanned<String>>, scope: &RunScope<'_>) -> Result<Network, Diagnostic> {
    let Some(flag) = flag else {
        return Ok(scope.request.run.network);
    };
    match flag.value.as_str() {
        "default" => Ok(scope.request.run.network),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other => {
            let message = format!("unsupported network mode \"{other}\"");
            let error = scope.words.error("invalid-network", flag.span, message);
            Err(did_you_mean(error, other, &["default", "none", "host"]))
        }
    }
}

fn security(flag: Option<&Spanned<String>>, words: &Words) -> Result<Security, Diagnostic> {
    let Some(flag) = flag else {
        return Ok(Security::Sandbox);
    };
    match flag.value.as_str() {
        "sandbox" => Ok(Security::Sandbox),
        "insecure" => Ok(Security::Insecure),
        other => {
            let message = format!("security \"{other}\" is not valid");
            let error = words.error("invalid-security", flag.span, message);
            Err(did_you_mean(error, other, &["sandbox", "insecure"]))
        }
    }
}

fn did_you_mean(error: Diagnostic, word: &str, choices: &[&'static str]) -> Diagnostic {
    match suggest(word, choices.iter().copied()) {
        Some(choice) => error.help(format!("did you mean `{choice}`?")),
        None => error.help(format!("write one of {}", choices.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_marker_makes_a_script() {
        for (text, alone) in [
            ("<<EOF", true),
            (" <<-'EOF' ", true),
            ("<< EOF", true),
            ("3<<EOF", true),
            ("<<EOF python3", false),
            ("cat <<EOF", false),
            ("<<A <<B", false),
            ("<<<word", false),
            ("<<", false),
        ] {
            assert_eq!(is_marker_alone(text), alone, "{text}");
        }
    }
}
