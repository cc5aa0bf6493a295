//! Running the rules and sifting what they found.

use std::collections::BTreeSet;

use crate::diagnostic::{Diagnostic, Span, suggest};
use crate::parser::ast::{Dockerfile, Instruction};

use super::config::Config;
use super::context::LintContext;
use super::registry::{RULES, Rule};
use super::scope::{self, Stage, Walk};

/// What a rule sees.
#[derive(Debug)]
pub struct Pass<'a> {
    /// The tree.
    pub file: &'a Dockerfile,
    /// What it may ask.
    pub context: &'a LintContext<'a>,
    walk: Walk<'a>,
}

impl<'a> Pass<'a> {
    /// All stages.
    pub(super) fn stages(&self) -> &[Stage<'a>] {
        &self.walk.stages
    }

    /// The stages whose instructions are checked: those that the target reaches.
    pub(super) fn checked_stages(&self) -> impl Iterator<Item = &Stage<'a>> {
        let stages = self.walk.stages.iter();
        stages.filter(|stage| self.is_checked(stage))
    }

    /// Whether the target reaches a stage.
    pub(super) fn is_checked(&self, stage: &Stage<'_>) -> bool {
        let reachable = self.context.reachable;
        reachable.is_none_or(|set| set.contains(&stage.index))
    }

    /// ARGs before the first FROM.
    pub(super) fn globals(&self) -> &[&'a Instruction] {
        &self.walk.globals
    }
}

/// Collects what one rule after the other finds.
#[derive(Debug)]
pub struct Findings<'a> {
    file: &'a Dockerfile,
    rule: &'static Rule,
    found: Vec<(Diagnostic, &'static Rule, &'a Instruction)>,
}

impl<'a> Findings<'a> {
    /// Reports a finding about an instruction; it is placed on the instruction's first line, at
    /// `place` if that is there.
    pub(super) fn report(&mut self, instruction: &'a Instruction, place: Span, message: String) {
        let text = &self.file.source.text;
        let start = instruction.span.start;
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line_end = line_end.min(instruction.span.end).max(start);
        let place = if (start..line_end).contains(&place.start) {
            Span::new(place.start, place.end.min(line_end))
        } else {
            Span::new(start, line_end)
        };
        self.report_at(instruction, place, message);
    }

    /// Reports a finding at a place of its own.
    pub(super) fn report_at(&mut self, instruction: &'a Instruction, place: Span, message: String) {
        let rule = self.rule;
        let mut finding = Diagnostic::warning(rule.name, &self.file.source, place, message);
        finding.help = Some(rule.description.to_owned());
        finding.url = rule.url.map(str::to_owned);
        self.found.push((finding, rule, instruction));
    }
}

/// The code of the error that `error=true` makes of findings.
pub const VIOLATION: &str = "lint-violation";

/// How many findings are told; of more than that there is only their number.
const TOLD: usize = 1000;

/// Checks a file: warnings in order of place. With `error=true` and a finding, an error that names
/// the rules comes last; a choice of rules that cannot be read is an error as well.
pub fn check(file: &Dockerfile, context: &LintContext<'_>) -> Vec<Diagnostic> {
    let (config, mut result) = config(file, context);
    let pass = Pass {
        file,
        context,
        walk: scope::walk(file, context),
    };
    let mut findings = Findings {
        file,
        rule: &RULES[0],
        found: Vec::new(),
    };
    for rule in RULES.iter().filter(|rule| config.runs(rule)) {
        findings.rule = rule;
        (rule.check)(&pass, &mut findings);
    }
    let mut found = findings.found;
    found.retain(|(_, rule, instruction)| !skipped_here(rule, instruction));
    found.sort_by(|(left, ..), (right, ..)| {
        (left.span.start, &left.message).cmp(&(right.span.start, &right.message))
    });
    let names: BTreeSet<&str> = found.iter().map(|(_, rule, _)| rule.name).collect();
    let more = found.len().saturating_sub(TOLD);
    found.truncate(TOLD);
    result.extend(found.into_iter().map(|(finding, ..)| finding));
    if more > 0 {
        let message = format!("{more} more findings are not shown");
        let last = result.last().map_or_else(Span::default, |last| last.span);
        result.push(Diagnostic::warning("lint", &file.source, last, message));
    }
    if config.error
        && let Some(first) = result.first()
    {
        let names: Vec<&str> = names.into_iter().collect();
        let message = format!("lint violation found for rules: {}", names.join(", "));
        let error = Diagnostic::error(VIOLATION, &file.source, first.span, message)
            .help("repair what is warned of, or skip rules with `# check=skip=NAME`");
        result.push(error);
    }
    result
}

/// A finding in one line, as BuildKit prints it: `Rule: message (line 3)`.
pub fn render(finding: &Diagnostic) -> String {
    format!(
        "{}: {} (line {})",
        finding.code,
        finding.message,
        finding.line()
    )
}

/// The lines that a finding is about, the first and the last: those of its instruction, except that
/// BuildKit places empty continuation lines by themselves.
pub fn lines(file: &Dockerfile, finding: &Diagnostic) -> (usize, usize) {
    let line = |offset| file.source.line_column(offset).0;
    let span = finding.span;
    let around = file.instructions.iter().find(|instruction| {
        finding.code != "NoEmptyContinuation"
            && (instruction.span.start..instruction.span.end).contains(&span.start)
    });
    match around {
        Some(instruction) => {
            let last = instruction.span.end.saturating_sub(1);
            (line(instruction.span.start), line(last))
        }
        None => (
            line(span.start),
            line(span.end.saturating_sub(1).max(span.start)),
        ),
    }
}

/// The choice of rules for the file: the build argument, else the directive.
fn config(file: &Dockerfile, context: &LintContext<'_>) -> (Config, Vec<Diagnostic>) {
    let directive = file.directives.check.as_ref();
    let span = directive.map_or_else(Span::default, |check| check.span);
    let text = context
        .check
        .or(directive.map(|check| check.value.as_str()));
    match Config::parse(text.unwrap_or_default()) {
        Ok(config) => (config, Vec::new()),
        Err(error) => {
            let help =
                "write `skip=RULE,RULE`, `error=true`, `experimental=RULE`, with `;` between";
            let error = Diagnostic::error("lint", &file.source, span, error.to_string()).help(help);
            (Config::default(), vec![error])
        }
    }
}

/// Whether a comment above the instruction skips the rule: `# check=skip=RULE`.
fn skipped_here(rule: &Rule, instruction: &Instruction) -> bool {
    instruction
        .comments
        .iter()
        .filter_map(|comment| comment.value.split_once('='))
        .filter(|(name, _)| name.trim().eq_ignore_ascii_case("check"))
        .filter_map(|(_, value)| Config::parse(value).ok())
        .any(|config| config.skips(rule))
}

/// ` (did you mean X?)`, or nothing.
pub(super) fn did_you_mean<'n>(
    name: &str,
    known: impl IntoIterator<Item = &'n str>,
    prefix: &str,
) -> String {
    let near = suggest(name, known);
    near.map_or_else(String::new, |near| {
        format!(" (did you mean {prefix}{near}?)")
    })
}
