//! Stages with their variables: every word expanded as a build would, as far as that is known.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Span;
use crate::parser::ast::{
    Arg, Command, Copy, CopySource, Dockerfile, From, Instruction, Onbuild, Pairs, Word,
};
use crate::parser::expand::{self, Env};

use super::check::did_you_mean;
use super::context::LintContext;

/// Arguments that FROM lines can use, and stages after an ARG, with values of the right shape. A
/// caller that knows better puts them among the build arguments.
const PLATFORM_ARGS: [(&str, &str); 11] = [
    ("BUILDPLATFORM", "linux/amd64"),
    ("BUILDOS", "linux"),
    ("BUILDOSVERSION", ""),
    ("BUILDARCH", "amd64"),
    ("BUILDVARIANT", ""),
    ("TARGETPLATFORM", "linux/amd64"),
    ("TARGETOS", "linux"),
    ("TARGETOSVERSION", ""),
    ("TARGETARCH", "amd64"),
    ("TARGETVARIANT", ""),
    ("TARGETSTAGE", "default"),
];

/// The value of a predefined argument.
fn platform_arg(name: &str) -> Option<&'static str> {
    let found = PLATFORM_ARGS.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| *value)
}

/// Arguments that steer the builder: declared nowhere, used by nobody, never warned of.
const CONTROL_ARGS: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// How much a hostile file can make the walk do: variables copied from stage to stage, and
/// comparisons for suggestions. Beyond it, rules that need more stay silent.
const EFFORT: usize = 1 << 20;

/// What an image has if nothing says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A file, walked.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    /// ARGs before the first FROM.
    pub(super) globals: Vec<&'a Instruction>,
    /// The stages in order.
    pub(super) stages: Vec<Stage<'a>>,
}

/// A stage.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    /// Its number.
    pub(super) index: usize,
    /// Its FROM.
    pub(super) instruction: &'a Instruction,
    /// The same, typed.
    pub(super) from: &'a From,
    /// The stage it is built from.
    pub(super) parent: Option<usize>,
    /// Its instructions.
    pub(super) steps: Vec<Step<'a>>,
}

/// An instruction of a stage.
#[derive(Debug)]
pub(super) struct Step<'a> {
    /// The instruction.
    pub(super) instruction: &'a Instruction,
    /// Its words with their expansions, where these succeed: paths of WORKDIR, ports of EXPOSE,
    /// sources of COPY and ADD.
    pub(super) texts: Vec<(String, Span)>,
    /// The variables that are not set, each once.
    pub(super) unset: Vec<Unset>,
}

/// A variable that is not set.
#[derive(Debug)]
pub(super) struct Unset {
    /// Its name.
    pub(super) name: String,
    /// The word that uses it.
    pub(super) span: Span,
    /// ` (did you mean $X?)`, or nothing.
    pub(super) hint: String,
}

/// The variables of a stage.
#[derive(Clone, Debug, Default)]
struct Variables {
    set: BTreeMap<String, String>,
    /// Names of ARGs, with a value or not.
    declared: BTreeSet<String>,
    /// Whether the variables of the base are known.
    complete: bool,
}

/// Walks a file. Stages that cannot be told (a wrong FROM) are left out with their instructions.
pub(super) fn walk<'a>(file: &'a Dockerfile, context: &LintContext<'_>) -> Walk<'a> {
    let escape = file.escape();
    let mut walk = Walk {
        globals: Vec::new(),
        stages: Vec::new(),
    };
    let mut global = Variables::default();
    let mut variables: Vec<Variables> = Vec::new();
    let mut names = BTreeMap::new();
    let mut effort = EFFORT;
    for instruction in &file.instructions {
        if let Command::From(from) = &instruction.command {
            let stage = Stage {
                index: walk.stages.len(),
                instruction,
                from,
                parent: names.get(&from.image.raw).copied(),
                steps: Vec::new(),
            };
            variables.push(inherited(&stage, &variables, &mut effort, context));
            if let Some(name) = &from.name {
                names.insert(name.value.to_lowercase(), stage.index);
            }
            walk.stages.push(stage);
        } else if let (Some(stage), Some(here)) = (walk.stages.last_mut(), variables.last_mut()) {
            let mut reader = Reader {
                escape,
                build_args: context.build_args,
                global: &global,
                variables: here,
                effort: &mut effort,
                step: Step {
                    instruction,
                    texts: Vec::new(),
                    unset: Vec::new(),
                },
            };
            reader.command(&instruction.command);
            stage.steps.push(reader.step);
        } else if let Command::Arg(args) = &instruction.command {
            walk.globals.push(instruction);
            for arg in args {
                declare_global(&mut global, arg, escape, context);
            }
        }
    }
    walk
}

