//! The last touch on a config: history and layers put together, so that they agree.
//!
//! The manifest and the bytes are made by `export`, in the form that an output wants.

use crate::digest::DiffId;

use super::{History, ImageConfig, RootFs};

/// What a config is completed from.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// The config; its history and layers are ignored, see below.
    pub config: &'a ImageConfig,
    /// The history of the base image, as it came.
    pub base_history: &'a [History],
    /// The layers of the base image, bottom first.
    pub base_layers: &'a [DiffId],
    /// The history of this build, each entry with the layer that it made.
    pub history: &'a [(History, Option<DiffId>)],
}

/// The config with its history and its layers. The base's history stays in front; if it does not
/// account for the base's layers, entries are marked empty or added until it does, so that the
/// entries with layers are as many as there are diff ids.
pub fn complete(parts: &Parts<'_>) -> ImageConfig {
    let mut config = parts.config.clone();
    config.history = reconciled(parts.base_history, parts.base_layers.len());
    let mut diff_ids = parts.base_layers.to_vec();
    for (entry, layer) in parts.history {
        diff_ids.extend(layer);
        config.history.push(History {
            empty_layer: layer.is_none(),
            ..entry.clone()
        });
    }
    config.rootfs = RootFs {
        diff_ids,
        ..RootFs::default()
    };
    config
}

/// The base's history with exactly `layers` entries that have one, as BuildKit's exporter makes it.
fn reconciled(history: &[History], layers: usize) -> Vec<History> {
    let mut left = layers;
    let mut result: Vec<History> = history.to_vec();
    for entry in &mut result {
        if !entry.empty_layer {
            match left.checked_sub(1) {
                Some(fewer) => left = fewer,
                None => entry.empty_layer = true,
            }
        }
    }
    let missing = History {
        comment: Some("buildkit.exporter.image.v0".to_owned()),
        ..History::default()
    };
    result.extend(std::iter::repeat_n(missing, left));
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use proptest::prelude::*;

    fn layer(name: &str) -> DiffId {
        DiffId(Digest::of(name.as_bytes()))
    }

    fn entry(line: &str, empty_layer: bool) -> History {
        History {
            created_by: Some(line.to_owned()),
            empty_layer,
            ..History::default()
        }
    }

    fn completed(
        base: (&[History], &[DiffId]),
        history: &[(History, Option<DiffId>)],
    ) -> ImageConfig {
        let config = ImageConfig {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            ..ImageConfig::default()
        };
        complete(&Parts {
            config: &config,
            base_history: base.0,
            base_layers: base.1,
            history,
        })
    }

    #[test]
    fn base_history_stays_in_front_and_layers_follow_their_instructions() {
        let base = [entry("ADD rootfs", false), entry("CMD", true)];
        let history = [
            (entry("RUN", true), Some(layer("run"))),
            (entry("ENV", false), None),
        ];
        let config = completed((&base, &[layer("base")]), &history);
        let lines: Vec<_> = config
            .history
            .iter()
            .map(|entry| (entry.created_by.as_deref().unwrap(), entry.empty_layer))
            .collect();
        let expected = [
            ("ADD rootfs", false),
            ("CMD", true),
            ("RUN", false),
            ("ENV", true),
        ];
        assert_eq!(lines, expected);
        assert_eq!(config.rootfs.diff_ids, [layer("base"), layer("run")]);
    }

    #[test]
    fn the_bytes_of_a_config_stay_as_they_are() {
        let history = [(entry("RUN", false), Some(layer("run")))];
        let config = completed((&[], &[layer("base")]), &history);
        insta::assert_snapshot!(serde_json::to_string(&config).unwrap());
    }

    proptest! {
        #[test]
        fn entries_with_layers_are_as_many_as_diff_ids(
            base in proptest::collection::vec(any::<bool>(), 0..8),
            layers in 0_usize..8,
            own in proptest::collection::vec(any::<bool>(), 0..4),
        ) {
            let base: Vec<History> = base.into_iter().map(|empty| entry("b", empty)).collect();
            let layers: Vec<DiffId> = (0..layers).map(|n| layer(&n.to_string())).collect();
            let own: Vec<_> = own
                .into_iter()
                .map(|made| (entry("o", !made), made.then(|| layer("own"))))
                .collect();
            let config = completed((&base, &layers), &own);
            let with_layer = config.history.iter().filter(|entry| !entry.empty_layer);
            prop_assert_eq!(with_layer.count(), config.rootfs.diff_ids.len());
        }
    }
}
