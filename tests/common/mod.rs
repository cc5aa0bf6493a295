//! The language of the black-box tests: a [`Project`] is built, and an [`Outcome`] is asked.
//!
//! ```ignore
//! let project = Project::new().dockerfile("
//!     FROM scratch
//!     COPY hello /
//! ").file("hello", "hi");
//! project.build().tag("x").success().ran("COPY hello /");
//! project.build().tag("x").success().cached("COPY hello /");
//! ```
//!
//! Every project has its own home, store and context below one temporary directory, and the
//! program sees no variable but those that the test sets.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test program uses its own part of this"
)]

mod busybox;
mod command;
mod container;
mod enclosure;
mod outcome;
mod project;
mod user;

pub use command::{Run, Running, copy_program};
pub use container::Container;
pub use enclosure::Enclosure;
pub use outcome::{Outcome, Step, StepEnd};
pub use project::Project;
pub use user::User;

/// An OCI layout whose only image is the machine's static busybox; see [`Project::with_busybox`].
pub fn busybox_layout() -> Option<std::path::PathBuf> {
    busybox::layout()
}

/// Writes an OCI layout whose only image has one layer, a plain tar.
pub fn write_layout(directory: &std::path::Path, layer: &[u8], config: serde_json::Value) {
    busybox::write_layout(directory, layer, config);
}

/// Says why a test does not run here. It counts as passed, so the reason must be seen.
pub fn skip(reason: &str) {
    use std::io::Write;
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    drop(writeln!(std::io::stderr(), "skipped {name}: {reason}"));
}

/// Text without the indentation that all its lines share, and without blank first and last lines.
pub fn dedent(text: &str) -> String {
    let lines = text.lines().skip_while(|line| line.trim().is_empty());
    let lines: Vec<&str> = lines.collect();
    let filled = lines.iter().filter(|line| !line.trim().is_empty());
    let indent = filled
        .map(|line| line.len() - line.trim_start().len())
        .min()
        .unwrap_or(0);
    let mut result = String::new();
    for line in lines {
        result.extend([line.get(indent..).unwrap_or(""), "\n"]);
    }
    result.truncate(result.trim_end().len());
    result.push('\n');
    result
}
