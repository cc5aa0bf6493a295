//! What `docker build` takes from Docker's `config.json` besides credentials: proxies.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{CliError, Environment};

/// The largest file that is read.
const BYTES_MAX: u64 = 4 << 20;

/// Names of proxy variables in Docker's file and in the environment.
const PROXIES: [(&str, &str); 5] = [
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("allProxy", "ALL_PROXY"),
];

#[derive(Default, Deserialize)]
struct Config {
    #[serde(default)]
    proxies: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

/// The directory of Docker's configuration: `DOCKER_CONFIG`, or `~/.docker`.
pub(super) fn directory(environment: &Environment) -> Option<PathBuf> {
    let home = || Some(environment.home()?.join(".docker"));
    environment.path("DOCKER_CONFIG").or_else(home)
}

/// Proxy variables for RUN: those of the environment, and over them those of Docker's file. Each
/// comes in upper and lower case, in a fixed order.
pub(super) fn proxies(environment: &Environment) -> Result<Vec<(String, String)>, CliError> {
    let config = match directory(environment) {
        Some(directory) => read(&directory.join("config.json"))?,
        None => Config::default(),
    };
    let default = config.proxies.get("default");
    let mut list = Vec::new();
    for (key, name) in PROXIES {
        let configured = default.and_then(|proxies| proxies.get(key)?.as_str());
        let lower = name.to_lowercase();
        let value = configured
            .filter(|value| !value.is_empty())
            .or_else(|| environment.text(name))
            .or_else(|| environment.text(&lower));
        if let Some(value) = value {
            list.push((name.to_owned(), value.to_owned()));
            list.push((lower, value.to_owned()));
        }
    }
    Ok(list)
}

/// Reads the file; one that is not there is empty.
fn read(path: &Path) -> Result<Config, CliError> {
    let error = |source| CliError::DockerConfig {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Config::default()),
        // Credentials of another user are no reason to refuse a build that needs none.
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(Config::default());
        }
        Err(source) => return Err(error(source)),
    };
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text).map_err(error)?;
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(Config::default());
    }
    serde_json::from_slice(&text).map_err(|source| error(source.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_file_wins_over_the_environment() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        let config = r#"{"auths":{"x":{"auth":"eA=="}},"proxies":{"default":{"httpProxy":"http://a","noProxy":""}}}"#;
        std::fs::write(&file, config).unwrap();
        let path = directory.path().to_str().unwrap();
        let variables = [
            ("DOCKER_CONFIG", path),
            ("http_proxy", "http://b"),
            ("no_proxy", "c"),
        ];
        let found = proxies(&Environment::of(variables)).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("HTTP_PROXY", "http://a"),
                ("http_proxy", "http://a"),
                ("NO_PROXY", "c"),
                ("no_proxy", "c")
            ]
        );
    }

    #[test]
    fn a_broken_file_is_named_and_an_absent_one_is_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let environment = Environment::of([("DOCKER_CONFIG", path)]);
        assert!(proxies(&environment).unwrap().is_empty());
        std::fs::write(directory.path().join("config.json"), "{").unwrap();
        let error = proxies(&environment).unwrap_err().to_string();
        assert!(error.contains("config.json"), "{error}");
    }
}
