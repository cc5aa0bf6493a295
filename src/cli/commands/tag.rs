//! `builder tag` and `builder rm`

use super::super::args::{RmArgs, TagArgs};
use super::super::{CliError, Stop, screen};
use super::store;
use crate::cache::Store;
use crate::failure::{ExitCode, Failure};
use crate::reference::Reference;
use crate::ui::{Style, render};

/// Gives an image one more name.
pub(crate) fn tag(args: &TagArgs, store: &Store) -> Result<ExitCode, Stop> {
    let found = store::find(store, &args.image)?;
    let mut descriptor = found.descriptor;
    // Names are annotations of the layout's index; the old one must not come along.
    descriptor.annotations.clear();
    store.tag(&args.name, descriptor).map_err(Failure::from)?;
    Ok(ExitCode::Success)
}

/// Removes names, and what only their images needed; an id stands for all names of its image.
/// Every word is tried.
pub(crate) fn rm(args: &RmArgs, store: &Store) -> Result<ExitCode, Stop> {
    let mut code = ExitCode::Success;
    for word in &args.images {
        match remove(store, word) {
            Ok(names) => {
                for name in names {
                    super::print(format!("Untagged: {}\n", name.familiar()).as_bytes())?;
                }
            }
            Err(Stop::Cli(error @ CliError::NoImage { .. })) => {
                screen::complain(|out| render::error(&error, Style::default(), out));
                code = ExitCode::Failed;
            }
            Err(stop) => return Err(stop),
        }
    }
    Ok(code)
}

fn remove(store: &Store, word: &str) -> Result<Vec<Reference>, Stop> {
    let found = store::find(store, word)?;
    let name = word
        .parse::<Reference>()
        .ok()
        .filter(|name| found.names.contains(name));
    let names = name.map_or(found.names, |name| vec![name]);
    for name in &names {
        store.remove_image(name).map_err(Failure::from)?;
    }
    Ok(names)
}
