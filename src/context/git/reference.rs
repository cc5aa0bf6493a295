//! Git addresses: the fragment form `url#ref:subdir` and the query form `url?ref=…&subdir=…`
//! (dockerfile.md §5, BuildKit's `dfgitutil`).

use crate::failure::{Explain, Kind};

/// A git address, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitRef {
    /// What is given to git, without fragment and query; `https://` added to `github.com/…`.
    pub remote: String,
    /// The branch, tag, full reference or commit; `None` is the default branch.
    pub reference: Option<String>,
    /// The directory inside the tree, cleaned, never leaving it.
    pub subdirectory: Option<String>,
    /// The commit that the reference must be, or the start of it (at least 7 digits).
    pub checksum: Option<String>,
    /// Whether `.git` stays; `None` leaves it to the flag.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched; they are by default.
    pub submodules: Option<bool>,
    /// What time files get.
    pub mtime: GitMtime,
    /// Whether the server is asked for the commit itself instead of a reference.
    pub fetch_by_commit: bool,
    /// Written as `github.com/…`: as a positional argument it is an address, elsewhere a path.
    pub like_a_path: bool,
}

/// What time files of a git tree get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GitMtime {
    /// That of the checkout.
    #[default]
    Checkout,
    /// That of the commit.
    Commit,
}

/// Why a text is not a git address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitRefError {
    /// It is something else: a path, or a plain file of the web.
    #[error("`{text}` is not a git address")]
    NotGit {
        /// The text without user and password.
        text: String,
    },
    /// A key of the query form that does not exist.
    #[error("unexpected query \"{key}\" in a git address")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A key that stands there twice, or that says something else than another one.
    #[error("git address has conflicting values for \"{key}\"")]
    Conflict {
        /// The key.
        key: String,
    },
    /// A value that the key cannot have.
    #[error("invalid value for \"{key}\" in a git address: \"{value}\"")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

impl Explain for GitRefError {
    fn kind(&self) -> Kind {
        Kind::User
    }

    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NotGit { .. } => "http(s) addresses of git repositories end in `.git`",
            Self::UnknownKey { .. } => {
                "known keys: ref, tag, branch, subdir, checksum, commit, keep-git-dir, submodules, \
                 mtime, fetch-by-commit"
            }
            Self::Conflict { .. } => "name each key once, either in the query or after `#`",
            Self::Value { .. } => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// Whether a text is an address of a git repository, well-formed or not. `github.com/…` counts.
pub fn is_git_url(text: &str) -> bool {
    !matches!(GitRef::parse(text), Err(GitRefError::NotGit { .. }))
}

impl GitRef {
    /// Takes an address apart.
    ///
    /// # Errors
    /// It is no git address, or its query or fragment cannot be obeyed.
    pub fn parse(text: &str) -> Result<Self, GitRefError> {
        let not_git = || GitRefError::NotGit {
            text: redacted(text),
        };
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (text, None),
        };
        let (remote, query) = match rest.split_once('?') {
            Some((remote, query)) => (remote, Some(query)),
            None => (rest, None),
        };
        if !remote.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(not_git());
        }
        let mut parsed = Self::default();
        if remote.starts_with("github.com/") {
            parsed.like_a_path = true;
            parsed.remote = format!("https://{remote}");
        } else if is_remote(remote) {
            remote.clone_into(&mut parsed.remote);
        } else {
            return Err(not_git());
        }
        if let Some(fragment) = fragment {
            parsed.fragment(fragment)?;
        }
        if let Some(query) = query {
            parsed.query(query)?;
        }
        Ok(parsed)
    }

    /// The address without user and password, for messages and keys.
    pub fn redacted(&self) -> String {
        redacted(&self.remote)
    }

    /// Whether git reaches it through ssh: `ssh://host/path` or `user@host:path`.
    pub fn uses_ssh(&self) -> bool {
        self.remote.starts_with("ssh://") || !self.remote.contains("://")
    }

    /// The commit, if the reference is one in full.
    pub fn commit(&self) -> Option<&str> {
        self.reference.as_deref().filter(|name| is_commit(name))
    }

    /// Pins the commit: `ADD --checksum`.
    ///
    /// # Errors
    /// It is no start of a commit, or the address pins another one.
    pub fn pin(&mut self, commit: &str) -> Result<(), GitRefError> {
        self.set("checksum", commit)
    }

    fn fragment(&mut self, fragment: &str) -> Result<(), GitRefError> {
        let (reference, subdirectory) = fragment.split_once(':').unwrap_or((fragment, ""));
        if !reference.is_empty() {
            self.set_reference("ref", reference)?;
        }
        if !subdirectory.is_empty() {
            self.set_subdirectory(subdirectory);
        }
        Ok(())
    }

    fn query(&mut self, query: &str) -> Result<(), GitRefError> {
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decode(key, pair)?;
            let value = decode(value, pair)?;
            if seen.contains(&key) {
                return Err(GitRefError::Conflict { key });
            }
            self.set(&key, &value)?;
            seen.push(key);
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), GitRefError> {
        let invalid = || GitRefError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let flag = || match value {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(invalid()),
        };
        match key {
            "ref" => self.set_reference(key, value)?,
            "tag" => self.set_reference(key, &format!("refs/tags/{value}"))?,
            "branch" => self.set_reference(key, &format!("refs/heads/{value}"))?,
            "subdir" => {
                let earlier = self.subdirectory.take();
                self.set_subdirectory(value);
                if earlier.is_some() && earlier != self.subdirectory {
                    return Err(GitRefError::Conflict {
                        key: key.to_owned(),
                    });
                }
            }
            "checksum" | "commit" => {
                let digits = value.bytes().all(|byte| byte.is_ascii_hexdigit());
                if !digits || !(7..=64).contains(&value.len()) {
                    return Err(invalid());
                }
                let value = value.to_ascii_lowercase();
                if self.checksum.as_ref().is_some_and(|other| *other != value) {
                    return Err(GitRefError::Conflict {
                        key: key.to_owned(),
                    });
                }
                self.checksum = Some(value);
            }
            "keep-git-dir" => self.keep_git_dir = Some(flag()?),
            "submodules" => self.submodules = Some(flag()?),
            "fetch-by-commit" => self.fetch_by_commit = flag()?,
            "mtime" => {
                self.mtime = match value {
                    "checkout" => GitMtime::Checkout,
                    "commit" => GitMtime::Commit,
                    _ => return Err(invalid()),
                }
            }
            _ => {
                return Err(GitRefError::UnknownKey {
                    key: key.to_owned(),
                });
            }
        }
        Ok(())
    }

    fn set_reference(&mut self, key: &str, value: &str) -> Result<(), GitRefError> {
        if !is_reference(value) {
            return Err(GitRefError::Value {
                key: key.to_owned(),
                value: value.to_owned(),
            });
        }
        if self.reference.as_ref().is_some_and(|other| other != value) {
            return Err(GitRefError::Conflict {
                key: key.to_owned(),
            });
        }
        self.reference = Some(value.to_owned());
        Ok(())
    }

    fn set_subdirectory(&mut self, value: &str) {
        let clean = crate::tree::TreePath::clean(value).to_string();
        let clean = clean.trim_start_matches('/');
        self.subdirectory = (!clean.is_empty()).then(|| clean.to_owned());
    }
}

