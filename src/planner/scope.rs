//! ARG and ENV: who sees which variable (Dockerfile reference §1.7).
//!
//! Two scopes exist. [`Globals`] are the ARGs above the first FROM and the predefined platform
//! arguments; only FROM lines see them. A [`Scope`] is what the instructions of one stage see; a
//! child stage starts with its parent's.

use std::collections::BTreeMap;

use crate::image::ContainerConfig;
use crate::platform::Platform;

use crate::parser::expand::Env;

/// The names that a RUN gets without ARG, and that are in no key and no history.
const PROXIES: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// ARGs that are declared but never reach a command's environment.
const NOT_ENVIRONMENT: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// Ordered variables; setting a name again keeps its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VariableList(Vec<(String, String)>);

impl VariableList {
    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(slot) => slot.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// All, in order.
    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

impl Env for VariableList {
    fn lookup(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(known, _)| known == name)?;
        Some(&pair.1)
    }
}

/// What FROM lines see, for one target platform.
#[derive(Clone, Debug, Default)]
pub(crate) struct Globals(pub(crate) VariableList);

impl Globals {
    /// The predefined arguments; `--build-arg` overrides each.
    pub(crate) fn predefined(
        build: &Platform,
        target: &Platform,
        stage: &str,
        overrides: &BTreeMap<String, String>,
    ) -> Self {
        let mut list = VariableList::default();
        for (prefix, platform) in [("BUILD", build), ("TARGET", target)] {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            for (name, value) in [
                ("PLATFORM", full_platform(platform)),
                ("OS", platform.os.clone()),
                ("OSVERSION", part(&platform.os_version)),
                ("ARCH", platform.architecture.clone()),
                ("VARIANT", part(&platform.variant)),
            ] {
                list.set(&format!("{prefix}{name}"), value);
            }
        }
        list.set("TARGETSTAGE", stage);
        for (name, value) in overrides {
            if list.lookup(name).is_some() {
                list.set(name, value.as_str());
            }
        }
        Self(list)
    }
}

impl Env for Globals {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.0.lookup(name)
    }
}

/// containerd's `FormatAll`: the system's version in parentheses, where there is one.
fn full_platform(platform: &Platform) -> String {
    match &platform.os_version {
        Some(version) => {
            platform
                .to_string()
                .replacen(&platform.os, &format!("{}({version})", platform.os), 1)
        }
        None => platform.to_string(),
    }
}

/// What the instructions of one stage see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    environment: VariableList,
    /// Declared ARGs in order of first declaration, with their values as they were then.
    declared: Vec<(String, String)>,
}

impl Scope {
    /// Takes over the environment of an image.
    pub(crate) fn inherit(&mut self, config: &ContainerConfig) {
        for variable in &config.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            self.environment.set(name, value);
        }
    }

    /// ENV.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.set(name, value);
    }

    /// ARG: declares a name and, if it has a value, puts it into the environment of what follows.
    pub(crate) fn declare(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value
            && !NOT_ENVIRONMENT.contains(&name)
        {
            self.environment.set(name, value);
        }
        let value = value.unwrap_or_default().to_owned();
        match self.declared.iter_mut().find(|(known, _)| known == name) {
            Some(slot) => slot.1 = value,
            None => self.declared.push((name.to_owned(), value)),
        }
    }

    /// The environment of a command, in order.
    pub(crate) fn environment(&self) -> &[(String, String)] {
        self.environment.pairs()
    }

    /// The value of a declared ARG; empty if it has none.
    pub(crate) fn argument(&self, name: &str) -> Option<&str> {
        let found = self.declared.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The words `|2 A=1 B=2 ` in front of a RUN's command in the history; empty without ARGs.
    pub(crate) fn history_prefix(&self) -> String {
        if self.declared.is_empty() {
            return String::new();
        }
        let mut prefix = format!("|{} ", self.declared.len());
        for (name, declared) in &self.declared {
            let value = self.environment.lookup(name).unwrap_or(declared);
            prefix.push_str(name);
            prefix.push('=');
            prefix.push_str(value);
            prefix.push(' ');
        }
        prefix
    }

    /// The proxy variables for a command: those of the environment and of the build arguments, in
    /// both cases as BuildKit gives them, without names that the scope itself sets.
    pub(crate) fn proxies(
        &self,
        given: &[(String, String)],
        build_args: &BTreeMap<String, String>,
    ) -> Vec<(String, String)> {
        let mut list = VariableList::default();
        let all = given.iter().map(|(name, value)| (name, value));
        for (name, value) in all.chain(build_args) {
            let upper = name.to_ascii_uppercase();
            if PROXIES.contains(&upper.as_str()) {
                for name in [upper.to_ascii_lowercase(), upper] {
                    if self.environment.lookup(&name).is_none() {
                        list.set(&name, value.as_str());
                    }
                }
            }
        }
        list.0
    }
}

impl Env for Scope {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.environment.lookup(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn platform_arguments_are_predefined_and_overridden() {
        let overrides = BTreeMap::from([
            ("TARGETARCH".to_owned(), "z80".to_owned()),
            ("OTHER".to_owned(), "x".to_owned()),
        ]);
        let (build, target) = (platform("linux/amd64"), platform("linux/arm/v7"));
        let globals = Globals::predefined(&build, &target, "app", &overrides);
        for (name, value) in [
            ("BUILDPLATFORM", Some("linux/amd64")),
            ("BUILDVARIANT", Some("")),
            ("TARGETPLATFORM", Some("linux/arm/v7")),
            ("TARGETVARIANT", Some("v7")),
            ("TARGETARCH", Some("z80")),
            ("TARGETSTAGE", Some("app")),
            ("OTHER", None),
        ] {
            assert_eq!(globals.lookup(name), value, "{name}");
        }
    }

    #[test]
    fn the_later_of_arg_and_env_is_seen() {
        let mut scope = Scope::default();
        scope.declare("A", Some("arg"));
        scope.set("A", "env");
        assert_eq!(scope.lookup("A"), Some("env"));
        scope.declare("A", Some("again"));
        assert_eq!(scope.lookup("A"), Some("again"));
        assert_eq!(scope.history_prefix(), "|1 A=again ");
    }

    #[test]
    fn an_arg_without_value_is_counted_but_unset() {
        let mut scope = Scope::default();
        scope.declare("A", None);
        assert_eq!(scope.lookup("A"), None);
        assert_eq!(scope.history_prefix(), "|1 A= ");
    }

    #[test]
    fn proxies_come_in_both_cases_unless_the_stage_sets_them() {
        let mut scope = Scope::default();
        scope.set("http_proxy", "mine");
        let given = vec![("HTTP_PROXY".to_owned(), "p".to_owned())];
        let args = BTreeMap::from([("No_Proxy".to_owned(), "n".to_owned())]);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            scope.proxies(&given, &args),
            [
                pair("HTTP_PROXY", "p"),
                pair("no_proxy", "n"),
                pair("NO_PROXY", "n")
            ]
        );
    }
}
