//! `builder pull` and `builder push`

use std::path::Path;
use std::sync::Arc;

use super::super::args::{GlobalArgs, ProgressArg, PullArgs, PushArgs, RegistryArgs};
use super::super::interrupt::Interrupt;
use super::super::request::rooms;
use super::super::screen::{self, Show};
use super::super::{CliError, Environment, Stop};
use super::store;
use crate::event::{EventSink, Reporter};
use crate::failure::{ExitCode, Failure};
use crate::image::Descriptor;
use crate::pipeline::transfer;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::Client;

/// Fetches an image and prints its digest.
pub(crate) fn pull(
    (args, global): (&PullArgs, &GlobalArgs),
    environment: &Environment,
    root: &Path,
) -> Result<ExitCode, Stop> {
    let store = store::open(root)?;
    let platform = match (&args.platform, environment.text("DOCKER_DEFAULT_PLATFORM")) {
        (Some(platform), _) => platform.clone(),
        (None, Some(text)) => {
            text.parse()
                .map_err(
                    |error: crate::platform::ParsePlatformError| CliError::Variable {
                        name: "DOCKER_DEFAULT_PLATFORM",
                        reason: error.to_string(),
                    },
                )?
        }
        (None, None) => Platform::host(),
    };
    let job = Job::new(&args.registry, args.quiet, environment)?;
    let descriptor = job.run(global.debug, environment, |client, reporter| {
        transfer::pull(client, &store, (&args.image, &platform), reporter)
    })?;
    super::print(format!("{}\n", descriptor.digest).as_bytes())?;
    Ok(ExitCode::Success)
}

/// Uploads an image and prints its digest.
pub(crate) fn push(
    (args, global): (&PushArgs, &GlobalArgs),
    environment: &Environment,
    root: &Path,
) -> Result<ExitCode, Stop> {
    let store = store::open_to_read(root)?;
    let found = store::find(&store, &args.image)?;
    let word = args.image.parse::<Reference>().ok();
    let target = args
        .destination
        .clone()
        .or(word.filter(|name| found.names.contains(name)));
    let target = target.ok_or_else(|| CliError::NoDestination {
        word: args.image.clone(),
    })?;
    let descriptor: Descriptor = found.descriptor;
    let job = Job::new(&args.registry, args.quiet, environment)?;
    job.run(global.debug, environment, |client, reporter| {
        let names = std::slice::from_ref(&target);
        transfer::push(client, &store, (&descriptor, names), reporter)
    })?;
    super::print(format!("{}\n", descriptor.digest).as_bytes())?;
    Ok(ExitCode::Success)
}

/// A transfer that is shown and can be stopped.
struct Job {
    client: Client,
    show: Show,
}

impl Job {
    fn new(args: &RegistryArgs, quiet: bool, environment: &Environment) -> Result<Self, Stop> {
        rooms::authfile(args, environment)?;
        let options = rooms::registry(args, environment)?;
        let client = Client::new(Arc::new(options));
        let flag = quiet.then_some(ProgressArg::Quiet);
        let show = Show::choose(quiet, flag, environment)?;
        Ok(Self { client, show })
    }

    fn run<T>(
        &self,
        debug: bool,
        environment: &Environment,
        work: impl FnOnce(&Client, &Reporter) -> Result<T, Failure>,
    ) -> Result<T, Stop> {
        let client = self.client.clone();
        let interrupt = Interrupt::watch(move || client.stop());
        let console = screen::console(self.show.mode, debug, environment);
        let reporter = Reporter::new(Arc::clone(&console) as Arc<dyn EventSink>);
        match work(&self.client, &reporter) {
            Ok(value) => {
                console.finish(None);
                Ok(value)
            }
            Err(failure) => {
                console.finish(Some((&failure, "")));
                Err(Stop::Told(
                    interrupt.exit_code().unwrap_or(failure.exit_code()),
                ))
            }
        }
    }
}