fn declare_global(global: &mut Variables, arg: &Arg, escape: char, context: &LintContext<'_>) {
    let name = &arg.name.raw;
    let default = arg.default.as_ref().and_then(|default| {
        let expanded = expand::process_word(&default.raw, escape, &global.set).ok()?;
        Some(expanded.value)
    });
    if let Some(value) = context.build_args.get(name).cloned().or(default) {
        global.set.insert(name.clone(), value);
    }
    global.declared.insert(name.clone());
}

/// The variables that a stage starts with.
fn inherited(
    stage: &Stage<'_>,
    variables: &[Variables],
    effort: &mut usize,
    context: &LintContext<'_>,
) -> Variables {
    if let Some(parent) = stage.parent.and_then(|parent| variables.get(parent)) {
        let cost = parent.set.len() + parent.declared.len();
        if cost > *effort {
            return Variables::default();
        }
        *effort -= cost;
        return parent.clone();
    }
    let mut set = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
    let base = context.facts.base(stage.index);
    let complete = base.is_some() || stage.from.image.raw == "scratch";
    set.extend(base.into_iter().flat_map(|base| base.env));
    Variables {
        set,
        declared: BTreeSet::new(),
        complete,
    }
}

/// Expands the words of one instruction.
struct Reader<'r, 'a> {
    escape: char,
    build_args: &'r BTreeMap<String, String>,
    global: &'r Variables,
    variables: &'r mut Variables,
    effort: &'r mut usize,
    step: Step<'a>,
}

impl Reader<'_, '_> {
    fn command(&mut self, command: &Command) {
        match command {
            Command::Env(pairs) => {
                for (key, value) in self.pairs(pairs) {
                    self.variables.set.insert(key, value);
                }
            }
            Command::Label(pairs) => drop(self.pairs(pairs)),
            Command::Arg(args) => args.iter().for_each(|arg| self.arg(arg)),
            Command::Copy(copy) | Command::Add(copy) => self.copy(copy),
            Command::Run(run) => {
                let fields = run.mounts.iter().flat_map(|mount| &mount.fields);
                for value in fields.filter_map(|(_, value)| value.as_ref()) {
                    self.word(value);
                }
            }
            Command::Expose(ports) => ports.iter().for_each(|port| self.words(port)),
            Command::Volume(volumes) => {
                for word in &volumes.words {
                    self.word(word);
                }
            }
            Command::Workdir(word) => {
                let text = self.word(word);
                self.step.texts.extend(text.map(|text| (text, word.span)));
            }
            Command::User(word) | Command::StopSignal(word) => drop(self.word(word)),
            // A trigger is expanded in the build that it is for.
            Command::Onbuild(Onbuild { .. })
            | Command::From(_)
            | Command::Cmd(_)
            | Command::Entrypoint(_)
            | Command::Shell(_)
            | Command::Healthcheck(_)
            | Command::Maintainer(_)
            | Command::Error => {}
        }
    }

    /// All pairs see the variables from before the instruction.
    fn pairs(&mut self, pairs: &Pairs) -> Vec<(String, String)> {
        let pairs = pairs.pairs.iter();
        pairs
            .filter_map(|(key, value)| {
                let key = self.word(key);
                let value = self.word(value);
                Some((key?, value?))
            })
            .collect()
    }

