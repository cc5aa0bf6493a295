//! `builder man`: the manual, one page after the other, for packagers.

use super::super::Stop;
use super::super::args::Args;
use crate::failure::ExitCode;

/// Prints the pages of `builder` and of each verb.
pub(crate) fn man() -> Result<ExitCode, Stop> {
    let mut grammar = Args::grammar();
    grammar.build();
    let mut pages = Vec::new();
    page(&grammar, "builder", &mut pages)?;
    for verb in grammar.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("builder-{}", verb.get_name());
        page(verb, &name, &mut pages)?;
    }
    super::print(&pages)?;
    Ok(ExitCode::Success)
}

fn page(command: &clap::Command, name: &str, out: &mut Vec<u8>) -> Result<(), Stop> {
    let command = command.clone().name(name.to_owned());
    clap_mangen::Man::new(command)
        .render(out)
        .map_err(Stop::stdout)
}
