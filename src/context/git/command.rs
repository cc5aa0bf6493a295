//! The `git` command, hardened.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;

use super::reference::redacted;
use crate::failure::{Explain, Kind};

/// The most output of a command that is kept, in bytes.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;

/// Protocols that remotes and submodules may use. `file` and `ext` are not among them.
const PROTOCOLS: &str = "http:https:ssh:git";

/// Variables of the caller's environment that reach git.
const PASSED: [&str; 11] = [
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// What a repository or its author cannot change.
const CONFIG: [(&str, &str); 12] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.autocrlf", "false"),
    ("core.attributesFile", "/dev/null"),
    ("credential.helper", ""),
    ("advice.detachedHead", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.fsckObjects", "true"),
    ("safe.directory", "*"),
    // A server that sends less than this many bytes a second for so many seconds is dead.
    ("http.lowSpeedLimit", "100"),
    ("http.lowSpeedTime", "60"),
];

/// The variable that carries the `Authorization` header.
const AUTH: &str = "BUILDER_GIT_AUTHORIZATION";

/// How git reaches servers. Secrets travel in the environment of the command, never in its
/// arguments, and only to the host of the address.
#[derive(Clone, Default)]
pub struct GitOptions {
    /// The caller's environment; only `PATH`, proxies and certificates are used.
    pub environment: Vec<(String, String)>,
    /// `GIT_AUTH_TOKEN`
    pub token: Option<String>,
    /// `GIT_AUTH_HEADER`: the value of the `Authorization` header; goes before the token.
    pub header: Option<String>,
    /// The known hosts file of ssh; without it unknown hosts are accepted on first use, as
    /// BuildKit does.
    pub known_hosts: Option<std::path::PathBuf>,
    /// The socket of the ssh agent whose keys may be used. No key file of the user's is.
    pub agent: Option<std::path::PathBuf>,
    /// More protocols, for tests.
    pub(in crate::context) protocols: &'static str,
}

impl std::fmt::Debug for GitOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("GitOptions").finish_non_exhaustive()
    }
}

/// Why git did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The command could not be started.
    #[error("failed to run git")]
    Start {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The command failed.
    #[error("failed to {action} {remote}: {output}")]
    Failed {
        /// What it was to do.
        action: &'static str,
        /// The address, without secrets.
        remote: String,
        /// The last lines it wrote, without secrets.
        output: String,
    },
    /// The repository does not have the reference.
    #[error("repository {remote} does not contain ref {reference}")]
    NoReference {
        /// The address, without secrets.
        remote: String,
        /// The reference.
        reference: String,
    },
    /// The commit is another one than promised.
    #[error("expected checksum to match {expected}, got {actual}")]
    Checksum {
        /// What was promised.
        expected: String,
        /// The commit found.
        actual: String,
    },
    /// Something outside git failed: a file could not be written or removed.
    #[error("failed to prepare `{}`", path.display())]
    Prepare {
        /// The path.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Explain for GitError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoReference { .. } | Self::Checksum { .. } => Kind::User,
            Self::Start { .. } | Self::Failed { .. } | Self::Prepare { .. } => Kind::Environment,
        }
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Start { source } if source.kind() == io::ErrorKind::NotFound => {
                "install git, which git contexts need"
            }
            Self::Failed { output, .. }
                if output.contains("could not read Username")
                    || output.contains("Authentication failed") =>
            {
                "private repositories need --secret id=GIT_AUTH_TOKEN,env=… or --ssh default"
            }
            Self::Failed { output, .. } if output.contains("Permission denied (publickey") => {
                "keys are given to the build by --ssh default, which is the agent, or --ssh default=KEY"
            }
            Self::Prepare { source, .. } => return crate::failure::io_hints(source),
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// Git in one directory, for one remote.
#[derive(Debug)]
pub(super) struct Git<'a> {
    pub(super) options: &'a GitOptions,
    pub(super) directory: &'a Path,
    pub(super) remote: &'a str,
}

impl Git<'_> {
    /// Runs one command and gives what it wrote to standard output.
    pub(super) fn run<S: AsRef<OsStr>>(
        &self,
        action: &'static str,
        args: impl IntoIterator<Item = S>,
    ) -> Result<String, GitError> {
        let mut command = Command::new("git");
        self.prepare(&mut command);
        command.args(args);
        let start = |source| GitError::Start { source };
        let mut child = command.spawn().map_err(start)?;
        // Standard error is drained by a thread, so that neither pipe can fill up.
        let errors = child.stderr.take();
        let errors = std::thread::spawn(move || errors.map(read).unwrap_or_default());
        let output = child.stdout.take().map(read).unwrap_or_default();
        let status = child.wait().map_err(start)?;
        let errors = errors.join().unwrap_or_default();
        if status.success() {
            return Ok(output);
        }
        Err(GitError::Failed {
            action,
            remote: redacted(self.remote),
            output: last_lines(&errors.replace(self.remote, &redacted(self.remote))),
        })
    }

    fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_clear();
        for (name, value) in &self.options.environment {
            if PASSED.contains(&name.as_str()) {
                command.env(name, value);
            }
        }
        command
            .env("LC_ALL", "C")
            .env("HOME", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("GIT_SSH_COMMAND", self.ssh())
            .env(
                "GIT_ALLOW_PROTOCOL",
                format!("{PROTOCOLS}{}", self.options.protocols),
            );
        if let Some(agent) = &self.options.agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        for (key, value) in CONFIG {
            command.args(["-c", &format!("{key}={value}")]);
        }
        // By name, so that the secret is in no argument; submodules of the same host get it too.
        if let (Some(header), Some(origin)) = (self.authorization(), origin(self.remote)) {
            command.arg(format!("--config-env=http.{origin}/.extraHeader={AUTH}"));
            command.env(AUTH, format!("Authorization: {header}"));
        }
    }

    fn ssh(&self) -> String {
        let hosts = match &self.options.known_hosts {
            Some(path) => format!(
                "-o StrictHostKeyChecking=yes -o UserKnownHostsFile='{}'",
                path.display().to_string().replace('\'', "'\\''")
            ),
            None => "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null".to_owned(),
        };
        // Keys are the agent's: what a Dockerfile names must not be opened with the user's own files.
        format!(
            "ssh -F /dev/null -o IdentityFile=none -o LogLevel=ERROR -o BatchMode=yes -o ConnectTimeout=30 {hosts}"
        )
    }

    fn authorization(&self) -> Option<String> {
        let trimmed = |text: &Option<String>| {
            let text = text.as_deref()?.trim();
            // A line break would start another header.
            (!text.is_empty() && !text.contains(['\r', '\n', '\0'])).then(|| text.to_owned())
        };
        trimmed(&self.options.header).or_else(|| {
            let token = trimmed(&self.options.token)?;
            let pair = format!("x-access-token:{token}");
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            Some(format!("basic {pair}"))
        })
    }
}

/// `https://host:port` of an http(s) address, without user.
fn origin(remote: &str) -> Option<String> {
    let (scheme, rest) = remote.split_once("://")?;
    let authority = rest.split('/').next()?;
    let host = authority.rsplit('@').next()?;
    matches!(scheme, "http" | "https").then(|| format!("{scheme}://{host}"))
}

fn read(pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let mut pipe = pipe;
    // What does not fit is drained, so that git does not die of a closed pipe.
    let kept = pipe.by_ref().take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
    let drained = kept.and_then(|_| io::copy(&mut pipe, &mut io::sink()));
    if drained.is_err() {
        tracing::debug!("output of git cut");
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(5);
    lines[from..].join("; ")
}
