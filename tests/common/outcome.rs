//! What a run said and did.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::Value;

/// The end of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; 128 and the signal's number if a signal killed it.
    pub code: i32,
    /// Standard output, as it came.
    pub stdout_bytes: Vec<u8>,
    /// Standard output, as text.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// The steps of the plain log, in order of their numbers.
    pub steps: Vec<Step>,
    metadata: Option<String>,
}

/// A step of the plain log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The `N` of `#N`.
    pub number: u32,
    /// `[build 2/3] RUN make`
    pub name: String,
    /// Its lines, without `#N ` and without the time.
    pub output: Vec<String>,
    /// How it ended.
    pub end: StepEnd,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepEnd {
    /// The log does not tell.
    Open,
    /// `DONE`
    Done,
    /// `CACHED`
    Cached,
    /// `CANCELED`
    Cancelled,
    /// `ERROR: …`
    Failed(String),
}

impl Outcome {
    pub(super) fn new(
        status: ExitStatus,
        stdout: Vec<u8>,
        stderr: String,
        metadata: Option<String>,
    ) -> Self {
        let killed = || 128 + status.signal().unwrap_or(0);
        Self {
            code: status.code().unwrap_or_else(killed),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stdout_bytes: stdout,
            steps: steps(&stderr),
            stderr,
            metadata,
        }
    }

    /// The step of an instruction, by its text without `[stage i/n] `, or by its whole name.
    pub fn step(&self, name: &str) -> &Step {
        let matching = |step: &&Step| step.name == name || instruction(&step.name) == name;
        let found = self.steps.iter().find(matching);
        found.unwrap_or_else(|| panic!("no step `{name}`\n{self}"))
    }

    /// Asserts that a step did its work.
    pub fn ran(&self, name: &str) -> &Self {
        assert_eq!(
            self.step(name).end,
            StepEnd::Done,
            "`{name}` did not run\n{self}"
        );
        self
    }

    /// Asserts that a step came from the cache.
    pub fn cached(&self, name: &str) -> &Self {
        assert_eq!(
            self.step(name).end,
            StepEnd::Cached,
            "`{name}` was not cached\n{self}"
        );
        self
    }

    /// Asserts that no RUN, COPY, ADD or WORKDIR did work.
    pub fn all_cached(&self) -> &Self {
        for step in &self.steps {
            let verb = instruction(&step.name).split(' ').next().unwrap_or("");
            if ["RUN", "COPY", "ADD", "WORKDIR"].contains(&verb) {
                assert_eq!(
                    step.end,
                    StepEnd::Cached,
                    "`{}` was not cached\n{self}",
                    step.name
                );
            }
        }
        self
    }

    /// Asserts that a step failed.
    pub fn failed(&self, name: &str) -> &Self {
        let end = &self.step(name).end;
        assert!(
            matches!(end, StepEnd::Failed(_)),
            "`{name}` did not fail\n{self}"
        );
        self
    }

    /// Asserts that a step was not even looked at.
    pub fn never(&self, name: &str) -> &Self {
        let there = self
            .steps
            .iter()
            .any(|step| instruction(&step.name) == name);
        assert!(!there, "`{name}` is in the log\n{self}");
        self
    }

    /// What a step wrote.
    pub fn output_of(&self, name: &str) -> String {
        self.step(name).output.join("\n")
    }

    /// Asserts that standard error has a text.
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "no `{text}` in\n{self}");
        self
    }

    /// Asserts that standard error does not have a text.
    pub fn does_not_say(&self, text: &str) -> &Self {
        assert!(!self.stderr.contains(text), "`{text}` in\n{self}");
        self
    }

    /// Asserts that standard output has a text.
    pub fn prints(&self, text: &str) -> &Self {
        assert!(
            self.stdout.contains(text),
            "no `{text}` on standard output\n{self}"
        );
        self
    }

    /// The metadata file of a build.
    pub fn metadata(&self) -> Value {
        let text = self
            .metadata
            .as_deref()
            .unwrap_or_else(|| panic!("no metadata\n{self}"));
        serde_json::from_str(text).unwrap()
    }

    /// The digest of the manifest or index that a build made.
    pub fn digest(&self) -> String {
        self.metadata_text("containerimage.digest")
    }

    /// The digest of the config that a build made: the image id.
    pub fn config_digest(&self) -> String {
        self.metadata_text("containerimage.config.digest")
    }

    fn metadata_text(&self, key: &str) -> String {
        let metadata = self.metadata();
        let value = metadata[key].as_str();
        value
            .unwrap_or_else(|| panic!("no {key} in {metadata}"))
            .to_owned()
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            code,
            stdout,
            stderr,
            ..
        } = self;
        write!(
            formatter,
            "exit code {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}---"
        )
    }
}

/// The text of an instruction in a step's name.
fn instruction(name: &str) -> &str {
    let rest = name
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "));
    rest.map_or(name, |(_, instruction)| instruction)
}

/// Reads the plain log.
fn steps(log: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in log.lines() {
        let Some((number, text)) = line.strip_prefix('#').and_then(|line| line.split_once(' '))
        else {
            continue;
        };
        let Ok(number) = number.parse::<u32>() else {
            continue;
        };
        let Some(step) = steps.iter_mut().find(|step| step.number == number) else {
            let name = text.to_owned();
            steps.push(Step {
                number,
                name,
                output: Vec::new(),
                end: StepEnd::Open,
            });
            continue;
        };
        match text {
            "..." => {}
            "CACHED" => step.end = StepEnd::Cached,
            "CANCELED" => step.end = StepEnd::Cancelled,
            _ if text == step.name => {}
            _ if text.starts_with("DONE ") => step.end = StepEnd::Done,
            _ => match text.strip_prefix("ERROR: ") {
                Some(error) => step.end = StepEnd::Failed(error.to_owned()),
                None => step.output.push(without_time(text).to_owned()),
            },
        }
    }
    steps.sort_by_key(|step| step.number);
    steps
}

/// A line without its `0.123 `.
fn without_time(line: &str) -> &str {
    let is_time = |text: &str| text.contains('.') && text.parse::<f64>().is_ok();
    match line.split_once(' ') {
        Some((time, text)) if is_time(time) => text,
        _ => line,
    }
}

#[test]
fn the_plain_log_is_read() {
    let log = "#0 isolation: root\n\n#1 [a 1/2] RUN echo #2\n#1 0.100 out put\n#1 ...\n\n#2 b\n#2 CACHED\n\n\
               #1 [a 1/2] RUN echo #2\n#1 DONE 0.1s\n\n#3 c\n#3 ERROR: bad\n";
    let steps = steps(log);
    assert_eq!(steps.len(), 4);
    assert_eq!(steps[1].output, ["out put"]);
    assert_eq!(
        (instruction(&steps[1].name), &steps[1].end),
        ("RUN echo #2", &StepEnd::Done)
    );
    assert_eq!(steps[2].end, StepEnd::Cached);
    assert_eq!(steps[3].end, StepEnd::Failed("bad".into()));
}
