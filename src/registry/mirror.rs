//! Mirrors: which other places are asked for an image, and where that is written down.
//!
//! Three tools have three files for the same wish; all three are read: Docker's `daemon.json`
//! (`registry-mirrors`, for Docker Hub alone), podman's `registries.conf` version 2 and
//! containerd's `certs.d/HOST/hosts.toml`.

use std::path::Path;

use serde::Deserialize;

use super::options::RegistryOptions;
use super::toml::{self, Table};

/// No configuration file is larger, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Other places for the repositories below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorRule {
    /// A registry (`docker.io`), `*.example.com`, or a path below a registry (`quay.io/team`).
    pub prefix: String,
    /// Tried in order before the place itself, for pulling only.
    pub mirrors: Vec<Mirror>,
    /// What stands for the prefix itself, if not itself (`location` of registries.conf, `server` of
    /// hosts.toml).
    pub location: Option<String>,
    /// Whether pulling is forbidden (`blocked` of registries.conf).
    pub blocked: bool,
}

/// One mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// `host[:port][/path]`; the path stands for the rule's prefix.
    pub location: String,
    /// Whether it may be reached without verified TLS or in plain HTTP.
    pub insecure: bool,
    /// Whether it is asked only for images pinned by digest, only for tags, or for both.
    pub pulls: MirrorPulls,
}

/// What a mirror is asked for (`pull-from-mirror` of registries.conf).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MirrorPulls {
    /// Everything.
    #[default]
    All,
    /// Images and blobs by digest.
    DigestOnly,
    /// Images by tag.
    TagOnly,
}

impl Mirror {
    /// A mirror that is asked for everything, from `host[:port][/path]` or an http(s) address;
    /// plain `http:` makes it insecure.
    pub fn parse(text: &str) -> Self {
        let (location, insecure) = match text.split_once("://") {
            Some((scheme, rest)) => (rest, scheme.eq_ignore_ascii_case("http")),
            None => (text, false),
        };
        Self {
            location: location.trim_end_matches('/').to_owned(),
            insecure,
            pulls: MirrorPulls::All,
        }
    }
}

impl MirrorRule {
    /// The length of the match of `name` (`registry/repository`) with the prefix, if it matches.
    pub(super) fn matches(&self, name: &str) -> Option<usize> {
        if let Some(suffix) = self.prefix.strip_prefix('*') {
            let host = name.split('/').next().unwrap_or(name);
            let plain = host.split(':').next().unwrap_or(host);
            return (suffix.starts_with('.') && plain.ends_with(suffix)).then_some(host.len());
        }
        let rest = name.strip_prefix(self.prefix.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(self.prefix.len())
    }
}

/// What all files together say.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes {
    pub(super) rules: Vec<MirrorRule>,
    pub(super) insecure: Vec<String>,
}

impl Routes {
    /// Reads the files that `options` names. A file that is missing or cannot be understood says
    /// nothing: a registry must stay reachable when a tool's file has a form of tomorrow.
    pub(super) fn load(options: &RegistryOptions) -> Self {
        let mut routes = Self {
            rules: options.mirrors.clone(),
            insecure: options.insecure.clone(),
        };
        for path in &options.daemon_files {
            if let Some(text) = read_text(path) {
                routes.add_daemon_json(&text);
            }
        }
        if let Some(text) = options
            .registries_conf
            .iter()
            .find_map(|path| read_text(path))
        {
            routes.add_registries_conf(&text);
        }
        routes
    }

    /// Reads `hosts.toml` of one registry, once somebody asks for it.
    pub(super) fn hosts_toml(options: &RegistryOptions, registry: &str) -> Option<MirrorRule> {
        if registry.contains('/') || registry.starts_with('.') {
            return None;
        }
        options.certs_dirs.iter().find_map(|directory| {
            let text = [registry, "_default"]
                .into_iter()
                .find_map(|name| read_text(&directory.join(name).join("hosts.toml")))?;
            hosts_rule(registry, &text)
        })
    }

    /// The rule with the longest prefix of `name`.
    pub(super) fn rule(&self, name: &str) -> Option<&MirrorRule> {
        let mut best: Option<(usize, &MirrorRule)> = None;
        for rule in &self.rules {
            if let Some(length) = rule.matches(name)
                && best.is_none_or(|(longest, _)| length > longest)
            {
                best = Some((length, rule));
            }
        }
        best.map(|(_, rule)| rule)
    }

    fn add_daemon_json(&mut self, text: &str) {
        #[derive(Deserialize)]
        struct Daemon {
            #[serde(default, rename = "registry-mirrors")]
            mirrors: Vec<String>,
            #[serde(default, rename = "insecure-registries")]
            insecure: Vec<String>,
        }
        let Ok(daemon) = serde_json::from_str::<Daemon>(text) else {
            return;
        };
        self.insecure.extend(daemon.insecure);
        if !daemon.mirrors.is_empty() {
            self.rules.push(MirrorRule {
                prefix: "docker.io".to_owned(),
                mirrors: daemon
                    .mirrors
                    .iter()
                    .map(|text| Mirror::parse(text))
                    .collect(),
                location: None,
                blocked: false,
            });
        }
    }

