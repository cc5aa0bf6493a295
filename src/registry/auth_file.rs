//! Docker's `config.json` and podman's `auth.json`: one form, read and changed here.
//!
//! Keys of `auths` are hosts, addresses (`https://index.docker.io/v1/`), or in podman's files
//! paths below a host (containers-auth.json(5)); the longest path that holds the repository wins.
//! A host must be equal as a whole: a look-alike gets nothing.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::credential::{Credential, Secret, same_registry, server_key};

/// No credentials file is larger, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The parts of a credentials file that name credentials.
#[derive(Debug, Default, Deserialize)]
pub(super) struct AuthFile {
    // Go writes empty maps as `null`.
    #[serde(default)]
    auths: Option<BTreeMap<String, AuthEntry>>,
    #[serde(default, rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct AuthEntry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default, rename = "identitytoken")]
    identity: Option<String>,
    #[serde(default, rename = "registrytoken")]
    token: Option<String>,
}

/// What a file says about one repository.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The credential itself.
    Credential(Credential),
    /// The helper `docker-credential-NAME` is to be asked.
    Helper(String),
}

impl AuthFile {
    /// Parses a file's text.
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Reads a file; `None` if it is missing.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let Some(text) = read_text(path)? else {
            return Ok(None);
        };
        Self::parse(&text).map(Some).map_err(io::Error::from)
    }

    /// What to ask for `registry/repository`, best first. A helper may know nothing, so there can
    /// be more than one answer.
    pub(super) fn find(&self, registry: &str, repository: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.helper(registry).map(Finding::Helper));
        let named = format!("{registry}/{repository}");
        let mut entries: Vec<(usize, &AuthEntry)> = self
            .auths
            .iter()
            .flatten()
            .filter_map(|(key, entry)| Some((key_match(key, registry, &named)?, entry)))
            .collect();
        entries.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        let credentials = entries
            .into_iter()
            .filter_map(|(_, entry)| entry.credential());
        findings.extend(credentials.map(Finding::Credential));
        findings
    }

    /// The helper in charge of a registry: its own, else the general store.
    pub(super) fn helper(&self, registry: &str) -> Option<String> {
        let own = self
            .helpers
            .iter()
            .flatten()
            .find(|(key, _)| host_of(key).is_some_and(|host| same_registry(host, registry)))
            .map(|(_, helper)| helper);
        own.or(self.store.as_ref())
            .filter(|name| !name.is_empty())
            .cloned()
    }
}

impl AuthEntry {
    fn credential(&self) -> Option<Credential> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = filled(&self.token) {
            return Some(Credential::Token(Secret(token)));
        }
        if let Some(token) = filled(&self.identity) {
            return Some(Credential::Identity(Secret(token)));
        }
        if let Some(auth) = filled(&self.auth) {
            let pair = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
            let (user, password) = pair.split_once(':')?;
            return Some(Credential::basic(user, password.trim_end_matches('\0')));
        }
        Some(Credential::basic(
            filled(&self.username)?,
            filled(&self.password)?,
        ))
    }
}

/// The host of a key: what stands between a scheme and a path.
fn host_of(key: &str) -> Option<&str> {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    // `https://user@host` is no key that any tool writes; a look-alike would be.
    rest.split('/')
        .next()
        .filter(|host| !host.is_empty() && !host.contains('@'))
}

/// How long the match of a key with a repository is; `None` if it is for something else.
fn key_match(key: &str, registry: &str, named: &str) -> Option<usize> {
    let host = host_of(key)?;
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    let path = rest[host.len()..].trim_matches('/');
    // Docker's addresses of old end in the API's version.
    if path.is_empty() || matches!(path, "v1" | "v2") {
        return same_registry(host, registry).then_some(0);
    }
    let key = format!("{host}/{path}");
    let below = named.strip_prefix(key.as_str())?;
    (below.is_empty() || below.starts_with('/')).then_some(key.len())
}

fn read_text(path: &Path) -> io::Result<Option<String>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Changes the entry of a registry in a credentials file: `Some` sets it, `None` deletes it. Every
/// other key stays as it is; the file is replaced at once, with mode 0600. Returns whether an entry
/// was there before.
pub(super) fn change(path: &Path, registry: &str, entry: Option<&Credential>) -> io::Result<bool> {
    // A dotfile manager's link stays a link: its target is replaced.
    let target = match std::fs::read_link(path) {
        Ok(link) => path.parent().unwrap_or(Path::new("/")).join(link),
        Err(_) => path.to_owned(),
    };
    let mut root = match read_text(&target)? {
        Some(text) if !text.trim().is_empty() => serde_json::from_str(&text)?,
        _ => Map::new(),
    };
    let auths = root
        .entry("auths")
        .or_insert_with(|| Value::Object(Map::new()));
    if auths.is_null() {
        *auths = Value::Object(Map::new());
    }
    let Value::Object(auths) = auths else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "`auths` is not an object",
        ));
    };
    let old: Vec<String> = auths
        .keys()
        .filter(|key| key_match(key, registry, registry) == Some(0))
        .cloned()
        .collect();
    for key in &old {
        auths.remove(key);
    }
    if let Some(credential) = entry {
        auths.insert(server_key(registry).to_owned(), entry_of(credential));
    } else if old.is_empty() {
        return Ok(false);
    }
    write_private(&target, &root)?;
    Ok(!old.is_empty())
}

