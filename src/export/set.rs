//! The documents of an image, as bytes: made once, then written to every output.

use std::collections::BTreeMap;

use super::output::{AnnotationLevel, MediaTypes, OutputAnnotation};
use crate::digest::{DiffId, Digest};
use crate::image::{Compression, Descriptor, ImageConfig, Index, Manifest, MediaType};
use crate::platform::Platform;

/// A config, manifest or index: its descriptor and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Media type, digest, size.
    pub descriptor: Descriptor,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Document {
    /// Describes bytes.
    pub fn new(media_type: &str, bytes: Vec<u8>) -> Self {
        let descriptor = Descriptor::new(media_type, Digest::of(&bytes), bytes.len() as u64);
        Self { descriptor, bytes }
    }
}

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportLayer {
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
}

/// The image of one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportImage {
    /// Its platform.
    pub platform: Platform,
    /// The config.
    pub config: Document,
    /// The manifest.
    pub manifest: Document,
    /// The layers, bottom first.
    pub layers: Vec<ExportLayer>,
}

/// What one build gives: an image for each platform, and an index if there is more than one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportSet {
    /// The images, in the order asked for; at least one.
    pub images: Vec<ExportImage>,
    /// The index over them.
    pub index: Option<Document>,
}

/// How documents are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whose media types.
    pub media_types: MediaTypes,
    /// Annotations; Docker's documents have none, so they are written as OCI's if there are any.
    pub annotations: Vec<OutputAnnotation>,
}

impl Style {
    fn is_oci(&self) -> bool {
        self.media_types == MediaTypes::Oci || !self.annotations.is_empty()
    }

    fn annotations(&self, level: AnnotationLevel, platform: &Platform) -> BTreeMap<String, String> {
        self.annotations
            .iter()
            .filter(|annotation| {
                let wanted = annotation.platform.as_ref();
                annotation.level == level && wanted.is_none_or(|wanted| wanted.accepts(platform))
            })
            .map(|annotation| (annotation.key.clone(), annotation.value.clone()))
            .collect()
    }
}

impl ExportImage {
    /// Makes the manifest of an image from its config and layers.
    ///
    /// `config` is the config as it shall be; its `diff_ids` are those of `layers` ([`verify`](super::verify())
    /// checks it).
    pub fn assemble(
        config: &ImageConfig,
        layers: Vec<ExportLayer>,
        style: &Style,
    ) -> Result<Self, serde_json::Error> {
        let oci = style.is_oci();
        let platform = config.platform();
        let (config_type, manifest_type) = if oci {
            (MediaType::OciConfig, MediaType::OciManifest)
        } else {
            (MediaType::DockerConfig, MediaType::DockerManifest)
        };
        let config = Document::new(config_type.as_str(), serde_json::to_vec(config)?);
        let layers: Vec<ExportLayer> = layers
            .into_iter()
            .map(|layer| restyled(layer, oci))
            .collect();
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(manifest_type.as_str().to_owned()),
            artifact_type: None,
            config: config.descriptor.clone(),
            layers: layers
                .iter()
                .map(|layer| layer.descriptor.clone())
                .collect(),
            subject: None,
            annotations: style.annotations(AnnotationLevel::Manifest, &platform),
        };
        let manifest = Document::new(manifest_type.as_str(), serde_json::to_vec(&manifest)?);
        Ok(Self {
            platform,
            config,
            manifest,
            layers,
        })
    }
}

/// The layer with the media type of the style. Foreign layers keep theirs, and their addresses.
fn restyled(mut layer: ExportLayer, oci: bool) -> ExportLayer {
    let old = &layer.descriptor;
    if !is_foreign(old)
        && let Some(compression) = Compression::of_media_type(&old.media_type)
    {
        let media_type = compression.layer_media_type(oci);
        layer.descriptor = Descriptor::new(media_type, old.digest, old.size);
    }
    layer
}

/// Whether a layer is one that registries do not hold (Windows' base layers of old).
pub(super) fn is_foreign(descriptor: &Descriptor) -> bool {
    descriptor.media_type.contains("nondistributable")
        || descriptor.media_type.contains(".foreign.")
}

