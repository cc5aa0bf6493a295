//! `builder images`

use serde_json::json;

use super::super::Stop;
use super::super::args::ImagesArgs;
use super::store::{self, Found};
use crate::cache::Store;
use crate::clock::{self, Epoch};
use crate::failure::ExitCode;
use crate::reference::Reference;
use crate::ui::{Table, units};

/// Lists images by name; an image with several names has several lines.
pub(crate) fn images(args: &ImagesArgs, store: &Store) -> Result<ExitCode, Stop> {
    let mut lines = Vec::new();
    for found in store::all(store)? {
        if found.names.is_empty() && args.filter.is_none() {
            lines.push(Line::of(store, &found, None));
        }
        for name in found
            .names
            .iter()
            .filter(|name| matches(name, args.filter.as_deref()))
        {
            lines.push(Line::of(store, &found, Some(name)));
        }
    }
    // The newest comes first, as Docker lists them; equal ones by name.
    lines.sort_by(|left, right| (right.created, &left.name).cmp(&(left.created, &right.name)));
    super::print(&show(args, &lines)?)?;
    Ok(ExitCode::Success)
}

fn matches(name: &Reference, filter: Option<&str>) -> bool {
    filter.is_none_or(|text| name.familiar().contains(text) || name.to_string().contains(text))
}

/// What is told of one name.
struct Line {
    name: String,
    tag: String,
    id: String,
    digest: String,
    created: Option<Epoch>,
    size: u64,
    platforms: Vec<String>,
}

impl Line {
    fn of(store: &Store, found: &Found, name: Option<&Reference>) -> Self {
        // An image whose documents are gone is listed all the same, so that it can be removed.
        let images = store::images_of(store, &found.descriptor).unwrap_or_default();
        let shown = store::preferred(&images);
        let familiar = name.map(|name| {
            Reference {
                tag: None,
                ..name.clone()
            }
            .familiar()
        });
        let id = match images.as_slice() {
            [image] => image.manifest.config.digest,
            _ => found.descriptor.digest,
        };
        let created = shown.and_then(|image| image.config.created.clone());
        Self {
            name: familiar.unwrap_or_else(|| "<none>".to_owned()),
            tag: name
                .and_then(|name| name.tag.clone())
                .unwrap_or_else(|| "<none>".to_owned()),
            id: id.to_string(),
            digest: found.descriptor.digest.to_string(),
            created: created.and_then(|text| Epoch::parse_rfc3339(&text)),
            size: shown.map_or(0, store::Image::size),
            platforms: images
                .iter()
                .map(|image| image.config.platform().to_string())
                .collect(),
        }
    }

    fn short_id(&self, args: &ImagesArgs) -> String {
        let hex = self.id.trim_start_matches("sha256:");
        if args.no_trunc {
            self.id.clone()
        } else {
            hex[..12].to_owned()
        }
    }
}

fn show(args: &ImagesArgs, lines: &[Line]) -> Result<Vec<u8>, Stop> {
    let mut out = Vec::new();
    if args.quiet {
        let mut ids: Vec<String> = lines.iter().map(|line| line.short_id(args)).collect();
        ids.dedup();
        out.extend(ids.iter().flat_map(|id| format!("{id}\n").into_bytes()));
        return Ok(out);
    }
    if args.json {
        for line in lines {
            let object = json!({
                "name": line.name, "tag": line.tag, "id": line.id, "digest": line.digest,
                "created": line.created.map(Epoch::rfc3339), "size": line.size,
                "platforms": line.platforms,
            });
            out.extend(format!("{object}\n").into_bytes());
        }
        return Ok(out);
    }
    let now = clock::now();
    let mut table = Table::new(&["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    for line in lines {
        table.row([
            line.name.clone(),
            line.tag.clone(),
            line.short_id(args),
            super::age(line.created, now),
            units::bytes(line.size),
        ]);
    }
    table.write(&mut out).map_err(Stop::stdout)?;
    Ok(out)
}
