//! What the rules may ask beyond the file.

use std::collections::{BTreeMap, BTreeSet};

use crate::platform::Platform;

/// What planning knows. Every answer may be "unknown"; a rule that needs it then stays silent.
pub trait Facts {
    /// The base image of the stage with this number (from 0), if it is an image and known.
    fn base(&self, stage: usize) -> Option<Base>;

    /// Whether `.dockerignore` leaves nothing of this cleaned path of the main context; `.` is all.
    fn is_ignored(&self, path: &str) -> bool;
}

/// What a rule may know of a base image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Whether its config sets a shell.
    pub has_shell: bool,
    /// Its name, what was pulled and what was expected, where these two differ.
    pub wrong_platform: Option<(String, Platform, Platform)>,
}

/// Nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFacts;

impl Facts for NoFacts {
    fn base(&self, _stage: usize) -> Option<Base> {
        None
    }

    fn is_ignored(&self, _path: &str) -> bool {
        false
    }
}

/// How to check a file.
#[derive(Clone, Copy)]
pub struct LintContext<'a> {
    /// What planning knows.
    pub facts: &'a dyn Facts,
    /// `--build-arg` values, and those of the predefined arguments if they are known.
    pub build_args: &'a BTreeMap<String, String>,
    /// The value of `BUILDKIT_DOCKERFILE_CHECK`; it replaces the `# check=` directive.
    pub check: Option<&'a str>,
    /// The stages that the target reaches; `None` checks all of them, as `--check` does.
    pub reachable: Option<&'a BTreeSet<usize>>,
}

impl std::fmt::Debug for LintContext<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LintContext")
            .field("check", &self.check)
            .field("reachable", &self.reachable)
            .finish_non_exhaustive()
    }
}
