//! BuildKit's build checks: a tree and what planning knows in, warnings out.
//!
//! Names, texts, pages and lines are BuildKit's, because pipelines match on them; one file a rule
//! in `rules`, listed in [`RULES`]. The room is pure: what a rule cannot see in the file (a base
//! image's variables, the ignore file) it asks through [`Facts`].
//!
//! ```text
//! Dockerfile + LintContext ─scope::walk─▶ stages with expanded words ─rules─▶ findings
//!    ─config (directive, build argument, comments above instructions)─▶ Vec<Diagnostic>
//! ```

mod check;
mod config;
mod context;
mod registry;
mod rules;
mod scope;

#[cfg(test)]
mod tests;

pub use check::{Findings, Pass, VIOLATION, check, lines, render};
pub use config::{Config, ConfigError};
pub use context::{Base, Facts, LintContext, NoFacts};
pub use registry::{RULES, Rule, rule};
