//! From words to an exit code.

use std::ffi::OsString;
use std::process;

use super::args::values::CallMethod;
use super::args::{Args, Verb};
use super::{CliError, Environment, Stop, commands, request, screen};
use crate::event::Reporter;
use crate::executor::sandbox::Cancel;
use crate::failure::ExitCode;
use crate::pipeline::request::BuildRequest;
use crate::pipeline::{self, Enter};
use crate::ui::render;

/// Runs one command. Nothing was done before: no thread, no file, no terminal was touched.
pub fn main(words: impl IntoIterator<Item = OsString>) -> process::ExitCode {
    let code = match run(words) {
        Ok(code) => code as u8,
        Err(stop) => {
            tell(&stop);
            stop.exit_code()
        }
    };
    process::ExitCode::from(code)
}

fn run(words: impl IntoIterator<Item = OsString>) -> Result<ExitCode, Stop> {
    let args = Args::read(words)?;
    let environment = Environment::read().map_err(CliError::Directory)?;
    // What a plan frees it needs again a moment later: giving it back would be a quarter of its time.
    #[cfg(target_env = "musl")]
    if !matches!(args.verb, Verb::Plan(_)) {
        crate::sys::memory::give_back_at_once();
    }
    if args.global.debug {
        start_tracing(&environment);
    }
    dispatch(&args, &environment)
}

fn dispatch(args: &Args, environment: &Environment) -> Result<ExitCode, Stop> {
    let global = &args.global;
    let root = || request::root(global, environment);
    let to_read = || commands::store::open_to_read(&root()?);
    let to_write = || commands::store::open(&root()?);
    match &args.verb {
        Verb::Build(args) if request::call(args).method != CallMethod::Build => {
            commands::call((args, global), environment, pipeline::answer)
        }
        Verb::Build(args) => {
            let cancel = Cancel::new().map_err(CliError::Pipe)?;
            let stop = cancel.clone();
            let street = |request: &BuildRequest, reporter: &Reporter, enter: &Enter<'_>| {
                pipeline::build(request, reporter, &cancel, enter)
            };
            commands::build((args, global), environment, move || stop.cancel(), street)
        }
        Verb::Plan(args) => commands::plan((args, global), environment, pipeline::plan),
        Verb::Pull(args) => commands::pull((args, global), environment, &root()?),
        Verb::Push(args) => commands::push((args, global), environment, &root()?),
        Verb::Login(args) => commands::login(args, environment),
        Verb::Logout(args) => commands::logout(args, environment),
        Verb::Images(args) => commands::images(args, &to_read()?),
        Verb::Tag(args) => commands::tag(args, &to_write()?),
        Verb::Rm(args) => commands::rm(args, &to_write()?),
        Verb::Inspect(args) => commands::inspect(args, &to_read()?),
        Verb::History(args) => commands::history(args, &to_read()?),
        Verb::Du(args) => commands::du(args, &to_read()?),
        Verb::Prune(args) => commands::prune(args, &to_write()?),
        Verb::Fsck(args) if args.repair => commands::fsck(args, &to_write()?),
        Verb::Fsck(args) => commands::fsck(args, &to_read()?),
        Verb::Doctor(args) => commands::doctor(args, &root()?),
        Verb::Completion(args) => commands::completion(args),
        Verb::Man => commands::man(),
        Verb::Version => commands::version(),
    }
}

/// Says why, on the stream where it belongs; nobody listening is no error.
fn tell(stop: &Stop) {
    // The terminal is looked at only now: a command that succeeds pays nothing for it.
    let style = || {
        Environment::read()
            .map(|environment| screen::style(&environment))
            .unwrap_or_default()
    };
    match stop {
        Stop::Clap(error) => drop(error.print()),
        Stop::Told(_) | Stop::DoneElsewhere(_) | Stop::BrokenPipe => {}
        Stop::Failed(failure) => screen::complain(|out| render::failure(failure, "", style(), out)),
        Stop::Cli(error) => {
            screen::complain(|out| render::error(error, style(), out));
        }
    }
}

/// `--debug`: what the library traces goes to standard error; `BUILDER_LOG` chooses what.
fn start_tracing(environment: &Environment) {
    use tracing_subscriber::EnvFilter;
    let directives = environment.text("BUILDER_LOG").unwrap_or("builder=debug");
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("builder=debug"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(environment.allows_color());
    // A second subscriber in one process (tests) is refused; the first one serves.
    drop(subscriber.try_init());
}