/// Whether this is what git calls a remote, of a kind that is fetched: by scheme, or `user@host:path`.
/// An http(s) address is one only if its path ends in `.git`.
fn is_remote(remote: &str) -> bool {
    if let Some((scheme, rest)) = remote.split_once("://") {
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let has_host =
            host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[');
        return has_host
            && match scheme {
                "http" | "https" => has_suffix(rest.trim_end_matches('/'), ".git"),
                "ssh" | "git" => true,
                _ => false,
            };
    }
    let Some((host, path)) = remote.split_once(':') else {
        return false;
    };
    let word = |text: &str, more: &str| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || more.contains(char))
    };
    host.split_once('@')
        .is_some_and(|(user, host)| word(user, "-_") && word(host, "-."))
        && !path.is_empty()
        && !path.starts_with('-')
}

/// Whether git would accept a name as a reference or revision, and never as an option
/// (`git check-ref-format`, and no leading dash).
fn is_reference(name: &str) -> bool {
    let bad = |char: char| char.is_control() || " ~^:?*[\\".contains(char);
    let component = |part: &str| {
        !part.is_empty() && !part.starts_with(['-', '.']) && !has_suffix(part, ".lock")
    };
    name.len() <= 1024
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(bad)
        && !name.ends_with('.')
        && name.split('/').all(component)
}

/// Git compares case; a file name's extension this is not.
fn has_suffix(text: &str, suffix: &str) -> bool {
    text.strip_suffix(suffix).is_some()
}

/// Whether a name is a commit in full: SHA-1 or SHA-256.
pub(super) fn is_commit(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// An address without what stands before `@` in its authority.
pub(super) fn redacted(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return address.to_owned();
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}/{path}"),
        None => address.to_owned(),
    }
}

/// Undoes percent-encoding of a query.
fn decode(text: &str, pair: &str) -> Result<String, GitRefError> {
    super::super::percent_decode(&text.replace('+', " "))
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| GitRefError::Value {
            key: "query".to_owned(),
            value: pair.to_owned(),
        })
}
