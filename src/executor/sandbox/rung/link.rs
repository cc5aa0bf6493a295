//! Trying the network of RUN: which link a build has on its rung, or why it has the host's.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{ExitCode, Stdio};

use serde::{Deserialize, Serialize};

use super::super::network::DEVICE;
use super::super::parent::Sandbox;
use super::super::spec::Rung;
use super::enter::{self, Again};
use super::remedy;

/// The first argument of a process that tries the link in a user namespace.
pub(in super::super) const LINK_TRIAL: &str = "__builder-sandbox-link-trial";

/// The network that a RUN has which asks for none in particular.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunNetwork {
    /// One of the build's own.
    Linked {
        /// What links it to the outside.
        tool: String,
    },
    /// The host's.
    Host {
        /// Why, one line.
        reason: String,
        /// What to do about it, one command or change each, best first; may be empty.
        remedies: Vec<String>,
    },
    /// There is no RUN.
    None,
}

/// Finds out by trying which network RUN has on a rung that works.
pub fn try_network(rung: Rung, executable: &Path) -> RunNetwork {
    let tried = match rung {
        Rung::None => return RunNetwork::None,
        Rung::Chroot => {
            return RunNetwork::Host {
                reason: "without namespaces there is no other".to_owned(),
                remedies: Vec::new(),
            };
        }
        Rung::Root => Sandbox::new(executable.to_owned()).try_network(),
        Rung::UserRange | Rung::UserSingle => try_again(rung, executable),
    };
    match tried {
        Ok(tool) => RunNetwork::Linked { tool },
        Err(reason) => {
            let device = File::options().read(true).write(true).open(DEVICE);
            let device = device.err().map(|error| error.kind());
            RunNetwork::Host {
                remedies: remedy::for_link(&reason, device),
                reason,
            }
        }
    }
}

fn try_again(rung: Rung, executable: &Path) -> Result<String, String> {
    let again = Again {
        helper: executable.to_owned(),
        program: executable.to_owned(),
        args: vec!["builder".into(), LINK_TRIAL.into()],
    };
    let mut child =
        enter::start(rung, &again, Stdio::piped()).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // Our own words: one line fits easily.
        let _ = stdout.take(1 << 16).read_to_end(&mut bytes);
    }
    let _ = child.wait();
    let without = |_| Err("the trial ended without an answer".to_owned());
    serde_json::from_slice(&bytes).unwrap_or_else(without)
}

/// The trial inside of a user namespace: prints the answer as JSON for [`try_again`].
pub(in super::super) fn link_trial_main() -> ExitCode {
    let answer = Sandbox::default().try_network();
    match serde_json::to_vec(&answer) {
        Ok(bytes) if std::io::stdout().write_all(&bytes).is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