    fn add_registries_conf(&mut self, text: &str) {
        let Ok(table) = toml::parse(text) else {
            return;
        };
        for registry in table.tables("registry") {
            let location = registry.text("location");
            let Some(prefix) = registry.text("prefix").or(location) else {
                continue;
            };
            if registry.flag("insecure") {
                let host = location
                    .unwrap_or(prefix)
                    .split('/')
                    .next()
                    .unwrap_or(prefix);
                self.insecure.push(host.to_owned());
            }
            let digest_only = registry.flag("mirror-by-digest-only");
            let mirrors = registry
                .tables("mirror")
                .filter_map(|mirror| conf_mirror(mirror, digest_only))
                .collect();
            self.rules.push(MirrorRule {
                prefix: prefix.to_owned(),
                mirrors,
                location: location.filter(|text| *text != prefix).map(str::to_owned),
                blocked: registry.flag("blocked"),
            });
        }
    }
}

fn conf_mirror(mirror: &Table, digest_only: bool) -> Option<Mirror> {
    let pulls = match mirror.text("pull-from-mirror") {
        Some("digest-only") => MirrorPulls::DigestOnly,
        Some("tag-only") => MirrorPulls::TagOnly,
        _ if digest_only => MirrorPulls::DigestOnly,
        _ => MirrorPulls::All,
    };
    Some(Mirror {
        insecure: mirror.flag("insecure"),
        pulls,
        ..Mirror::parse(mirror.text("location")?)
    })
}

/// Understands containerd's `hosts.toml`: `server` and the `[host."https://…"]` tables that can
/// pull and resolve. Paths that are overridden are beyond it: such hosts are left out.
fn hosts_rule(registry: &str, text: &str) -> Option<MirrorRule> {
    let table = toml::parse(text).ok()?;
    let mut mirrors = Vec::new();
    for (address, host) in table.named("host") {
        let capabilities = host.texts("capabilities");
        let pulls = capabilities.is_empty()
            || (capabilities.contains(&"pull") && capabilities.contains(&"resolve"));
        if pulls && !host.flag("override_path") {
            let mut mirror = Mirror::parse(address);
            mirror.insecure |= host.flag("skip_verify");
            mirrors.push(mirror);
        }
    }
    Some(MirrorRule {
        prefix: registry.to_owned(),
        mirrors,
        location: table
            .text("server")
            .map(|server| Mirror::parse(server).location)
            .filter(|server| server != registry && !server.contains('/')),
        blocked: false,
    })
}

fn read_text(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_hosts_are_whole_words() {
        let mut routes = Routes::default();
        routes.add_registries_conf(
            r#"
            unqualified-search-registries = ["docker.io"]
            [[registry]]
            prefix = "quay.io"
            location = "quay.io"
            [[registry.mirror]]
            location = "mirror.example:5000/quay"
            insecure = true
            [[registry]]
            location = "quay.io/team"
            blocked = true
            [[registry]]
            prefix = "*.corp.example"
            location = "proxy.corp.example/all"
            mirror-by-digest-only = true
            [[registry.mirror]]
            location = "m"
            "#,
        );
        let quay = routes.rule("quay.io/a/b").unwrap();
        assert_eq!(quay.mirrors[0].location, "mirror.example:5000/quay");
        assert!(quay.mirrors[0].insecure && !quay.blocked);
        assert!(routes.rule("quay.io/team/x").unwrap().blocked);
        assert!(!routes.rule("quay.io/teams/x").unwrap().blocked);
        assert_eq!(routes.rule("quay.io.evil.example/a"), None);
        let corp = routes.rule("r.corp.example:444/x").unwrap();
        assert_eq!(corp.mirrors[0].pulls, MirrorPulls::DigestOnly);
        assert_eq!(corp.location.as_deref(), Some("proxy.corp.example/all"));
        assert_eq!(routes.rule("corp.example/x"), None);
    }

    #[test]
    fn daemon_json_mirrors_docker_hub_alone() {
        let mut routes = Routes::default();
        routes.add_daemon_json(
            r#"{"registry-mirrors": ["http://10.0.0.1:5000/"], "insecure-registries": ["r:1"], "x": 1}"#,
        );
        let rule = routes.rule("docker.io/library/debian").unwrap();
        assert_eq!(rule.mirrors, [Mirror::parse("http://10.0.0.1:5000")]);
        assert!(rule.mirrors[0].insecure);
        assert_eq!(routes.rule("ghcr.io/x"), None);
        assert_eq!(routes.insecure, ["r:1"]);
        routes.add_daemon_json("not json");
    }

    #[test]
    fn hosts_toml_names_mirrors_that_can_pull() {
        let rule = hosts_rule(
            "docker.io",
            r#"
            server = "https://registry-1.docker.io"
            [host."https://mirror.example"]
              capabilities = ["pull", "resolve"]
              skip_verify = true
            [host."https://push.example"]
              capabilities = ["push"]
            "#,
        )
        .unwrap();
        assert_eq!(rule.mirrors.len(), 1);
        assert_eq!(rule.mirrors[0].location, "mirror.example");
        assert!(rule.mirrors[0].insecure);
        assert_eq!(rule.location.as_deref(), Some("registry-1.docker.io"));
    }
}
