//! One run of the program.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Container, Enclosure, Outcome, User};

/// The longest that [`Running::wait_for`] waits for a text.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a program may take to its end: longer than any, on a machine that others use too.
const LONGEST: Duration = Duration::from_mins(10);

/// A command line that was not run yet.
#[derive(Debug)]
pub struct Run {
    directory: PathBuf,
    user: Option<User>,
    container: Option<Container>,
    enclosure: Option<Arc<Enclosure>>,
    words: Vec<String>,
    /// The context, if this is a build; it is the last word.
    context: Option<String>,
    variables: Vec<(String, String)>,
    stdin: Vec<u8>,
}

impl Run {
    /// A run in a directory; `user` is another user than this process's.
    pub(super) fn new(directory: &Path, user: Option<User>) -> Self {
        Self {
            directory: directory.to_owned(),
            user,
            container: None,
            enclosure: None,
            words: Vec::new(),
            context: None,
            variables: vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())],
            stdin: Vec::new(),
        }
    }

    /// Makes this a build: a log, an id file and a metadata file to ask later.
    pub(super) fn building(mut self, context: &Path) -> Self {
        let metadata = self.directory.join("metadata.json");
        self.context = Some(context.to_str().unwrap().to_owned());
        let words = [
            "--progress=plain".to_owned(),
            format!("--metadata-file={}", metadata.display()),
        ];
        self.words(words)
    }

    /// Builds another context: a directory, an address or `-`.
    pub fn context(mut self, context: &str) -> Self {
        self.context = Some(context.to_owned());
        self
    }

    /// Runs in a container that shows the project at its place.
    pub fn inside(mut self, container: &Container) -> Self {
        self.container = Some(container.clone());
        self
    }

    /// Runs with all its processes in a control group.
    pub fn within(mut self, enclosure: &Arc<Enclosure>) -> Self {
        self.enclosure = Some(Arc::clone(enclosure));
        self
    }

    /// Adds a word.
    pub fn flag(self, word: &str) -> Self {
        self.words([word])
    }

    /// Adds words.
    pub fn words<W: AsRef<str>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words
            .extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Takes away a word that [`super::Project::build`] added.
    pub fn without(mut self, word: &str) -> Self {
        self.words.retain(|given| given != word);
        self
    }

    /// `--build-arg NAME=VALUE`
    pub fn arg(self, name: &str, value: &str) -> Self {
        self.words(["--build-arg".to_owned(), format!("{name}={value}")])
    }

    /// `--tag NAME`
    pub fn tag(self, name: &str) -> Self {
        self.words(["--tag", name])
    }

    /// `--target STAGE`
    pub fn target(self, stage: &str) -> Self {
        self.words(["--target", stage])
    }

    /// `--output SPEC`
    pub fn output_to(self, spec: &str) -> Self {
        self.words(["--output", spec])
    }

    /// Sets a variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives bytes on standard input.
    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = bytes.as_ref().to_vec();
        self
    }

    fn command(&self) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_builder"));
        if let Some(container) = &self.container {
            let program = program.to_str().unwrap().to_owned();
            let words: Vec<String> = std::iter::once(program)
                .chain(self.words.iter().cloned())
                .chain(self.context.clone())
                .collect();
            let mut command = container.command(&self.directory, &words, &self.variables);
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            return command;
        }
        let program = if self.user.is_some() {
            let copy = self.directory.join("builder");
            copy_program(&copy);
            copy
        } else {
            program.to_owned()
        };
        let mut command = match (&self.enclosure, &self.user) {
            (Some(enclosure), user) => {
                let mut command = enclosure.command(user.as_ref());
                command.arg(program);
                command
            }
            (None, None) => Command::new(program),
            (None, Some(user)) => {
                let mut command = Command::new(program);
                command.uid(user.uid).gid(user.gid);
                command
            }
        };
        command.args(&self.words).args(&self.context).env_clear();
        command.envs(self.variables.iter().cloned());
        command.current_dir(&self.directory);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the program and lets it run.
    pub fn start(self) -> Running {
        let mut child = self.command().spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = self.stdin.clone();
        // A program that reads nothing closes the pipe.
        let feeder = thread::spawn(move || drop(stdin.write_all(&bytes)));
        let mut stdout = child.stdout.take().unwrap();
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.split(b'\n') {
                let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running {
            child,
            threads: (feeder, reader),
            lines,
            seen: String::new(),
            metadata: self.directory.join("metadata.json"),
        }
    }

    /// Runs the program to its end.
    pub fn run(self) -> Outcome {
        self.start().finish()
    }

    /// Runs the program and asserts that it did what was asked.
    pub fn success(self) -> Outcome {
        self.failure(0)
    }

    /// Runs the program and asserts its exit code.
    pub fn failure(self, code: i32) -> Outcome {
        let words = self.words.join(" ");
        let outcome = self.run();
        assert_eq!(
            outcome.code, code,
            "exit code of `builder {words}`\n{outcome}"
        );
        outcome
    }
}

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    threads: (JoinHandle<()>, JoinHandle<Vec<u8>>),
    lines: Receiver<String>,
    seen: String,
    metadata: PathBuf,
}

impl Running {
    /// Waits until standard error has shown a text.
    pub fn wait_for(mut self, text: &str) -> Self {
        let end = Instant::now() + PATIENCE;
        while !self.seen.contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.extend([line.as_str(), "\n"]),
                Err(error) => panic!("no `{text}` ({error}) in:\n{}", self.seen),
            }
        }
        self
    }

    /// The program's number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the program.
    pub fn signal(self, signal: Signal) -> Self {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        self
    }

    /// Waits for the end; what does not end is killed, and the test fails with what it said.
    pub fn finish(mut self) -> Outcome {
        let pid = rustix::process::Pid::from_child(&self.child);
        let end = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let mut ends = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
        let longest = PollTimeout::try_from(LONGEST).unwrap();
        if nix::poll::poll(&mut ends, longest).unwrap() == 0 {
            self.child.kill().unwrap();
            self.seen.extend(self.lines.try_iter());
            panic!("no end within {LONGEST:?}:\n{}", self.seen);
        }
        let status = self.child.wait().unwrap();
        let (feeder, reader) = self.threads;
        feeder.join().unwrap();
        let stdout = reader.join().unwrap();
        for line in self.lines {
            self.seen.extend([line.as_str(), "\n"]);
        }
        Outcome::new(
            status,
            stdout,
            self.seen,
            fs::read_to_string(&self.metadata).ok(),
        )
    }
}

/// Copies the program to where another user may execute it. Another process copies: if this one did,
/// a child that another thread starts meanwhile would hold the file open for writing, and executing
/// it would fail (ETXTBSY).
pub fn copy_program(to: &Path) {
    if !to.exists() {
        let mut copy = Command::new("cp");
        copy.arg(env!("CARGO_BIN_EXE_builder")).arg(to);
        assert!(copy.status().unwrap().success());
    }
}
