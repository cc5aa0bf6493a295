//! ARG and ENV: who sees which variable (Dockerfile reference §1.7).
//!
//! Two scopes exist. [`Globals`] are the ARGs above the first FROM and the predefined platform
//! arguments; only FROM lines see them. A [`Scope`] is what the instructions of one stage see; a
//! child stage starts with its parent's.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::image::ContainerConfig;
use crate::platform::Platform;

use crate::parser::expand::Env;

use super::variable::{Variable, VariableList};

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
                list.set(&format!("{prefix}{name}"), &value);
            }
        }
        list.set("TARGETSTAGE", stage);
        for (name, value) in overrides {
            if list.lookup(name).is_some() {
                list.set(name, value);
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
    declared: VariableList,
    /// `A=1 B=2 ` of the declared ARGs with what they are now: kept from RUN to RUN, since most files
    /// declare all of them once.
    shown: OnceCell<String>,
}

impl Scope {
    /// Takes over the environment of an image.
    pub(crate) fn inherit(&mut self, config: &ContainerConfig) {
        for variable in &config.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            self.set(name, value);
        }
    }

    /// ENV.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.set(name, value);
        if self.declared.lookup(name).is_some() {
            self.shown = OnceCell::new();
        }
    }

    /// ARG: declares a name and, if it has a value, puts it into the environment of what follows.
    pub(crate) fn declare(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value
            && !NOT_ENVIRONMENT.contains(&name)
        {
            self.environment.set(name, value);
        }
        let declared = value.unwrap_or_default();
        if self.declared.set(name, declared) {
            self.shown = OnceCell::new();
        } else if let Some(shown) = self.shown.get_mut() {
            show(
                shown,
                name,
                self.environment.lookup(name).unwrap_or(declared),
            );
        }
    }

    /// The environment of a command, in order.
    pub(crate) fn environment(&self) -> &[Variable] {
        self.environment.variables()
    }

    /// The value of a declared ARG; empty if it has none.
    pub(crate) fn argument(&self, name: &str) -> Option<&str> {
        self.declared.lookup(name)
    }

    /// The words `|2 A=1 B=2 ` in front of a RUN's command in the history; empty without ARGs.
    pub(crate) fn history_prefix(&self) -> String {
        let declared = self.declared.variables();
        if declared.is_empty() {
            return String::new();
        }
        let shown = self.shown.get_or_init(|| {
            let mut shown = String::new();
            for argument in declared {
                let (name, value) = (argument.name(), argument.value());
                show(
                    &mut shown,
                    name,
                    self.environment.lookup(name).unwrap_or(value),
                );
            }
            shown
        });
        format!("|{} {shown}", declared.len())
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
                        list.set(&name, value);
                    }
                }
            }
        }
        list.pairs().collect()
    }
}

/// Appends `A=1 `.
fn show(shown: &mut String, name: &str, value: &str) {
    shown.extend([name, "=", value, " "]);
}

impl Env for Scope {
    fn lookup(&self, name: &str) -> Option<&str> {
        self.environment.lookup(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn what_history_shows_does_not_depend_on_who_asked_before(
            steps in proptest::collection::vec((any::<bool>(), "[AB]", proptest::option::of("[ab]")), 0..12),
        ) {
            let mut asked = Scope::default();
            for (arg, name, value) in &steps {
                match (arg, value) {
                    (false, Some(value)) => asked.set(name, value),
                    (_, value) => asked.declare(name, value.as_deref()),
                }
                let mut fresh = asked.clone();
                fresh.shown = OnceCell::new();
                prop_assert_eq!(asked.history_prefix(), fresh.history_prefix());
            }
        }
    }
}
