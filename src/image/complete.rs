//! Config, history and layers to the documents of an image: config, manifest, index.
//!
//! The bytes are a pure function of the arguments: struct fields in their order, maps sorted,
//! unknown keys last. Other tools may print the same values otherwise; a digest is of our bytes.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::{DiffId, Digest};
use crate::failure::{Explain, Kind};
use crate::platform::Platform;

use super::{Compression, Descriptor, History, ImageConfig, Index, Manifest, MediaType, RootFs};

/// A layer with both its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerBlob {
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Its blob.
    pub descriptor: Descriptor,
}

/// Whose media types an image has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flavour {
    /// OCI image-spec.
    #[default]
    Oci,
    /// Docker schema 2.
    Docker,
}

impl Flavour {
    const fn manifest(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OciManifest,
            Self::Docker => MediaType::DockerManifest,
        }
    }

    const fn config(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OciConfig,
            Self::Docker => MediaType::DockerConfig,
        }
    }

    const fn index(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OciIndex,
            Self::Docker => MediaType::DockerIndex,
        }
    }
}

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// The config; its history and layers are ignored, see below.
    pub config: &'a ImageConfig,
    /// The history of the base image, as it came.
    pub base_history: &'a [History],
    /// The layers of the base image, bottom first.
    pub base_layers: &'a [LayerBlob],
    /// The history of this build, each entry with the layer that it made.
    pub history: &'a [(History, Option<LayerBlob>)],
    /// Whose media types.
    pub flavour: Flavour,
    /// Annotations of the manifest.
    pub annotations: &'a BTreeMap<String, String>,
}

/// A JSON document that is named by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Media type, digest and size; of a manifest also its platform.
    pub descriptor: Descriptor,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// An image, ready to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The config as it was written.
    pub config: ImageConfig,
    /// Its bytes.
    pub config_document: Document,
    /// The manifest as it was written.
    pub manifest: Manifest,
    /// Its bytes; the descriptor says the platform.
    pub manifest_document: Document,
}

/// Why an image cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A document cannot be written as JSON.
    #[error("failed to write the {document} as JSON")]
    Json {
        /// `config`, `manifest` or `index`.
        document: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Explain for AssembleError {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// Puts an image together. The base's history stays in front; if it does not account for the
/// base's layers, entries are marked empty or added until it does, so that the entries with layers
/// are as many as there are diff ids.
pub fn assemble(parts: &Parts<'_>) -> Result<Image, AssembleError> {
    let mut config = parts.config.clone();
    config.history = reconciled(parts.base_history, parts.base_layers.len());
    let mut layers: Vec<&LayerBlob> = parts.base_layers.iter().collect();
    for (entry, layer) in parts.history {
        layers.extend(layer);
        config.history.push(History {
            empty_layer: layer.is_none(),
            ..entry.clone()
        });
    }
    config.rootfs = RootFs {
        diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
        ..RootFs::default()
    };
    let config_document = document("config", parts.flavour.config(), &config)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(parts.flavour.manifest().as_str().to_owned()),
        artifact_type: None,
        config: config_document.descriptor.clone(),
        layers: layers
            .into_iter()
            .map(|layer| flavoured(&layer.descriptor, parts.flavour))
            .collect(),
        subject: None,
        annotations: parts.annotations.clone(),
    };
    let mut manifest_document = document("manifest", parts.flavour.manifest(), &manifest)?;
    manifest_document.descriptor.platform = Some(config.platform());
    Ok(Image {
        config,
        config_document,
        manifest,
        manifest_document,
    })
}

/// Makes an index of manifests, in this order, each with its platform in its descriptor.
pub fn index(
    manifests: &[Descriptor],
    flavour: Flavour,
    annotations: &BTreeMap<String, String>,
) -> Result<(Index, Document), AssembleError> {
    let index = Index {
        schema_version: 2,
        media_type: Some(flavour.index().as_str().to_owned()),
        manifests: manifests.to_vec(),
        annotations: annotations.clone(),
    };
    let document = document("index", flavour.index(), &index)?;
    Ok((index, document))
}

/// The platform that a descriptor of a manifest states, for choosing from an index.
pub fn for_platform<'a>(index: &'a Index, wanted: &Platform) -> Option<&'a Descriptor> {
    let accepts = |descriptor: &&Descriptor| {
        let offered = descriptor.platform.as_ref();
        offered.is_some_and(|offered| wanted.accepts(offered))
    };
    let exact = |descriptor: &&Descriptor| {
        let offered = descriptor.platform.clone().map(Platform::normalized);
        offered.is_some_and(|offered| offered.variant == wanted.variant)
    };
    let mut fitting = index.manifests.iter().filter(accepts);
    fitting.clone().find(exact).or_else(|| fitting.next())
}

