//! Credential helpers: programs `docker-credential-NAME` that keep passwords for Docker.
//!
//! The name comes from a file, so it is held to an allow-list; the program is found on the search
//! path only, gets 30 seconds, and may answer 1 MiB. Its error output is shown cut and cleaned.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::credential::{Credential, Secret, server_key};
use super::message::printable;

const TIME_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// What helpers print if they know nothing (docker-credential-helpers, `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found";

/// Why a helper was of no help.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The name has other characters than letters, digits, `-`, `_` and `.`.
    #[error("credential helper `{name}` has a name that is not allowed")]
    Name {
        /// The name, cleaned.
        name: String,
    },
    /// The program could not be started.
    #[error("failed to start `docker-credential-{name}`")]
    Start {
        /// The helper.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Talking to it failed, or it took more than 30 seconds.
    #[error("failed to talk to `docker-credential-{name}`")]
    Talk {
        /// The helper.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended with an error.
    #[error("`docker-credential-{name}` failed: {message}")]
    Failed {
        /// The helper.
        name: String,
        /// What it said, cut and cleaned.
        message: String,
    },
    /// Its answer is not the JSON of the protocol.
    #[error("`docker-credential-{name}` gave an answer that is not understood")]
    Answer {
        /// The helper.
        name: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// A helper: its name, and where it is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Helper<'a> {
    /// `NAME` of `docker-credential-NAME`.
    pub(super) name: &'a str,
    /// The search path, if not the program's own.
    pub(super) path: Option<&'a OsStr>,
}

/// Asks a helper for a registry's credential; `None` if it knows none.
pub(super) fn get(helper: Helper<'_>, registry: &str) -> Result<Option<Credential>, HelperError> {
    let answer = match run(helper, "get", server_key(registry).as_bytes(), TIME_MAX) {
        Err(HelperError::Failed { message, .. }) if message.contains(NOT_FOUND) => return Ok(None),
        other => other?,
    };
    let entry: Entry = serde_json::from_slice(&answer).map_err(|_| HelperError::Answer {
        name: helper.name.to_owned(),
    })?;
    if entry.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(if entry.username == "<token>" {
        Credential::Identity(Secret(entry.secret))
    } else {
        Credential::basic(entry.username, entry.secret)
    }))
}

/// Gives a helper a credential to keep.
pub(super) fn store(
    helper: Helper<'_>,
    registry: &str,
    credential: &Credential,
) -> Result<(), HelperError> {
    let (username, secret) = match credential {
        Credential::Basic { user, password } => (user.clone(), password.0.clone()),
        Credential::Identity(token) | Credential::Token(token) => {
            ("<token>".to_owned(), token.0.clone())
        }
    };
    let entry = Entry {
        server_url: server_key(registry).to_owned(),
        username,
        secret,
    };
    let input = serde_json::to_vec(&entry).map_err(|_| HelperError::Answer {
        name: helper.name.to_owned(),
    })?;
    run(helper, "store", &input, TIME_MAX).map(drop)
}

/// Makes a helper forget a registry; no error if it knew nothing.
pub(super) fn erase(helper: Helper<'_>, registry: &str) -> Result<(), HelperError> {
    match run(helper, "erase", server_key(registry).as_bytes(), TIME_MAX) {
        Err(HelperError::Failed { message, .. }) if message.contains(NOT_FOUND) => Ok(()),
        other => other.map(drop),
    }
}

fn is_allowed(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(allowed)
}

fn run(
    helper: Helper<'_>,
    verb: &str,
    input: &[u8],
    time_max: Duration,
) -> Result<Vec<u8>, HelperError> {
    let name = helper.name;
    if !is_allowed(name) {
        return Err(HelperError::Name {
            name: printable(name, 80),
        });
    }
    let owned = || name.to_owned();
    let talk = |source| HelperError::Talk {
        name: owned(),
        source,
    };
    let mut command = Command::new(format!("docker-credential-{name}"));
    if let Some(path) = helper.path {
        // The program itself is looked for in the path that the child will have.
        command.env("PATH", path);
    }
    let mut child = command
        .arg(verb)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| HelperError::Start {
            name: owned(),
            source,
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that needs no input may be gone already: its answer counts, not the pipe.
        let _ = stdin.write_all(input);
    }
    let output = collect(&mut child, time_max);
    if output.is_err() {
        // Nothing more can be done about a child that cannot be killed.
        let _ = child.kill();
    }
    let status = child.wait().map_err(talk)?;
    let (stdout, stderr) = output.map_err(talk)?;
    if status.success() {
        return Ok(stdout);
    }
    // Helpers report on standard output; some crash on standard error.
    let message = if stdout.is_empty() { &stderr } else { &stdout };
    Err(HelperError::Failed {
        name: owned(),
        message: printable(String::from_utf8_lossy(message).trim(), 200),
    })
}

/// Reads both outputs to their ends, each on its own thread, within the time.
fn collect(child: &mut Child, time_max: Duration) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (sender, receiver) = mpsc::channel();
    let read = |pipe: Option<Box<dyn Read + Send>>, is_stdout: bool| {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let result = match pipe {
                Some(pipe) => pipe.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut bytes),
                None => Ok(0),
            };
            // The receiver is gone only if the time is over.
            let _ = sender.send((is_stdout, result.map(|_| bytes)));
        });
    };
    read(child.stdout.take().map(|pipe| Box::new(pipe) as _), true);
    read(child.stderr.take().map(|pipe| Box::new(pipe) as _), false);
    let clock = crate::clock::Stopwatch::start();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let left = time_max.saturating_sub(clock.elapsed());
        let (is_stdout, bytes) = receiver
            .recv_timeout(left)
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
        let bytes = bytes?;
        if bytes.len() as u64 > ANSWER_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it answers without end",
            ));
        }
        *(if is_stdout { &mut stdout } else { &mut stderr }) = bytes;
    }
    Ok((stdout, stderr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_paths_or_options_are_refused() {
        for name in ["", "../x", "a/b", "a b", ".hidden", "x;y", &"a".repeat(65)] {
            assert!(
                matches!(
                    get(Helper { name, path: None }, "r"),
                    Err(HelperError::Name { .. })
                ),
                "{name}"
            );
        }
        assert!(is_allowed("ecr-login") && is_allowed("pass") && is_allowed("osx_keychain.2"));
    }

    #[test]
    fn a_missing_helper_says_so() {
        let error = get(
            Helper {
                name: "surely-not-installed",
                path: None,
            },
            "r",
        )
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("docker-credential-surely-not-installed")
        );
    }
}
