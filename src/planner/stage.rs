//! The file cut into stages, names looked up: what FROM, `COPY --from` and mounts mean.
//!
//! Nothing here asks the outside world, but for the names of contexts that replace stages.

use std::collections::BTreeMap;

use crate::diagnostic::Span;
use crate::parser::ast::{Command, Dockerfile, From, Instruction, Mount};

use super::error::PlanError;
use super::graph::StageId;

/// The stages of a file, before any variable is known.
#[derive(Debug)]
pub(crate) struct StageTable<'a> {
    /// The ARGs above the first FROM.
    pub(crate) globals: Vec<&'a Instruction>,
    /// In order of the file.
    pub(crate) stages: Vec<StageDef<'a>>,
    /// Lower-cased name → stages of that name in order; mostly the last is meant.
    names: BTreeMap<String, Vec<StageId>>,
}

/// One stage.
#[derive(Debug)]
pub(crate) struct StageDef<'a> {
    /// Its number.
    pub(crate) id: StageId,
    /// Its name, lower-cased.
    pub(crate) name: Option<String>,
    /// What the log calls it: its name, or `stage-N`.
    pub(crate) label: String,
    /// The FROM line.
    pub(crate) from: &'a From,
    /// Where the FROM line stands.
    pub(crate) span: Span,
    /// The instructions after FROM.
    pub(crate) body: &'a [Instruction],
}

/// A place that names another stage, a context or an image.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    /// The name as written.
    pub(crate) name: String,
    /// Whether a number means a stage (COPY) or not (mounts).
    pub(crate) numbered: bool,
    /// Where the instruction stands.
    pub(crate) span: Span,
    /// The mount's target, for messages; `None` for COPY.
    pub(crate) target: Option<String>,
}

/// What a mention means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Meaning {
    /// A stage of this file.
    Stage(StageId),
    /// The empty file system.
    Scratch,
    /// A named context or an image.
    External(String),
}

impl<'a> StageTable<'a> {
    /// Cuts a file into stages. The parser has seen to it that only ARGs stand before the first and
    /// that names are names.
    pub(crate) fn of(dockerfile: &'a Dockerfile) -> Result<Self, PlanError> {
        let is_from = |instruction: &Instruction| matches!(instruction.command, Command::From(_));
        let instructions = &dockerfile.instructions;
        let first = instructions.iter().position(is_from);
        let mut table = Self {
            globals: instructions[..first.unwrap_or(0)].iter().collect(),
            stages: Vec::new(),
            names: BTreeMap::new(),
        };
        for (index, instruction) in instructions.iter().enumerate() {
            if let Command::From(from) = &instruction.command {
                let rest = &instructions[index + 1..];
                let end = rest.iter().position(is_from).unwrap_or(rest.len());
                table.add(from, instruction.span, &rest[..end]);
            }
        }
        if table.stages.is_empty() {
            return Err(PlanError::NoStages);
        }
        Ok(table)
    }

    fn add(&mut self, from: &'a From, span: Span, body: &'a [Instruction]) {
        let id = StageId(self.stages.len());
        let name = from.name.as_ref().map(|name| name.value.to_lowercase());
        if let Some(name) = &name {
            self.names.entry(name.clone()).or_default().push(id);
        }
        self.stages.push(StageDef {
            id,
            label: name.clone().unwrap_or_else(|| format!("stage-{}", id.0)),
            name,
            from,
            span,
            body,
        });
    }

    /// The stage that a build makes: the one named, in any case, or the last.
    pub(crate) fn target(&self, name: Option<&str>) -> Result<StageId, PlanError> {
        let Some(name) = name else {
            return Ok(StageId(self.stages.len() - 1));
        };
        self.named(name).ok_or_else(|| PlanError::TargetNotFound {
            name: name.to_owned(),
            suggestion: self.suggestion(name),
        })
    }

    /// Whether the file has one stage that mentions nothing: then the log names no stage, as
    /// BuildKit's does.
    pub(crate) fn is_lone(&self) -> bool {
        let [stage] = self.stages.as_slice() else {
            return false;
        };
        stage
            .body
            .iter()
            .all(|instruction| match &instruction.command {
                Command::Copy(copy) => copy.from.is_none(),
                Command::Run(run) => run.mounts.is_empty(),
                _ => true,
            })
    }

    /// The value of TARGETSTAGE.
    pub(crate) fn target_name(&self, name: Option<&str>) -> String {
        let last = self.stages.last().and_then(|stage| stage.name.as_deref());
        name.or(last).unwrap_or("default").to_owned()
    }

    /// The stage name nearest to `name`.
    pub(crate) fn suggestion(&self, name: &str) -> Option<String> {
        let labels = self.stages.iter().map(|stage| stage.label.as_str());
        crate::diagnostic::suggest(name, labels).map(str::to_owned)
    }

    /// The earlier stage that a FROM of stage `id` means by `name`, compared as written.
    pub(crate) fn base(&self, id: StageId, name: &str) -> Option<StageId> {
        let stages = self.names.get(name)?;
        stages.iter().rfind(|stage| **stage < id).copied()
    }

    /// The last stage of a name in any case.
    fn named(&self, name: &str) -> Option<StageId> {
        self.names.get(&name.to_lowercase())?.last().copied()
    }

    /// What `COPY --from` or a mount's `from` means.
    pub(crate) fn meaning(&self, mention: &Mention) -> Result<Meaning, String> {
        if mention.numbered
            && let Ok(number) = mention.name.parse::<i64>()
        {
            let index = usize::try_from(number)
                .ok()
                .filter(|index| *index < self.stages.len());
            return match index {
                Some(index) => Ok(Meaning::Stage(StageId(index))),
                None => Err(format!("invalid stage index {number}")),
            };
        }
        Ok(match self.named(&mention.name) {
            Some(id) => Meaning::Stage(id),
            None if mention.name == "scratch" => Meaning::Scratch,
            None => Meaning::External(mention.name.clone()),
        })
    }
}

/// What an instruction mentions: the `--from` of a COPY, the `from` of mounts. The parser lets no
/// variable through there.
pub(crate) fn mentions(instruction: &Instruction) -> Vec<Mention> {
    let span = instruction.span;
    match &instruction.command {
        Command::Copy(copy) => {
            let mention = copy.from.as_ref().map(|from| Mention {
                name: from.raw.clone(),
                numbered: true,
                span,
                target: None,
            });
            mention.into_iter().collect()
        }
        Command::Run(run) => run
            .mounts
            .iter()
            .filter_map(|mount| mount_mention(mount, span))
            .collect(),
        _ => Vec::new(),
    }
}

fn mount_mention(mount: &Mount, span: Span) -> Option<Mention> {
    let value = |names: &[&str]| {
        let mut fields = mount.fields.iter().rev();
        let (_, value) = fields.find(|(key, _)| names.contains(&key.as_str()))?;
        value.as_ref().map(|word| word.raw.clone())
    };
    Some(Mention {
        name: value(&["from"]).filter(|from| !from.is_empty())?,
        numbered: false,
        span,
        target: Some(value(&["target", "dst", "destination"]).unwrap_or_default()),
    })
}
