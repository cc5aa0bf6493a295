//! The only reader of the environment: variables, working directory, user, terminals.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use crate::executor::sandbox::rung;
use crate::executor::sandbox::{Rung, in_user_namespace};

/// What `git` needs to reach servers; nothing else of the environment leaves this room whole.
const FOR_GIT: [&str; 12] = [
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PATH",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// A snapshot of the environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    /// The working directory, absolute.
    pub directory: PathBuf,
    /// Whether the user is root, and not only inside a user namespace that this program made.
    pub is_root: bool,
    /// The user's number, as it is outside.
    pub uid: u32,
    /// The rung that this program was started again on, if it was.
    pub rung: Option<Rung>,
    /// Which streams are terminals.
    pub terminals: Terminals,
}

/// Which streams are terminals.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Environment {
    /// Reads the process's environment.
    pub fn read() -> std::io::Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "cli is where paths become absolute"
        )]
        let directory = std::env::current_dir()?;
        let variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        let marker = variables.get(OsStr::new(rung::MARKER));
        let rung = marker.and_then(|text| rung::current(text.to_str()?));
        let rung = rung.filter(|_| in_user_namespace());
        let uid = nix::unistd::geteuid().as_raw();
        let uid = rung.and_then(|_| outer_uid()).unwrap_or(uid);
        Ok(Self {
            variables,
            directory,
            is_root: uid == 0,
            uid,
            rung,
            terminals: Terminals {
                stdin: std::io::stdin().is_terminal(),
                stdout: std::io::stdout().is_terminal(),
                stderr: std::io::stderr().is_terminal(),
            },
        })
    }

    /// An environment of these variables, in `/`, without terminals.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = variables.into_iter();
        Self {
            variables: variables
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            directory: PathBuf::from("/"),
            uid: 1000,
            ..Self::default()
        }
    }

    /// The value of a variable, if it is set to something.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        let value = self.variables.get(OsStr::new(name))?;
        (!value.is_empty()).then_some(value)
    }

    /// The value of a variable, if it is set to text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.value(name)?.to_str()
    }

    /// The value of a variable, empty or not, if it is set and text.
    pub fn set(&self, name: &str) -> Option<&str> {
        self.variables.get(OsStr::new(name))?.to_str()
    }

    /// Whether a variable is set to what Go's `ParseBool` takes for true.
    pub fn is_true(&self, name: &str) -> bool {
        let yes = ["1", "t", "T", "true", "TRUE", "True"];
        self.text(name).is_some_and(|value| yes.contains(&value))
    }

    /// The path that a variable holds.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name)
            .map(|value| self.absolute(Path::new(value)))
    }

    /// The variables that `git` may see.
    pub fn for_git(&self) -> Vec<(String, String)> {
        let pair = |name: &str| Some((name.to_owned(), self.text(name)?.to_owned()));
        FOR_GIT.into_iter().filter_map(pair).collect()
    }

    /// The home directory, if it is known.
    pub fn home(&self) -> Option<PathBuf> {
        self.path("HOME")
    }

    /// A path as the user means it.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }

    /// The default store: `/var/lib/builder` for root, else the user's data directory (XDG Base
    /// Directory specification); `None` without a home.
    pub fn default_root(&self) -> Option<PathBuf> {
        if self.is_root {
            return Some(PathBuf::from("/var/lib/builder"));
        }
        let data = self
            .value("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute());
        let data = data.or_else(|| Some(self.home()?.join(".local/share")))?;
        Some(data.join("builder"))
    }

    /// Whether colours may go to standard error (no-color.org).
    pub fn allows_color(&self) -> bool {
        self.terminals.stderr && self.value("NO_COLOR").is_none() && !self.is_dumb()
    }

    /// Whether the terminal cannot move its cursor.
    pub fn is_dumb(&self) -> bool {
        self.text("TERM") == Some("dumb")
    }
}

/// The number that root of this user namespace has outside (user_namespaces(7)).
fn outer_uid() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    map.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_where_the_user_keeps_data() {
        let root_of =
            |pairs: &[(&str, &str)]| Environment::of(pairs.iter().copied()).default_root();
        assert_eq!(root_of(&[]), None);
        assert_eq!(
            root_of(&[("HOME", "/h")]),
            Some("/h/.local/share/builder".into())
        );
        assert_eq!(
            root_of(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d")]),
            Some("/d/builder".into())
        );
        assert_eq!(
            root_of(&[("HOME", "/h"), ("XDG_DATA_HOME", "d")]),
            Some("/h/.local/share/builder".into())
        );
        let root = Environment {
            is_root: true,
            ..Environment::of([("HOME", "/root")])
        };
        assert_eq!(root.default_root(), Some("/var/lib/builder".into()));
    }

    #[test]
    fn empty_variables_are_unset() {
        let environment = Environment::of([("A", ""), ("B", "true"), ("C", "no")]);
        assert_eq!(environment.text("A"), None);
        assert_eq!(environment.set("A"), Some(""));
        assert!(environment.is_true("B") && !environment.is_true("C"));
    }
}
