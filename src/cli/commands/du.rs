//! `builder du`

use serde_json::{Map, Value, json};

use super::super::Stop;
use super::super::args::DuArgs;
use crate::cache::Store;
use crate::cache::store::{Class, ImageUsage, Usage};
use crate::failure::{ExitCode, Failure};
use crate::ui::{Table, units};

/// Shows what takes space, by kind and by image.
pub(crate) fn du(args: &DuArgs, store: &Store) -> Result<ExitCode, Stop> {
    let usage = store.du().map_err(Failure::from)?;
    let out = if args.json {
        format!("{:#}\n", as_json(&usage)).into_bytes()
    } else {
        as_table(&usage).map_err(Stop::stdout)?
    };
    super::print(&out)?;
    Ok(ExitCode::Success)
}

/// The words for a class, for programs and for people.
fn word(class: Class) -> (&'static str, &'static str) {
    match class {
        Class::Image => ("image", "Images"),
        Class::Layer => ("layer", "Cached layers"),
        Class::Mount => ("mount", "Cache mounts"),
        Class::Context => ("context", "Context indexes"),
        Class::Name => ("name", "Resolved names"),
        Class::Record => ("record", "Cache records"),
        Class::Loose => ("loose", "Unused blobs"),
        Class::Leftover => ("leftover", "Leftovers"),
    }
}

fn as_json(usage: &Usage) -> Value {
    let class = |(class, sizes): (&Class, &crate::cache::store::ClassUsage)| {
        let value = json!({
            "count": sizes.count, "bytes": sizes.bytes, "reclaimable": sizes.reclaimable,
        });
        (word(*class).0.to_owned(), value)
    };
    let classes: Map<String, Value> = usage.classes.iter().map(class).collect();
    let images: Vec<Value> = usage
        .images
        .iter()
        .map(|image| {
            json!({
                "name": image.image.name.as_ref().map(ToString::to_string),
                "digest": image.image.descriptor.digest,
                "bytes": image.bytes, "unique": image.unique, "missing": image.missing,
            })
        })
        .collect();
    json!({
        "bytes": usage.bytes(), "reclaimable": usage.reclaimable(),
        "classes": classes, "images": images,
    })
}

fn as_table(usage: &Usage) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut table = Table::new(&["TYPE", "TOTAL", "SIZE", "RECLAIMABLE"]);
    for (class, sizes) in &usage.classes {
        table.row([
            word(*class).1.to_owned(),
            sizes.count.to_string(),
            units::bytes(sizes.bytes),
            units::bytes(sizes.reclaimable),
        ]);
    }
    table.row([
        "All".to_owned(),
        String::new(),
        units::bytes(usage.bytes()),
        units::bytes(usage.reclaimable()),
    ]);
    table.write(&mut out)?;
    if !usage.images.is_empty() {
        out.push(b'\n');
        let mut table = Table::new(&["IMAGE", "SIZE", "UNIQUE", "NOT HERE"]);
        usage
            .images
            .iter()
            .for_each(|image| table.row(image_row(image)));
        table.write(&mut out)?;
    }
    Ok(out)
}

fn image_row(image: &ImageUsage) -> [String; 4] {
    let name = image
        .image
        .name
        .as_ref()
        .map(crate::reference::Reference::familiar);
    let missing = match image.missing {
        0 => "-".to_owned(),
        1 => "1 layer".to_owned(),
        count => format!("{count} layers"),
    };
    [
        name.unwrap_or_else(|| image.image.descriptor.digest.short()),
        units::bytes(image.bytes),
        units::bytes(image.unique),
        missing,
    ]
}
