//! The canonical print of a tree: one instruction a line, parsed back to the same tree but for spans.
//!
//! Comments, here-documents and the notation of words (exec or shell form, quotes) are kept; blanks,
//! continuations and the order of flags are not.

use super::ast::{
    Command, Copy, CopySource, Dockerfile, Healthcheck, Heredoc, Instruction, Pairs, Run,
    ShellOrExec, Words,
};
use super::{flag, json, limit, mount};

/// Prints a file.
pub fn print(file: &Dockerfile) -> String {
    let mut text = String::new();
    let directives = &file.directives;
    let escape = file.escape();
    if let Some(syntax) = &directives.syntax {
        directive(&mut text, "syntax", &syntax.value);
    }
    if let Some(escape) = &directives.escape {
        directive(&mut text, "escape", escape.value.encode_utf8(&mut [0; 4]));
    }
    if let Some(check) = &directives.check {
        directive(&mut text, "check", &check.value);
    }
    // A blank line ends the zone of directives, so that a comment cannot become one.
    text.push('\n');
    for instruction in &file.instructions {
        for comment in &instruction.comments {
            text.push('#');
            if !comment.value.is_empty() && comment.value.len() < limit::PHYSICAL_LINE_BYTES - 1 {
                text.push(' ');
            }
            text.push_str(&comment.value);
            text.push('\n');
        }
        text.push_str(&wrap(&line(instruction), escape));
        text.push('\n');
        for heredoc in heredocs(&instruction.command) {
            text.push_str(&heredoc.raw);
        }
    }
    text
}

fn directive(text: &mut String, name: &str, value: &str) {
    text.push_str("# ");
    text.push_str(name);
    text.push('=');
    text.push_str(value);
    text.push('\n');
}

/// The line of an instruction, without here-documents.
fn line(instruction: &Instruction) -> String {
    let (flags, arguments) = match &instruction.command {
        Command::From(from) => {
            let mut words = vec![from.image.raw.clone()];
            if let (Some(keyword), Some(name)) = (&from.as_keyword, &from.name) {
                words.extend([keyword.value.clone(), name.value.clone()]);
            }
            let platform = from.platform.as_ref();
            let flags = platform.map(|value| flag("platform", &value.raw));
            (flags.into_iter().collect(), words.join(" "))
        }
        Command::Run(run) => (run_flags(run), command_line(&run.command)),
        Command::Copy(copy) | Command::Add(copy) => (copy_flags(copy), copy_words(copy)),
        Command::Env(pairs) | Command::Label(pairs) => (Vec::new(), self::pairs(pairs)),
        Command::Arg(args) => {
            let words: Vec<String> = args
                .iter()
                .map(|arg| match &arg.default {
                    Some(default) => format!("{}={}", arg.name.raw, default.raw),
                    None => arg.name.raw.clone(),
                })
                .collect();
            (Vec::new(), words.join(" "))
        }
        Command::Expose(ports) => (Vec::new(), join(ports.iter().map(|port| &port.raw))),
        Command::Volume(volumes) => (Vec::new(), words(volumes)),
        Command::User(word) | Command::Workdir(word) | Command::StopSignal(word) => {
            (Vec::new(), word.raw.clone())
        }
        Command::Cmd(command) | Command::Entrypoint(command) => (Vec::new(), command_line(command)),
        Command::Shell(shell) => {
            let words = shell.iter().map(|word| word.value.as_str());
            (Vec::new(), json::print(words))
        }
        Command::Healthcheck(check) => healthcheck(check),
        Command::Onbuild(onbuild) => (Vec::new(), line(&onbuild.instruction)),
        Command::Maintainer(text) => (Vec::new(), text.value.clone()),
        Command::Error => return instruction.text.clone(),
    };
    let mut line = instruction.keyword.value.clone();
    for flag in flags {
        line.push(' ');
        line.push_str(&flag);
    }
    if arguments.starts_with("--") {
        line.push_str(" --");
    }
    if !arguments.is_empty() {
        line.push(' ');
        line.push_str(&arguments);
    }
    line
}

fn flag(name: &str, value: &str) -> String {
    format!("--{name}={}", flag::quote(value))
}

fn join<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    let words: Vec<&str> = words.into_iter().map(String::as_str).collect();
    words.join(" ")
}

fn words(words: &Words) -> String {
    if words.json {
        json::print(words.words.iter().map(|word| word.raw.as_str()))
    } else {
        separate(words.words.iter().map(|word| word.raw.as_str()))
    }
}

/// Words that are no JSON array when they are read again, though they may look like one: a vertical
/// tab separates words as blanks do and stands nowhere in JSON.
fn separate<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.collect();
    let line = words.join(" ");
    if json::is_array(&line) {
        words.join("\u{b}")
    } else {
        line
    }
}

fn command_line(command: &ShellOrExec) -> String {
    match command {
        ShellOrExec::Shell(text) => text.value.clone(),
        ShellOrExec::Exec(words) => json::print(words.iter().map(|word| word.value.as_str())),
    }
}

fn pairs(pairs: &Pairs) -> String {
    let between = if pairs.legacy { ' ' } else { '=' };
    let words: Vec<String> = pairs
        .pairs
        .iter()
        .map(|(key, value)| format!("{}{between}{}", key.raw, value.raw))
        .collect();
    words.join(" ")
}