fn entry_of(credential: &Credential) -> Value {
    let mut entry = Map::new();
    match credential {
        Credential::Basic { user, password } => {
            let pair = STANDARD.encode(format!("{user}:{}", password.0));
            entry.insert("auth".to_owned(), Value::String(pair));
        }
        Credential::Identity(token) => {
            entry.insert("identitytoken".to_owned(), Value::String(token.0.clone()));
        }
        Credential::Token(token) => {
            entry.insert("registrytoken".to_owned(), Value::String(token.0.clone()));
        }
    }
    Value::Object(entry)
}

fn write_private(path: &Path, root: &Map<String, Value>) -> io::Result<()> {
    let directory: PathBuf = path.parent().unwrap_or(Path::new("/")).to_owned();
    if !directory.is_dir() {
        std::fs::create_dir_all(&directory)?;
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))?;
    }
    // A temporary file of this crate has mode 0600 from its first moment.
    let mut file = tempfile::NamedTempFile::new_in(&directory)?;
    serde_json::to_writer_pretty(&mut file, root)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(user: &str) -> Finding {
        Finding::Credential(Credential::basic(user, "p"))
    }

    fn auth(user: &str) -> String {
        STANDARD.encode(format!("{user}:p"))
    }

    #[test]
    fn keys_are_found_as_docker_and_podman_write_them() {
        let text = format!(
            r#"{{"auths": {{
                "https://index.docker.io/v1/": {{"auth": "{}"}},
                "r.example:5000": {{"auth": "{}"}},
                "r.example:5000/team": {{"auth": "{}"}},
                "https://other.example/v2/": {{"username": "o", "password": "p"}},
                "id.example": {{"auth": "", "identitytoken": "t"}},
                "empty.example": {{}}
            }}}}"#,
            auth("hub"),
            auth("all"),
            auth("team")
        );
        let file = AuthFile::parse(&text).unwrap();
        let find = |registry, repository| file.find(registry, repository);
        assert_eq!(find("docker.io", "library/debian"), [basic("hub")]);
        assert_eq!(
            find("r.example:5000", "team/x"),
            [basic("team"), basic("all")]
        );
        assert_eq!(find("r.example:5000", "teams/x"), [basic("all")]);
        assert_eq!(find("other.example", "x"), [basic("o")]);
        let identity = Credential::Identity(Secret("t".to_owned()));
        assert_eq!(find("id.example", "x"), [Finding::Credential(identity)]);
        assert_eq!(find("empty.example", "x"), []);
    }

    #[test]
    fn look_alike_hosts_get_nothing() {
        let text = format!(
            r#"{{"auths": {{"r.example": {{"auth": "{0}"}}, "https://x@s.example": {{"auth": "{0}"}}}}}}"#,
            auth("u")
        );
        let file = AuthFile::parse(&text).unwrap();
        for registry in [
            "r.example.evil",
            "evil.r.example",
            "r.example:443",
            "R.example",
            "r-example",
            "s.example",
            "x@s.example",
            "evil",
        ] {
            assert_eq!(file.find(registry, "r.example/x"), [], "{registry}");
        }
    }

    #[test]
    fn a_registrys_own_helper_comes_before_the_general_store() {
        let text =
            r#"{"credsStore": "desktop", "credHelpers": {"gcr.io": "gcloud"}, "auths": null}"#;
        let file = AuthFile::parse(text).unwrap();
        assert_eq!(file.helper("gcr.io").unwrap(), "gcloud");
        assert_eq!(
            file.find("docker.io", "x"),
            [Finding::Helper("desktop".to_owned())]
        );
    }

    #[test]
    fn a_change_keeps_other_keys_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/config.json");
        assert!(!change(&path, "r.example", None).unwrap());
        assert!(!change(&path, "r.example", Some(&Credential::basic("u", "p"))).unwrap());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(
            &path,
            r#"{"proxies": {"a": 1}, "auths": {"https://r.example/v2/": {}}}"#,
        )
        .unwrap();
        assert!(change(&path, "r.example", Some(&Credential::basic("u", "p"))).unwrap());
        let file = AuthFile::read(&path).unwrap().unwrap();
        assert_eq!(file.find("r.example", "x"), [basic("u")]);
        assert!(std::fs::read_to_string(&path).unwrap().contains("proxies"));
        assert!(change(&path, "r.example", None).unwrap());
        assert_eq!(
            AuthFile::read(&path)
                .unwrap()
                .unwrap()
                .find("r.example", "x"),
            []
        );
    }

    #[test]
    fn a_linked_file_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("config.json");
        std::os::unix::fs::symlink("real.json", &link).unwrap();
        change(&link, "r", Some(&Credential::basic("u", "p"))).unwrap();
        assert!(link.is_symlink());
        assert!(directory.path().join("real.json").is_file());
    }
}