impl ExportSet {
    /// Puts images together: one stands alone, several get an index in their order.
    pub fn assemble(images: Vec<ExportImage>, style: &Style) -> Result<Self, serde_json::Error> {
        if images.len() == 1 && !has_index_annotations(style) {
            return Ok(Self {
                images,
                index: None,
            });
        }
        let media_type = if style.is_oci() {
            MediaType::OciIndex
        } else {
            MediaType::DockerIndex
        };
        let entry = |image: &ExportImage| {
            let mut descriptor = image.manifest.descriptor.clone();
            descriptor.platform = Some(image.platform.clone());
            descriptor.annotations =
                style.annotations(AnnotationLevel::ManifestDescriptor, &image.platform);
            descriptor
        };
        let annotations = images.iter().fold(BTreeMap::new(), |mut all, image| {
            all.extend(style.annotations(AnnotationLevel::Index, &image.platform));
            all
        });
        let index = Index {
            schema_version: 2,
            media_type: Some(media_type.as_str().to_owned()),
            manifests: images.iter().map(entry).collect(),
            annotations,
        };
        let mut index = Document::new(media_type.as_str(), serde_json::to_vec(&index)?);
        index.descriptor.annotations = images.iter().fold(BTreeMap::new(), |mut all, image| {
            all.extend(style.annotations(AnnotationLevel::IndexDescriptor, &image.platform));
            all
        });
        Ok(Self {
            images,
            index: Some(index),
        })
    }

    /// What a tag of the set names: the index, or the only manifest.
    ///
    /// # Panics
    ///
    /// Never for a set made by [`assemble`](Self::assemble) from at least one image.
    pub fn root(&self) -> &Document {
        match &self.index {
            Some(index) => index,
            None => &self.images[0].manifest,
        }
    }

    /// All configs, manifests and the index, in the order in which they may be published: configs
    /// before manifests before the index.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        let configs = self.images.iter().map(|image| &image.config);
        let manifests = self.images.iter().map(|image| &image.manifest);
        configs.chain(manifests).chain(&self.index)
    }

    /// The blobs of all layers, each once, by digest; without foreign ones.
    pub fn layer_blobs(&self) -> BTreeMap<Digest, &Descriptor> {
        self.images
            .iter()
            .flat_map(|image| &image.layers)
            .map(|layer| &layer.descriptor)
            .filter(|descriptor| !is_foreign(descriptor))
            .map(|descriptor| (descriptor.digest, descriptor))
            .collect()
    }
}

fn has_index_annotations(style: &Style) -> bool {
    let of_index = |annotation: &OutputAnnotation| {
        matches!(
            annotation.level,
            AnnotationLevel::Index
                | AnnotationLevel::IndexDescriptor
                | AnnotationLevel::ManifestDescriptor
        )
    };
    style.annotations.iter().any(of_index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCI: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    const DOCKER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

    fn layer(media_type: &str) -> ExportLayer {
        let digest = Digest::of(media_type.as_bytes());
        ExportLayer {
            descriptor: Descriptor::new(media_type, digest, 7),
            diff_id: DiffId(digest),
        }
    }

    fn image(platform: &str, layers: &[&str], style: &Style) -> ExportImage {
        let platform: Platform = platform.parse().unwrap();
        let config = ImageConfig {
            os: platform.os,
            architecture: platform.architecture,
            variant: platform.variant,
            ..ImageConfig::default()
        };
        let layers = layers.iter().map(|media_type| layer(media_type)).collect();
        ExportImage::assemble(&config, layers, style).unwrap()
    }

    fn style(media_types: MediaTypes) -> Style {
        Style {
            media_types,
            annotations: Vec::new(),
        }
    }

    #[test]
    fn the_style_decides_all_media_types_but_those_of_foreign_layers() {
        for (media_types, manifest, config, layer) in [
            (
                MediaTypes::Oci,
                MediaType::OciManifest,
                MediaType::OciConfig,
                OCI,
            ),
            (
                MediaTypes::Docker,
                MediaType::DockerManifest,
                MediaType::DockerConfig,
                DOCKER,
            ),
        ] {
            let layers = [OCI, DOCKER, FOREIGN];
            let image = image("linux/amd64", &layers, &style(media_types));
            assert_eq!(image.manifest.descriptor.media_type, manifest.as_str());
            let written: Manifest = serde_json::from_slice(&image.manifest.bytes).unwrap();
            assert_eq!(written.config.media_type, config.as_str());
            let layers = written.layers.iter();
            let types: Vec<&str> = layers.map(|layer| layer.media_type.as_str()).collect();
            assert_eq!(types, [layer, layer, FOREIGN]);
        }
    }

    #[test]
    fn several_images_get_an_index_in_their_order_that_states_their_platforms() {
        let style = style(MediaTypes::Oci);
        let platforms = ["linux/arm/v7", "linux/amd64"];
        let images: Vec<ExportImage> = platforms
            .iter()
            .map(|platform| image(platform, &[OCI], &style))
            .collect();
        let one = ExportSet::assemble(images[..1].to_vec(), &style).unwrap();
        assert_eq!(one.root(), &images[0].manifest);
        let set = ExportSet::assemble(images, &style).unwrap();
        let index: Index = serde_json::from_slice(&set.root().bytes).unwrap();
        let stated: Vec<String> = index
            .manifests
            .iter()
            .map(|entry| entry.platform.as_ref().unwrap().to_string())
            .collect();
        assert_eq!(stated, platforms);
    }
}
