//! What can be wrong with a command line as a whole, and how a command stops.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::executor::agent::KeyError;
use crate::failure::{ExitCode, Explain, Failure, Kind, io_hints};

/// What is wrong with the words of a command, or with what they name.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// `-` twice.
    #[error("invalid argument: can't use stdin for both build context and dockerfile")]
    StdinTwice,
    /// The context is neither a directory nor an address.
    #[error("unable to prepare context: path {path:?} not found")]
    ContextMissing {
        /// As given.
        path: PathBuf,
    },
    /// The context is an empty word. The words are buildx's.
    #[error("please specify build context (e.g. \".\" for the current directory)")]
    NoContext,
    /// A named context is no directory that can be read. The words are buildx's.
    #[error("failed to get build context {name}: `{}`", .path.display())]
    NamedContext {
        /// Its name.
        name: String,
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The user has no home and named no store.
    #[error("there is no directory for the store")]
    NoRoot,
    /// No agent.
    #[error("invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set")]
    NoAgent,
    /// An agent that cannot be made of what was named. The words are BuildKit's.
    #[error("failed to convert agent config for ID: {id:?}")]
    Agent {
        /// The agent.
        id: String,
        /// Why not.
        #[source]
        source: AgentError,
    },
    /// Two agents of one name. The words are BuildKit's.
    #[error("duplicate agent ID {id:?}")]
    AgentTwice {
        /// The agent.
        id: String,
    },
    /// A secret or key that cannot be read.
    #[error("failed to stat `{}`", .path.display())]
    Stat {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// BuildKit's limit.
    #[error("file `{}` too big. max size 500KB", .path.display())]
    SecretSize {
        /// The file.
        path: PathBuf,
    },
    /// A variable with a bad value.
    #[error("invalid {name}: {reason}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// Why, with the value.
        reason: String,
    },
    /// A flag whose value needs more than itself to be refused.
    #[error("invalid value for --{flag}: {reason}")]
    Flag {
        /// Its name.
        flag: &'static str,
        /// Why, with the value.
        reason: String,
        /// What to write instead.
        hints: Vec<String>,
    },
    /// A live view without a terminal.
    #[error("failed to get console: standard error is not a terminal")]
    NotATerminal,
    /// What the command line can say and this program cannot do.
    #[error("{what} is not supported")]
    Unsupported {
        /// The flag or variable.
        what: String,
    },
    /// A file of results.
    #[error("failed to write `{}`", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output is full or closed in an unusual way.
    #[error("failed to write to standard output")]
    Stdout(#[source] io::Error),
    /// A password that cannot be read.
    #[error("failed to read the password")]
    Password(#[source] io::Error),
    /// No terminal to ask for credentials.
    #[error("cannot perform an interactive login from a non TTY device")]
    NoPrompt,
    /// Docker's config is not JSON.
    #[error("failed to read `{}`", .path.display())]
    DockerConfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A word that names no image.
    #[error("no such image: {word}")]
    NoImage {
        /// The word.
        word: String,
    },
    /// A word that is the start of several ids.
    #[error("several images have an id that starts with `{word}`")]
    Ambiguous {
        /// The word.
        word: String,
    },
    /// An image that was chosen by its id and shall go to a registry.
    #[error("`{word}` is not a name to push to")]
    NoDestination {
        /// The word.
        word: String,
    },
    /// A document of the store that is not JSON of its kind.
    #[error("failed to read {digest} as an image document")]
    Document {
        /// Which.
        digest: Digest,
        /// Why.
        source: serde_json::Error,
    },
    /// Not a failure: another process did it all (see [`Stop::DoneElsewhere`]).
    #[error("the build was done in a user namespace")]
    DoneElsewhere,
    /// Commands cannot be run here.
    #[error("RUN steps cannot be run here: {reasons}")]
    NoRung {
        /// What the machine answered on each rung.
        reasons: String,
        /// What to do about it.
        remedies: Vec<String>,
    },
    /// No descriptor is left.
    #[error("failed to make a pipe")]
    Pipe(#[source] io::Error),
    /// The process has no working directory.
    #[error("failed to read the working directory")]
    Directory(#[source] io::Error),
}

/// Why a path is neither a key nor the socket of an agent. The words are BuildKit's.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Several sockets, of which a mount can have one.
    #[error("only single socket allowed")]
    ManySockets,
    /// Both.
    #[error("invalid combination of keys and sockets")]
    Both,
    /// Nothing there, or nothing to read.
    #[error("failed to open {}", .path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No key, or none that can be used.
    #[error("failed to parse {}", .path.display())]
    Parse {
        /// The path.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
}

impl AgentError {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::ManySockets | Self::Both => {
                "give each socket a name of its own: --ssh ID=SOCKET --ssh OTHER=KEY,KEY"
            }
            Self::Open { source, .. } => return io_hints(source),
            Self::Parse {
                source: KeyError::Encrypted,
                ..
            } => "nobody is asked for passphrases: `ssh-add KEY`, then --ssh ID without a path",
            Self::Parse { .. } => {
                "name a private key (ed25519, ecdsa, or rsa of 2048 bits and more), or a socket"
            }
        };
        vec![hint.to_owned()]
    }
}

impl CliError {
    /// Whether the words alone are wrong: exit code 2.
    fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::StdinTwice
                | Self::NoContext
                | Self::NoRoot
                | Self::Variable { .. }
                | Self::Flag { .. }
                | Self::NotATerminal
                | Self::NoPrompt
                | Self::NoDestination { .. }
                | Self::Unsupported { .. }
        )
    }
}

