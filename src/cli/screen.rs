//! How a build is shown here: the flag, the environment and the terminal decide.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use super::args::ProgressArg;
use super::{CliError, Environment};
use crate::clock::{self, Stopwatch};
use crate::sys::terminal;
use crate::ui::Style;
use crate::ui::console::{Console, ConsoleOptions, Mode};
use crate::ui::text::Colors;

/// What is shown, and whether the image id is printed at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Show {
    /// The reader of events.
    pub(super) mode: Mode,
    /// Whether standard output gets the image id.
    pub(super) prints_id: bool,
}

impl Show {
    /// Decides: `-q`, `--progress`, `BUILDKIT_PROGRESS`, then whether there is a terminal.
    pub(super) fn choose(
        quiet: bool,
        flag: Option<ProgressArg>,
        environment: &Environment,
    ) -> Result<Self, CliError> {
        let wanted = match (quiet, flag) {
            (true, _) => ProgressArg::Quiet,
            (false, Some(flag)) => flag,
            (false, None) => from_environment(environment)?,
        };
        let live = environment.terminals.stderr && !environment.is_dumb();
        let mode = match wanted {
            ProgressArg::Auto | ProgressArg::Tty if live => Mode::Tty,
            ProgressArg::Auto | ProgressArg::Plain => Mode::Plain,
            ProgressArg::Tty => return Err(CliError::NotATerminal),
            ProgressArg::Rawjson => Mode::RawJson,
            ProgressArg::Quiet | ProgressArg::None => Mode::Quiet,
        };
        let prints_id = wanted == ProgressArg::Quiet;
        Ok(Self { mode, prints_id })
    }
}

fn from_environment(environment: &Environment) -> Result<ProgressArg, CliError> {
    let Some(word) = environment.text("BUILDKIT_PROGRESS") else {
        return Ok(ProgressArg::Auto);
    };
    clap::ValueEnum::from_str(word, false).map_err(|_| CliError::Variable {
        name: "BUILDKIT_PROGRESS",
        reason: format!("invalid progress mode {word}"),
    })
}

/// A console on standard error.
pub(super) fn console(mode: Mode, debug: bool, environment: &Environment) -> Arc<Console> {
    let watch = Stopwatch::start();
    let interval = environment
        .text("TTY_DISPLAY_RATE")
        .and_then(|text| text.parse().ok());
    let plain = environment.value("NO_COLOR").is_some();
    let options = ConsoleOptions {
        mode,
        color: environment.allows_color(),
        output_colors: if plain { Colors::Strip } else { Colors::Keep },
        truncate: environment.text("PROGRESS_NO_TRUNC") == Some("0"),
        debug,
        interval: Duration::from_millis(interval.unwrap_or(100).clamp(10, 10_000)),
        epoch: clock::since_1970(),
        time: Box::new(move || watch.elapsed()),
        size: Box::new(|| terminal::size(io::stderr().as_fd()).unwrap_or((80, 24))),
    };
    let console = Console::new(options, Box::new(io::stderr()));
    console.animate();
    console
}

/// The style of messages on standard error.
pub(super) fn style(environment: &Environment) -> Style {
    let width = terminal::size(io::stderr().as_fd()).map(|(columns, _)| columns);
    Style {
        color: environment.allows_color(),
        width: width.filter(|_| environment.terminals.stderr),
    }
}

/// Writes to standard error; if nobody reads it there is nobody to tell.
pub(super) fn complain(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    let mut stderr = io::stderr().lock();
    let _ = write(&mut stderr);
}

#[cfg(test)]
mod tests {
    use super::super::environment::Terminals;
    use super::*;

    #[test]
    fn the_flag_comes_before_the_variable_and_the_terminal() {
        let log = Environment::of([]);
        let mut screen = Environment::of([("TERM", "xterm")]);
        screen.terminals = Terminals {
            stderr: true,
            ..Terminals::default()
        };
        let mode = |quiet, flag, environment| Show::choose(quiet, flag, environment).unwrap().mode;
        assert_eq!(mode(false, None, &log), Mode::Plain);
        assert_eq!(mode(false, None, &screen), Mode::Tty);
        assert_eq!(mode(true, None, &screen), Mode::Quiet);
        assert_eq!(mode(false, Some(ProgressArg::Plain), &screen), Mode::Plain);
        let variable = Environment::of([("BUILDKIT_PROGRESS", "rawjson")]);
        assert_eq!(mode(false, None, &variable), Mode::RawJson);
        assert_eq!(
            mode(false, Some(ProgressArg::Plain), &variable),
            Mode::Plain
        );
        let wrong = Environment::of([("BUILDKIT_PROGRESS", "loud")]);
        let error = Show::choose(false, None, &wrong).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid BUILDKIT_PROGRESS: invalid progress mode loud"
        );
        assert!(Show::choose(false, Some(ProgressArg::Tty), &log).is_err());
        assert!(
            Show::choose(false, Some(ProgressArg::Quiet), &log)
                .unwrap()
                .prints_id
        );
        assert!(
            !Show::choose(false, Some(ProgressArg::None), &log)
                .unwrap()
                .prints_id
        );
    }
}