fn document(
    name: &'static str,
    media_type: MediaType,
    value: &impl Serialize,
) -> Result<Document, AssembleError> {
    let bytes = serde_json::to_vec(value).map_err(|source| AssembleError::Json {
        document: name,
        source,
    })?;
    let size = bytes.len() as u64;
    Ok(Document {
        descriptor: Descriptor::new(media_type.as_str(), Digest::of(&bytes), size),
        bytes,
    })
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

/// A layer's descriptor with the media type of the image's flavour. Types that are no layer of
/// ours, such as foreign ones, stay: their bytes are somewhere else.
fn flavoured(descriptor: &Descriptor, flavour: Flavour) -> Descriptor {
    let mut descriptor = descriptor.clone();
    let foreign = descriptor.media_type.contains("foreign")
        || descriptor.media_type.contains("nondistributable");
    if let (Some(compression), false) =
        (Compression::of_media_type(&descriptor.media_type), foreign)
    {
        let oci = flavour == Flavour::Oci;
        compression
            .layer_media_type(oci)
            .clone_into(&mut descriptor.media_type);
    }
    descriptor.platform = None;
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layer(name: &str, media_type: &str) -> LayerBlob {
        LayerBlob {
            diff_id: DiffId(Digest::of(name.as_bytes())),
            descriptor: Descriptor::new(media_type, Digest::of(name.as_bytes()), 7),
        }
    }

    fn entry(line: &str, empty_layer: bool) -> History {
        History {
            created_by: Some(line.to_owned()),
            empty_layer,
            ..History::default()
        }
    }

    fn image(base: (&[History], &[LayerBlob]), history: &[(History, Option<LayerBlob>)]) -> Image {
        let config = ImageConfig {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            ..ImageConfig::default()
        };
        assemble(&Parts {
            config: &config,
            base_history: base.0,
            base_layers: base.1,
            history,
            flavour: Flavour::Oci,
            annotations: &BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        })
        .unwrap()
    }

    const OCI: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

    #[test]
    fn base_history_stays_in_front_and_layers_follow_their_instructions() {
        let base = [entry("ADD rootfs", false), entry("CMD", true)];
        let history = [
            (entry("RUN", false), Some(layer("run", OCI))),
            (entry("ENV", true), None),
        ];
        let image = image((&base, &[layer("base", DOCKER)]), &history);
        let lines: Vec<_> = image
            .config
            .history
            .iter()
            .map(|entry| (entry.created_by.clone().unwrap(), entry.empty_layer))
            .collect();
        let expected = [
            ("ADD rootfs", false),
            ("CMD", true),
            ("RUN", false),
            ("ENV", true),
        ];
        assert_eq!(
            lines,
            expected.map(|(line, empty)| (line.to_owned(), empty))
        );
        assert_eq!(image.config.rootfs.diff_ids.len(), 2);
        assert!(
            image
                .manifest
                .layers
                .iter()
                .all(|layer| layer.media_type == OCI)
        );
        assert_eq!(
            image.manifest_document.descriptor.digest,
            Digest::of(&image.manifest_document.bytes)
        );
        insta::assert_snapshot!(String::from_utf8(image.config_document.bytes).unwrap());
        insta::assert_snapshot!(String::from_utf8(image.manifest_document.bytes).unwrap());
    }

    #[test]
    fn foreign_layers_keep_their_type() {
        let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
        let image = image((&[], &[layer("base", foreign)]), &[]);
        assert_eq!(image.manifest.layers[0].media_type, foreign);
    }

    #[test]
    fn docker_flavour_has_docker_types() {
        let config = ImageConfig::default();
        let layers = [layer("base", OCI)];
        let image = assemble(&Parts {
            config: &config,
            base_history: &[],
            base_layers: &layers,
            history: &[],
            flavour: Flavour::Docker,
            annotations: &BTreeMap::new(),
        })
        .unwrap();
        let types = [
            image.manifest_document.descriptor.media_type.as_str(),
            image.manifest.config.media_type.as_str(),
            image.manifest.layers[0].media_type.as_str(),
        ];
        let expected = [
            MediaType::DockerManifest.as_str(),
            MediaType::DockerConfig.as_str(),
            DOCKER,
        ];
        assert_eq!(types, expected);
    }

    #[test]
    fn an_index_lists_manifests_in_order_and_is_chosen_from_by_platform() {
        let of = |platform: &str| {
            let mut descriptor = Descriptor::new("m", Digest::of(platform.as_bytes()), 1);
            descriptor.platform = Some(platform.parse().unwrap());
            descriptor
        };
        let all = ["linux/arm/v6", "linux/arm/v7", "linux/amd64"].map(of);
        let (index, document) = index(&all, Flavour::Oci, &BTreeMap::new()).unwrap();
        assert_eq!(index.manifests, all);
        assert_eq!(
            serde_json::from_slice::<Index>(&document.bytes).unwrap(),
            index
        );
        let chosen = |platform: &str| for_platform(&index, &platform.parse().unwrap());
        assert_eq!(chosen("linux/arm/v7"), Some(&all[1]));
        assert_eq!(chosen("linux/amd64"), Some(&all[2]));
        assert_eq!(chosen("linux/s390x"), None);
    }

    proptest! {
        #[test]
        fn entries_with_layers_are_as_many_as_diff_ids(
            base in proptest::collection::vec(any::<bool>(), 0..8),
            layers in 0_usize..8,
            own in proptest::collection::vec(any::<bool>(), 0..4),
        ) {
            let base: Vec<History> = base.into_iter().map(|empty| entry("b", empty)).collect();
            let layers: Vec<LayerBlob> = (0..layers).map(|n| layer(&n.to_string(), OCI)).collect();
            let own: Vec<_> = own
                .into_iter()
                .map(|made| (entry("o", !made), made.then(|| layer("own", OCI))))
                .collect();
            let image = image((&base, &layers), &own);
            let with_layer = image.config.history.iter().filter(|entry| !entry.empty_layer);
            prop_assert_eq!(with_layer.count(), image.config.rootfs.diff_ids.len());
            prop_assert_eq!(image.manifest.layers.len(), image.config.rootfs.diff_ids.len());
        }
    }
}