    fn arg(&mut self, arg: &Arg) {
        let name = &arg.name.raw;
        let given = self.build_args.get(name).cloned();
        let value = given.or_else(|| {
            if let Some(default) = &arg.default {
                return self.word(default);
            }
            let global = self.global.set.get(name).map(String::as_str);
            global.or(platform_arg(name)).map(str::to_owned)
        });
        self.variables.declared.insert(name.clone());
        if let Some(value) = value {
            self.variables.set.insert(name.clone(), value);
        }
    }

    fn copy(&mut self, copy: &Copy) {
        let flags = [&copy.chown, &copy.chmod, &copy.checksum, &copy.destination];
        for word in flags.into_iter().flatten() {
            self.word(word);
        }
        for source in &copy.sources {
            match source {
                CopySource::Path(word) => {
                    let text = self.word(word);
                    self.step.texts.extend(text.map(|text| (text, word.span)));
                }
                CopySource::Heredoc(heredoc) if heredoc.expand => {
                    let expanded = expand::process_heredoc(&heredoc.body, &self.variables.set);
                    if let Ok(expanded) = expanded {
                        self.unset(expanded.unset, heredoc.marker);
                    }
                }
                CopySource::Heredoc(_) => {}
            }
        }
    }

    fn word(&mut self, word: &Word) -> Option<String> {
        let expanded = expand::process_word(&word.raw, self.escape, &self.variables.set).ok()?;
        self.unset(expanded.unset, word.span);
        Some(expanded.value)
    }

    fn words(&mut self, word: &Word) {
        let expanded = expand::process_words(&word.raw, self.escape, &self.variables.set);
        if let Ok(expanded) = expanded {
            self.unset(expanded.unset, word.span);
            let texts = expanded.value.into_iter().map(|text| (text, word.span));
            self.step.texts.extend(texts);
        }
    }

    fn unset(&mut self, names: BTreeSet<String>, span: Span) {
        if !self.variables.complete {
            return;
        }
        for name in names {
            let expected = self.variables.declared.contains(&name)
                || CONTROL_ARGS.contains(&name.as_str())
                || self.step.unset.iter().any(|unset| unset.name == name);
            if !expected {
                let hint = self.hint(&name);
                self.step.unset.push(Unset { name, span, hint });
            }
        }
    }

    fn hint(&mut self, name: &str) -> String {
        let known = self.variables.set.keys().map(String::as_str);
        let cost = known.clone().map(str::len).sum::<usize>() * name.len();
        if cost > *self.effort {
            return String::new();
        }
        *self.effort -= cost;
        did_you_mean(name, known, "$")
    }
}

/// The arguments that a FROM line sees, built from defaults alone: as if nothing was given with
/// `--build-arg`.
pub(super) fn defaults(globals: &[&Instruction], escape: char) -> BTreeMap<String, String> {
    let mut set: BTreeMap<String, String> = PLATFORM_ARGS
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    for instruction in globals {
        let Command::Arg(args) = &instruction.command else {
            continue;
        };
        for arg in args {
            let Some(default) = &arg.default else {
                continue;
            };
            if let Ok(expanded) = expand::process_word(&default.raw, escape, &set) {
                set.insert(arg.name.raw.clone(), expanded.value);
            }
        }
    }
    set
}

/// The names that a FROM line can use, with values only where a rule needs them.
#[derive(Debug)]
pub(super) struct FromNames<'a> {
    /// Names of ARGs before the first FROM.
    pub(super) declared: BTreeSet<&'a str>,
}

impl<'a> FromNames<'a> {
    /// Those of a file.
    pub(super) fn new(globals: &[&'a Instruction]) -> Self {
        let args = globals
            .iter()
            .filter_map(|instruction| match &instruction.command {
                Command::Arg(args) => Some(args),
                _ => None,
            });
        let declared = args.flatten().map(|arg| arg.name.raw.as_str()).collect();
        Self { declared }
    }

    /// All names.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        let predefined = PLATFORM_ARGS.iter().map(|(name, _)| *name);
        self.declared.iter().copied().chain(predefined)
    }
}

impl Env for FromNames<'_> {
    fn lookup(&self, name: &str) -> Option<&str> {
        let declared = self.declared.contains(name).then_some("");
        declared.or(platform_arg(name))
    }
}
