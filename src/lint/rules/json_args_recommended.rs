//! `JSONArgsRecommended`: `CMD ls -l`, unless a SHELL was chosen

use crate::lint::check::{Findings, Pass};
use crate::parser::ast::{Command, ShellOrExec};

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    // Whether a stage ends with a shell of its own choice, for the stages built from it.
    let mut chosen: Vec<bool> = Vec::new();
    for stage in pass.stages() {
        let base = pass.context.facts.base(stage.index);
        let inherited = stage.parent.and_then(|parent| chosen.get(parent).copied());
        let mut shell = inherited.unwrap_or_else(|| base.is_some_and(|base| base.has_shell));
        let checked = pass.is_checked(stage);
        for step in &stage.steps {
            let (name, command) = match &step.instruction.command {
                Command::Shell(_) => {
                    shell = true;
                    continue;
                }
                Command::Cmd(command) => ("CMD", command),
                Command::Entrypoint(command) => ("ENTRYPOINT", command),
                _ => continue,
            };
            if let ShellOrExec::Shell(text) = command
                && checked
                && !shell
            {
                let message = format!(
                    "JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
                );
                findings.report(step.instruction, text.span, message);
            }
        }
        chosen.push(shell);
    }
}
