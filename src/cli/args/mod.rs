//! The words of the command line, as typed: what they mean is decided in [`super::request`].
//!
//! Values whose meaning needs nothing but themselves are parsed here by clap, so that a bad one
//! is refused with the name of its flag; paths, the environment and combinations come later.

mod build;
pub mod values;
mod verbs;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

pub use build::{BuildArgs, BuildLimits, ProgressArg};
pub use verbs::{
    CompletionArgs, DoctorArgs, DuArgs, FsckArgs, HistoryArgs, ImagesArgs, InspectArgs, LoginArgs,
    LogoutArgs, PlanArgs, PlanFormat, PruneArgs, PullArgs, PushArgs, RegistryArgs, RmArgs, TagArgs,
};

/// `builder`.
#[derive(Debug, Parser)]
#[command(
    name = "builder",
    version,
    about = "Builds OCI images from Dockerfiles: no daemon, no root, the same digest everywhere",
    after_help = "Exit status: 0 done, 1 the build failed or the input is wrong, 2 the command line \
                  is wrong,\n3 the environment cannot, 70 a bug, 130 interrupted, 143 terminated.",
    disable_help_flag = true,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    args_override_self = true,
    max_term_width = 100
)]
pub struct Args {
    /// What every verb takes.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Directory of the store [env: BUILDER_ROOT]
    #[arg(long, value_name = "DIR", global = true, display_order = 900)]
    pub root: Option<PathBuf>,
    /// Enable debug logging
    #[arg(short = 'D', long, global = true, display_order = 901)]
    pub debug: bool,
    /// Print help
    #[arg(short, long, global = true, display_order = 902, action = clap::ArgAction::HelpShort)]
    help: Option<bool>,
}

/// A verb.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a build
    #[command(visible_alias = "b")]
    Build(Box<BuildArgs>),
    /// Show what a build would do, without doing it
    Plan(Box<PlanArgs>),
    /// Fetch an image into the store
    Pull(PullArgs),
    /// Upload an image from the store to a registry
    Push(PushArgs),
    /// Keep credentials for a registry
    Login(LoginArgs),
    /// Forget credentials for a registry
    Logout(LogoutArgs),
    /// List the images of the store
    #[command(visible_alias = "ls")]
    Images(ImagesArgs),
    /// Give an image one more name
    Tag(TagArgs),
    /// Remove names of images
    #[command(visible_alias = "rmi")]
    Rm(RmArgs),
    /// Show manifest and config of images as JSON
    Inspect(InspectArgs),
    /// Show the history of an image
    History(HistoryArgs),
    /// Show what takes space in the store
    Du(DuArgs),
    /// Remove what no image needs
    Prune(PruneArgs),
    /// Check every byte of the store
    Fsck(FsckArgs),
    /// Show which kinds of isolation work here, and how to get better ones
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Print the manual page
    #[command(hide = true)]
    Man,
    /// Show the version
    Version,
}

impl Args {
    /// Parses the command line. The error is a message or a help text that knows where it goes.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(words.into_iter().filter_map(spelled_out))
    }

    /// The whole command line, for completions and the manual.
    pub fn grammar() -> clap::Command {
        Self::command()
    }
}

/// Flags without a value, which Docker's parser takes with one too.
const SWITCHES: [&str; 11] = [
    "--check",
    "--compress",
    "--debug",
    "--force-rm",
    "--load",
    "--no-cache",
    "--pull",
    "--push",
    "--quiet",
    "--rm",
    "--squash",
];

/// Spells `--pull=true` as `--pull`, and `--pull=false` as nothing (pflag); podman's
/// `--pull=always` and `--pull=missing` too. Other words stay as they are.
fn spelled_out(word: OsString) -> Option<OsString> {
    const ON: [&str; 6] = ["true", "1", "t", "T", "TRUE", "True"];
    const OFF: [&str; 6] = ["false", "0", "f", "F", "FALSE", "False"];
    let switch = word
        .to_str()
        .and_then(|text| text.split_once('='))
        .filter(|(flag, _)| SWITCHES.contains(flag));
    match switch {
        Some((flag, value)) if ON.contains(&value) => Some(flag.into()),
        Some((_, value)) if OFF.contains(&value) => None,
        Some(("--pull", "always")) => Some("--pull".into()),
        Some(("--pull", "missing")) => None,
        _ => Some(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Args::grammar().debug_assert();
    }

    #[test]
    fn words_are_taken_as_docker_takes_them() {
        let build = |words: &[&str]| {
            let words = ["builder", "build"].iter().chain(words).chain(["."].iter());
            match Args::read(words.map(Into::into)).unwrap().verb {
                Verb::Build(args) => args,
                other => panic!("{other:?}"),
            }
        };
        assert!(build(&["--pull=true"]).pull && build(&["--pull=always"]).pull);
        assert!(!build(&["--pull=false", "--no-cache=0"]).pull);
        assert_eq!(
            build(&["--target=a", "--target=b"]).target.as_deref(),
            Some("b")
        );
        assert_eq!(build(&["--label=a", "--label=b"]).label.len(), 2);
        assert_eq!(build(&["-ta", "-t", "b", "-qf", "x"]).tag.len(), 2);
        assert!(build(&["--pull", "--pull"]).pull);
        assert!(build(&["--provenance=false"]).provenance.is_some());
    }
}
