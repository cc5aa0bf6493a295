//! Configs at both ends: what a stage inherits, and what a target's image says.

use std::collections::BTreeMap;

use crate::clock::Epoch;
use crate::image::{ContainerConfig, History, ImageConfig};
use crate::platform::Platform;

use super::super::graph::{StageId, StepId, Target};
use super::super::request::PlanRequest;
use super::path;
use super::stage::LoweredStage;

/// The comment of every history entry that BuildKit writes.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// The PATH of images that set none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The config of `scratch`.
pub(crate) fn empty(platform: &Platform) -> ImageConfig {
    let mut config = ImageConfig {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        os_version: platform.os_version.clone(),
        variant: platform.variant.clone(),
        config: ContainerConfig {
            working_dir: match platform.os.as_str() {
                "windows" => "\\".to_owned(),
                _ => "/".to_owned(),
            },
            ..ContainerConfig::default()
        },
        ..ImageConfig::default()
    };
    add_path(&mut config);
    config
}

/// What a stage takes over from an image: all but its time, its history, its layers and its
/// triggers, with a PATH.
pub(crate) fn inherited(image: &ImageConfig) -> ImageConfig {
    let mut config = ImageConfig {
        created: None,
        author: image.author.clone(),
        architecture: image.architecture.clone(),
        os: image.os.clone(),
        os_version: image.os_version.clone(),
        os_features: image.os_features.clone(),
        variant: image.variant.clone(),
        config: image.config.clone(),
        rootfs: crate::image::RootFs::default(),
        history: Vec::new(),
        extra: image.extra.clone(),
    };
    config.config.on_build.clear();
    let written = &config.config.working_dir;
    if !written.is_empty() {
        config.config.working_dir = match config.os.as_str() {
            "windows" => path::from_windows(written).map_or_else(
                |_| written.clone(),
                |path| path::to_windows(&path::join("/", &path)),
            ),
            _ => path::join("/", written),
        };
    }
    add_path(&mut config);
    config
}

fn add_path(config: &mut ImageConfig) {
    let env = &mut config.config.env;
    if config.os != "windows" && !env.iter().any(|variable| variable.starts_with("PATH=")) {
        env.push(PATH.to_owned());
    }
}

/// The target of a platform, made of its last stage.
pub(crate) fn target(
    id: StageId,
    stages: &BTreeMap<StageId, LoweredStage>,
    platform: &Platform,
    request: &PlanRequest<'_>,
) -> Option<Target> {
    let last = stages.get(&id)?;
    let mut chain = vec![last];
    while let Some(parent) = chain.last().and_then(|stage| stages.get(&stage.parent?)) {
        chain.push(parent);
    }
    chain.reverse();
    let created = Some(last.epoch.rfc3339());
    let history: Vec<(History, Option<StepId>)> = chain
        .iter()
        .flat_map(|stage| &stage.history)
        .map(|(line, step)| {
            let entry = History {
                created: created.clone(),
                created_by: Some(line.clone()),
                comment: Some(COMMENT.to_owned()),
                empty_layer: step.is_none(),
                author: None,
            };
            (entry, *step)
        })
        .collect();
    let mut config = last.config.clone();
    let base = chain.first().and_then(|stage| stage.image.as_ref());
    if let Some(base) = base {
        config.history.clone_from(&base.config.history);
    }
    config
        .history
        .extend(history.iter().map(|(entry, _)| entry.clone()));
    config.created = created;
    for (name, value) in request.labels {
        config.config.labels.insert(name.clone(), value.clone());
    }
    let platform = stamp_platform(&mut config, platform, !request.platforms.is_empty());
    let epoch: Epoch = last.epoch;
    Some(Target {
        platform,
        step: last.step,
        config,
        history,
        epoch,
    })
}

/// Writes the platform into the config: the one asked for, else the base image's own.
fn stamp_platform(config: &mut ImageConfig, wanted: &Platform, asked: bool) -> Platform {
    if asked || config.os.is_empty() || config.architecture.is_empty() {
        let same = config.os == wanted.os && config.architecture == wanted.architecture;
        config.os.clone_from(&wanted.os);
        config.architecture.clone_from(&wanted.architecture);
        if wanted.variant.is_some() || !same {
            config.variant.clone_from(&wanted.variant);
        }
        if wanted.os_version.is_some() || !same {
            config.os_version.clone_from(&wanted.os_version);
        }
    }
    let platform = config.platform().normalized();
    config.os.clone_from(&platform.os);
    config.architecture.clone_from(&platform.architecture);
    config.variant.clone_from(&platform.variant);
    platform
}
