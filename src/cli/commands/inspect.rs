//! `builder inspect` and `builder history`

use serde_json::{Value, json};

use super::super::args::{HistoryArgs, InspectArgs};
use super::super::{CliError, Stop};
use super::store::{self, Image};
use crate::cache::Store;
use crate::clock::{self, Epoch};
use crate::failure::ExitCode;
use crate::ui::{Table, text, units};

/// Columns of an instruction that is cut.
const INSTRUCTION_COLUMNS: usize = 45;

/// Prints a JSON array with one object an image and platform.
pub(crate) fn inspect(args: &InspectArgs, store: &Store) -> Result<ExitCode, Stop> {
    let mut list = Vec::new();
    for word in &args.images {
        let found = store::find(store, word)?;
        let names: Vec<String> = found.names.iter().map(ToString::to_string).collect();
        for image in store::images_of(store, &found.descriptor)? {
            // As it was written: keys that we do not know stay.
            let config: Value = serde_json::from_slice(&image.config_bytes).unwrap_or_default();
            list.push(json!({
                "id": image.manifest.config.digest,
                "names": names,
                "digest": found.descriptor.digest,
                "mediaType": found.descriptor.media_type,
                "platform": image.config.platform().to_string(),
                "size": image.size(),
                "descriptor": image.descriptor,
                "manifest": image.manifest,
                "config": config,
            }));
        }
    }
    super::print(format!("{:#}\n", Value::from(list)).as_bytes())?;
    Ok(ExitCode::Success)
}

/// Prints the history of an image, the newest entry first.
pub(crate) fn history(args: &HistoryArgs, store: &Store) -> Result<ExitCode, Stop> {
    let found = store::find(store, &args.image)?;
    let images = store::images_of(store, &found.descriptor)?;
    let image = store::preferred(&images).ok_or_else(|| CliError::NoImage {
        word: args.image.clone(),
    })?;
    let entries = entries(image);
    let mut out = Vec::new();
    if args.json {
        for entry in &entries {
            let line = json!({
                "created": entry.created, "created_by": entry.instruction, "size": entry.size,
                "comment": entry.comment, "layer": entry.layer,
            });
            out.extend(format!("{line}\n").into_bytes());
        }
    } else {
        let now = clock::now();
        let mut table = Table::new(&["CREATED", "CREATED BY", "SIZE", "COMMENT"]);
        for entry in &entries {
            let created = entry.created.as_deref().and_then(Epoch::parse_rfc3339);
            let instruction = text::clean_name(&entry.instruction);
            let short = text::fit(&instruction, INSTRUCTION_COLUMNS);
            table.row([
                super::age(created, now),
                if args.no_trunc { instruction } else { short },
                units::bytes(entry.size),
                entry.comment.clone(),
            ]);
        }
        table.write(&mut out).map_err(Stop::stdout)?;
    }
    super::print(&out)?;
    Ok(ExitCode::Success)
}

struct Entry {
    created: Option<String>,
    instruction: String,
    size: u64,
    comment: String,
    layer: Option<String>,
}

/// History with the layers that it made, the newest first.
fn entries(image: &Image) -> Vec<Entry> {
    let mut layers = image.manifest.layers.iter();
    let mut entries: Vec<Entry> = image
        .config
        .history
        .iter()
        .map(|history| {
            let layer = if history.empty_layer {
                None
            } else {
                layers.next()
            };
            Entry {
                created: history.created.clone(),
                instruction: history.created_by.clone().unwrap_or_default(),
                size: layer.map_or(0, |layer| layer.size),
                comment: history.comment.clone().unwrap_or_default(),
                layer: layer.map(|layer| layer.digest.to_string()),
            }
        })
        .collect();
    entries.reverse();
    entries
}