impl Explain for CliError {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { .. }
            | Self::Stdout(_)
            | Self::Directory(_)
            | Self::Pipe(_)
            | Self::NoRung { .. } => Kind::Environment,
            _ => Kind::User,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Flag { hints, .. } => return hints.clone(),
            Self::NoRoot => "set HOME or BUILDER_ROOT, or choose a store with --root DIR",
            Self::NoAgent => {
                "start an agent (`eval $(ssh-agent)`), or name a socket or keys: --ssh default=PATH"
            }
            Self::Agent { source, .. } => return source.hints(),
            Self::AgentTwice { .. } => {
                "name everything in one: --ssh ID=KEY,KEY; or give the agents different names"
            }
            Self::ContextMissing { .. } => "the last argument is a directory, an address or `-`",
            Self::NoRung { remedies, .. } => {
                let doctor = "`builder doctor` tells what is missing for each way to run commands";
                return remedies
                    .iter()
                    .cloned()
                    .chain([doctor.to_owned()])
                    .collect();
            }
            Self::NotATerminal => "use --progress=plain",
            Self::NoImage { .. } => "`builder images` lists what is in the store",
            Self::Ambiguous { .. } => "write more of its digits, or a name",
            Self::NoDestination { .. } => {
                "name the destination: builder push IMAGE REGISTRY/NAME:TAG"
            }
            Self::NoPrompt => "use --username NAME --password-stdin",
            Self::Write { source, .. }
            | Self::Stat { source, .. }
            | Self::NamedContext { source, .. } => return io_hints(source),
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// Why a command stops before its end.
#[derive(Debug)]
pub enum Stop {
    /// Clap's help, version or refusal; it knows its stream and its text.
    Clap(Box<clap::Error>),
    /// The command line or what it names is wrong.
    Cli(CliError),
    /// The command failed.
    Failed(Failure),
    /// It was told already; only the exit code is left.
    Told(ExitCode),
    /// Another process did everything and told everything; its exit code is ours.
    DoneElsewhere(u8),
    /// The reader of our output has gone; there is nobody to tell.
    BrokenPipe,
}

impl Stop {
    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        let code = match self {
            Self::Clap(error) if error.use_stderr() => ExitCode::Usage,
            Self::Clap(_) | Self::BrokenPipe => ExitCode::Success,
            Self::Cli(error) if error.is_usage() => ExitCode::Usage,
            Self::Cli(error) if error.kind() == Kind::Environment => ExitCode::Environment,
            Self::Cli(_) => ExitCode::Failed,
            Self::Failed(failure) => failure.exit_code(),
            Self::Told(code) => *code,
            Self::DoneElsewhere(code) => return *code,
        };
        code as u8
    }

    /// What an error of writing to standard output means.
    pub fn stdout(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::BrokenPipe;
        }
        Self::Cli(CliError::Stdout(error))
    }
}

impl From<CliError> for Stop {
    fn from(error: CliError) -> Self {
        Self::Cli(error)
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<clap::Error> for Stop {
    fn from(error: clap::Error) -> Self {
        Self::Clap(Box::new(error))
    }
}
