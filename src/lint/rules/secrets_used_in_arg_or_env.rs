//! `SecretsUsedInArgOrEnv`: a name that sounds like a secret

use crate::lint::check::{Findings, Pass};
use crate::parser::ast::{Command, Word};

/// Words of a name that sound like a secret.
const SECRET: [&str; 10] = [
    "apikey",
    "auth",
    "credential",
    "credentials",
    "key",
    "password",
    "pword",
    "passwd",
    "secret",
    "token",
];

/// Words of a name that say that it is none.
const HARMLESS: [&str; 3] = ["public", "file", "version"];

pub(in crate::lint) fn check<'a>(pass: &Pass<'a>, findings: &mut Findings<'a>) {
    let steps = pass.checked_stages().flat_map(|stage| &stage.steps);
    let instructions = steps.map(|step| step.instruction);
    for instruction in pass.globals().iter().copied().chain(instructions) {
        let (name, words): (&str, Vec<&Word>) = match &instruction.command {
            Command::Arg(args) => ("ARG", args.iter().map(|arg| &arg.name).collect()),
            Command::Env(pairs) => ("ENV", pairs.pairs.iter().map(|(key, _)| key).collect()),
            _ => continue,
        };
        for word in words.into_iter().filter(|word| is_secret(&word.raw)) {
            let message = format!(
                "Do not use ARG or ENV instructions for sensitive data ({name} {:?})",
                word.raw
            );
            findings.report(instruction, word.span, message);
        }
    }
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|word| words.contains(&word));
    has(&SECRET) && !has(&HARMLESS)
}