fn run_flags(run: &Run) -> Vec<String> {
    let mut flags = Vec::new();
    for mount in &run.mounts {
        let fields: Vec<String> = mount
            .fields
            .iter()
            .map(|(key, value)| match value {
                Some(value) => mount::print_field(&format!("{key}={}", value.raw)),
                None => mount::print_field(key),
            })
            .collect();
        flags.push(flag("mount", &fields.join(",")));
    }
    flags.extend(
        run.network
            .iter()
            .map(|value| flag("network", &value.value)),
    );
    flags.extend(
        run.security
            .iter()
            .map(|value| flag("security", &value.value)),
    );
    flags.extend(run.devices.iter().map(|value| flag("device", &value.value)));
    flags
}

fn copy_flags(copy: &Copy) -> Vec<String> {
    let mut flags = Vec::new();
    let texts = [
        ("from", &copy.from),
        ("chown", &copy.chown),
        ("chmod", &copy.chmod),
        ("checksum", &copy.checksum),
    ];
    for (name, value) in texts {
        flags.extend(value.iter().map(|value| flag(name, &value.raw)));
    }
    for (name, set) in [("link", copy.link), ("parents", copy.parents)] {
        if set {
            flags.push(format!("--{name}"));
        }
    }
    for (name, set) in [("keep-git-dir", copy.keep_git_dir), ("unpack", copy.unpack)] {
        flags.extend(set.map(|set| format!("--{name}={set}")));
    }
    let excludes = copy.excludes.iter();
    flags.extend(excludes.map(|value| flag("exclude", &value.raw)));
    flags
}

fn copy_words(copy: &Copy) -> String {
    if copy.json {
        let sources = copy.sources.iter().filter_map(|source| match source {
            CopySource::Path(word) => Some(word.raw.as_str()),
            CopySource::Heredoc(_) => None,
        });
        let destination = copy.destination.iter().map(|word| word.raw.as_str());
        return json::print(sources.chain(destination));
    }
    let mut words: Vec<String> = copy
        .sources
        .iter()
        .map(|source| match source {
            CopySource::Path(word) => word.raw.clone(),
            CopySource::Heredoc(heredoc) => marker(heredoc),
        })
        .collect();
    words.extend(copy.destination.iter().map(|word| word.raw.clone()));
    separate(words.iter().map(String::as_str))
}

/// The marker of a here-document. Its delimiter has no blanks where this is needed.
fn marker(heredoc: &Heredoc) -> String {
    let mut text = heredoc.fd.map_or_else(String::new, |fd| fd.to_string());
    text.push_str(if heredoc.chomp { "<<-" } else { "<<" });
    if !heredoc.expand {
        text.push_str("''");
    }
    for letter in heredoc.name.chars() {
        let special = matches!(letter, '\'' | '"' | '\\') || letter.is_whitespace();
        if special || (letter == '-' && text.ends_with("<<")) {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

fn healthcheck(check: &Healthcheck) -> (Vec<String>, String) {
    let Healthcheck::Command {
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
        command,
    } = check
    else {
        return (Vec::new(), "NONE".to_owned());
    };
    let durations = [
        ("interval", interval),
        ("timeout", timeout),
        ("start-period", start_period),
        ("start-interval", start_interval),
    ];
    let mut flags: Vec<String> = durations
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("--{name}={value}ns")))
        .collect();
    flags.extend(retries.map(|retries| format!("--retries={retries}")));
    (flags, format!("CMD {}", command_line(command)))
}

/// The here-documents of a command, in order of their markers.
fn heredocs(command: &Command) -> Vec<&Heredoc> {
    match command {
        Command::Run(run) => run.heredocs.iter().collect(),
        Command::Copy(copy) | Command::Add(copy) => copy
            .sources
            .iter()
            .filter_map(|source| match source {
                CopySource::Heredoc(heredoc) => Some(heredoc),
                CopySource::Path(_) => None,
            })
            .collect(),
        Command::Onbuild(onbuild) => match &onbuild.problem {
            Some(problem) => problem.heredocs.iter().collect(),
            None => heredocs(&onbuild.instruction.command),
        },
        _ => Vec::new(),
    }
}

/// Continues a line that is longer than a physical line may be, and keeps an escape character at its
/// end from continuing it.
fn wrap(line: &str, escape: char) -> String {
    /// How much of a line's limit is used.
    const PIECE: usize = limit::PHYSICAL_LINE_BYTES - 16;
    let mut text = String::with_capacity(line.len() + 2);
    let mut rest = line;
    while rest.len() > PIECE {
        let Some(at) = break_before(rest, PIECE, escape) else {
            break;
        };
        text.push_str(&rest[..at]);
        text.push(escape);
        text.push('\n');
        rest = &rest[at..];
    }
    text.push_str(rest);
    if rest.ends_with(escape) && !rest[..rest.len() - 1].ends_with(escape) {
        // White space that is trimmed and yet no blank that a continuation may have behind it.
        text.push('\u{b}');
    }
    text
}

/// The last place up to `limit` where a line can be continued: not behind an escape character, and
/// not before what would read as a comment or a blank line.
fn break_before(line: &str, limit: usize, escape: char) -> Option<usize> {
    (1..=limit).rev().find(|at| {
        line.is_char_boundary(*at)
            && !line[..*at].ends_with(escape)
            && !line[*at..].starts_with(|next: char| next == '#' || next.is_whitespace())
    })
}
