//! Instructions without effect on files, folded into the image config; each tells its line of
//! history.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, Span};
use crate::image::{Healthcheck, ImageConfig};
use crate::parser::ast::{self, Command, Instruction, Pairs, ShellOrExec};

use super::super::scope::{Globals, Scope};
use super::super::words::Words;
use super::{gofmt, path, port, signal};
use crate::parser::expand::Env;

/// The config of a stage while its instructions are applied.
#[derive(Clone, Debug)]
pub(crate) struct ConfigFold {
    /// The config so far, without history and layers.
    pub(crate) config: ImageConfig,
    /// Whether this stage has set CMD itself: then ENTRYPOINT leaves it alone.
    cmd_set: bool,
}

/// What the values of ARG come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments<'a> {
    /// What FROM lines see.
    pub(crate) globals: &'a Globals,
    /// `--build-arg`
    pub(crate) build_args: &'a BTreeMap<String, String>,
}

impl ConfigFold {
    /// Starts from the config of a base.
    pub(crate) fn new(config: ImageConfig) -> Self {
        Self {
            config,
            cmd_set: false,
        }
    }

    /// Whether the config is one for Windows.
    pub(crate) fn is_windows(&self) -> bool {
        self.config.os == "windows"
    }

    /// WORKDIR as an absolute path with slashes.
    pub(crate) fn directory(&self) -> String {
        let written = &self.config.config.working_dir;
        if self.is_windows() {
            path::join("/", &path::from_windows(written).unwrap_or_default())
        } else {
            path::join("/", written)
        }
    }

    /// The command line that the shell runs `text` with.
    pub(crate) fn with_shell(&self, text: &str) -> Vec<String> {
        let mut line = match &self.config.config.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ if self.is_windows() => strings(&["cmd", "/S", "/C"]),
            _ => strings(&["/bin/sh", "-c"]),
        };
        line.push(text.to_owned());
        line
    }

    /// Applies an instruction. The answer is its `created_by`; ONBUILD has none.
    pub(crate) fn apply(
        &mut self,
        instruction: &Instruction,
        scope: &mut Scope,
        arguments: Arguments<'_>,
        words: &Words,
    ) -> Result<Option<String>, Diagnostic> {
        let line = match &instruction.command {
            Command::Env(pairs) => self.env(pairs, scope, words)?,
            Command::Label(pairs) => self.label(pairs, scope, words)?,
            Command::Arg(args) => arg(args, scope, arguments, words)?,
            Command::Expose(ports) => self.expose(ports, scope, words)?,
            Command::Volume(volumes) => self.volume(&volumes.words, scope, words)?,
            Command::User(user) => {
                self.config.config.user = words.word(user, scope)?;
                format!("USER {}", self.config.config.user)
            }
            Command::Cmd(command) => self.cmd(command),
            Command::Entrypoint(command) => self.entrypoint(command),
            Command::Shell(shell) => {
                let shell: Vec<String> = shell.iter().map(|word| word.value.clone()).collect();
                let line = format!("SHELL {}", gofmt::list(&shell));
                self.config.config.shell = Some(shell);
                line
            }
            Command::StopSignal(word) => self.stop_signal(word, scope, words)?,
            Command::Healthcheck(check) => self.healthcheck(check),
            Command::Maintainer(author) => {
                self.config.author = Some(author.value.clone());
                format!("MAINTAINER {}", author.value)
            }
            Command::Onbuild(onbuild) => {
                self.config.config.on_build.push(onbuild.text.clone());
                return Ok(None);
            }
            Command::From(_)
            | Command::Run(_)
            | Command::Copy(_)
            | Command::Add(_)
            | Command::Workdir(_)
            | Command::Error => return Err(unexpected(instruction, words)),
        };
        Ok(Some(line))
    }

    fn env(
        &mut self,
        pairs: &Pairs,
        scope: &mut Scope,
        words: &Words,
    ) -> Result<String, Diagnostic> {
        // All values see the environment as it was before the instruction.
        let pairs = expand_pairs(pairs, scope, words)?;
        let mut line = "ENV".to_owned();
        for (name, value) in &pairs {
            let pair = format!("{name}={value}");
            line.push(' ');
            line.push_str(&pair);
            scope.set(name, value);
            let known = |entry: &&mut String| {
                entry.starts_with(name.as_str()) && entry.split('=').next() == Some(name.as_str())
            };
            match self.config.config.env.iter_mut().find(known) {
                Some(slot) => *slot = pair,
                None => self.config.config.env.push(pair),
            }
        }
        Ok(line)
    }

    fn label(&mut self, pairs: &Pairs, scope: &Scope, words: &Words) -> Result<String, Diagnostic> {
        let mut line = "LABEL".to_owned();
        for (name, value) in expand_pairs(pairs, scope, words)? {
            for part in [" ", &name, "=", &value] {
                line.push_str(part);
            }
            self.config.config.labels.insert(name, value);
        }
        Ok(line)
    }

    fn expose(
        &mut self,
        ports: &[ast::Word],
        scope: &Scope,
        words: &Words,
    ) -> Result<String, Diagnostic> {
        // Like BuildKit: the words are sorted as written, what they become is not.
        let mut ports: Vec<&ast::Word> = ports.iter().collect();
        ports.sort_by(|one, other| one.raw.cmp(&other.raw));
        let mut all = Vec::new();
        for word in ports {
            for text in words.words(word, scope)? {
                let ports = port::ports(&text);
                all.extend(
                    ports.map_err(|message| words.error("invalid-port", word.span, message))?,
                );
            }
        }
        for port in &all {
            let exposed = &mut self.config.config.exposed_ports;
            exposed.insert(port.clone(), empty_object());
        }
        Ok(format!("EXPOSE {}", gofmt::list(&all)))
    }

    fn volume(
        &mut self,
        volumes: &[ast::Word],
        scope: &Scope,
        words: &Words,
    ) -> Result<String, Diagnostic> {
        let mut all = Vec::new();
        for word in volumes {
            let volume = words.word(word, scope)?;
            if volume.is_empty() {
                let message = "VOLUME specified can not be an empty string";
                return Err(words.error("empty-volume", word.span, message));
            }
            let volumes = &mut self.config.config.volumes;
            volumes.insert(volume.clone(), empty_object());
            all.push(volume);
        }
        Ok(format!("VOLUME {}", gofmt::list(&all)))
    }

    fn cmd(&mut self, command: &ShellOrExec) -> String {
        let line = self.command_line(command);
        let text = format!("CMD {}", gofmt::quote_list(&line));
        self.config.config.cmd = Some(line).filter(|line| !line.is_empty());
        self.config.config.args_escaped = true;
        self.cmd_set = true;
        text
    }

    fn entrypoint(&mut self, command: &ShellOrExec) -> String {
        let line = self.command_line(command);
        let text = format!("ENTRYPOINT {}", gofmt::quote_list(&line));
        self.config.config.entrypoint = Some(line).filter(|line| !line.is_empty());
        if !self.cmd_set {
            self.config.config.cmd = None;
        }
        text
    }

    fn command_line(&self, command: &ShellOrExec) -> Vec<String> {
        match command {
            ShellOrExec::Shell(text) => self.with_shell(&text.value),
            ShellOrExec::Exec(args) => args.iter().map(|arg| arg.value.clone()).collect(),
        }
    }

    fn stop_signal(
        &mut self,
        word: &ast::Word,
        scope: &Scope,
        words: &Words,
    ) -> Result<String, Diagnostic> {
        let text = words.word(word, scope)?;
        if !signal::is_signal(&text) {
            let message = format!("invalid signal: {text}");
            return Err(words.error("invalid-signal", word.span, message));
        }
        let line = format!("STOPSIGNAL {text}");
        self.config.config.stop_signal = Some(text);
        Ok(line)
    }

    fn healthcheck(&mut self, check: &ast::Healthcheck) -> String {
        let health = match check {
            ast::Healthcheck::None => Healthcheck {
                test: strings(&["NONE"]),
                ..Healthcheck::default()
            },
            ast::Healthcheck::Command {
                interval,
                timeout,
                start_period,
                start_interval,
                retries,
                command,
            } => {
                let mut line = Vec::new();
                match command {
                    ShellOrExec::Shell(text) => {
                        line.extend(["CMD-SHELL".to_owned(), text.value.clone()]);
                    }
                    ShellOrExec::Exec(args) => {
                        line.push("CMD".to_owned());
                        line.extend(args.iter().map(|arg| arg.value.clone()));
                    }
                }
                // Zero is the runtime's default and is not written.
                let set = |value: &Option<u64>| value.filter(|value| *value > 0);
                Healthcheck {
                    test: line,
                    interval: set(interval),
                    timeout: set(timeout),
                    start_period: set(start_period),
                    start_interval: set(start_interval),
                    retries: retries.filter(|retries| *retries > 0),
                }
            }
        };
        let time = |value: Option<u64>| gofmt::quote(&gofmt::duration(value.unwrap_or(0)));
        // `%q` of a pointer to Docker's struct, number of retries included.
        let line = format!(
            "HEALTHCHECK &{{{} {} {} {} {} {}}}",
            gofmt::quote_list(&health.test),
            time(health.interval),
            time(health.timeout),
            time(health.start_period),
            time(health.start_interval),
            gofmt::quote_number(health.retries.unwrap_or(0)),
        );
        self.config.config.healthcheck = Some(health);
        line
    }
}

/// ARG: `--build-arg`, else the default, else the value of the global scope, else nothing. Later
/// names of a line see earlier ones.
fn arg(
    args: &[ast::Arg],
    scope: &mut Scope,
    arguments: Arguments<'_>,
    words: &Words,
) -> Result<String, Diagnostic> {
    let mut line = "ARG".to_owned();
    for arg in args {
        let name = arg.name.raw.as_str();
        let value = match (arguments.build_args.get(name), &arg.default) {
            (Some(given), _) => Some(given.clone()),
            (None, Some(default)) => Some(words.word(default, scope)?),
            (None, None) => arguments.globals.lookup(name).map(str::to_owned),
        };
        line.push(' ');
        line.push_str(name);
        if let Some(value) = &value {
            line.push('=');
            line.push_str(value);
        }
        scope.declare(name, value.as_deref());
    }
    Ok(line)
}

fn expand_pairs(
    pairs: &Pairs,
    scope: &Scope,
    words: &Words,
) -> Result<Vec<(String, String)>, Diagnostic> {
    let expand = |(name, value): &(ast::Word, ast::Word)| {
        Ok((words.word(name, scope)?, words.word(value, scope)?))
    };
    pairs.pairs.iter().map(expand).collect()
}

/// An instruction that cannot stand where it stands: FROM as a trigger, or one that did not parse.
fn unexpected(instruction: &Instruction, words: &Words) -> Diagnostic {
    let keyword = instruction.keyword.value.to_uppercase();
    let span: Span = instruction.keyword.span;
    words.error(
        "unexpected-instruction",
        span,
        format!("{keyword} cannot be used here"),
    )
}

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn empty_object() -> Value {
    json!({})
}
