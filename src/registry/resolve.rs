//! From a name and a platform to one image: through indexes, verified at each step.

use super::blob::read_config;
use super::client::Client;
use super::error::{RegistryError, Request, Unacceptable};
use super::manifest::{Document, check_digest, parse_document};
use super::{CONFIG_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::digest::Digest;
use crate::image::{Descriptor, ImageConfig, Index, Manifest, MediaType};
use crate::platform::Platform;
use crate::reference::Reference;

/// An index may hold an index; more than this is a loop or a joke.
const DEPTH_MAX: usize = 3;

/// What the caller has already: saves requests.
pub trait Known {
    /// The bytes of a manifest, index or config; they are verified before use.
    fn bytes(&self, digest: &Digest) -> Option<Vec<u8>>;

    /// What a tag named when it was last resolved.
    fn last(&self, reference: &Reference) -> Option<Descriptor>;
}

/// Nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Known for Nothing {
    fn bytes(&self, _digest: &Digest) -> Option<Vec<u8>> {
        None
    }

    fn last(&self, _reference: &Reference) -> Option<Descriptor> {
        None
    }
}

/// One image of a registry, without its layers.
#[derive(Clone, Debug)]
pub struct ResolvedManifest {
    /// The name pinned to what it meant: `name@digest` of the index, or of the manifest.
    pub pinned: Reference,
    /// The index that was gone through, outermost, with its bytes.
    pub index: Option<(Descriptor, Vec<u8>)>,
    /// The manifest of the platform.
    pub descriptor: Descriptor,
    /// Its bytes as they came.
    pub bytes: Vec<u8>,
    /// The same, parsed.
    pub manifest: Manifest,
    /// The config's bytes as they came.
    pub config_bytes: Vec<u8>,
    /// The same, parsed.
    pub config: ImageConfig,
}

impl Client {
    /// Finds the image that `reference` offers for `platform`. Without an index there is no choice:
    /// the caller compares the config's platform and warns. Costs no request for what `known` has;
    /// a tag costs one `HEAD` if nothing changed since `known` saw it.
    pub fn resolve_platform(
        &self,
        reference: &Reference,
        platform: &Platform,
        known: &dyn Known,
    ) -> Result<ResolvedManifest, RegistryError> {
        let (top, mut bytes) = self.top(reference, known)?;
        let pinned = Reference {
            tag: None,
            digest: Some(top.digest),
            ..reference.clone()
        };
        let mut descriptor = top;
        let mut index = None;
        for _ in 0..=DEPTH_MAX {
            let unacceptable =
                |reason| RegistryError::unacceptable(shown(&pinned.at(descriptor.digest)), reason);
            match parse_document(&bytes, Some(&descriptor.media_type))
                .map_err(unacceptable)?
                .1
            {
                Document::Manifest(manifest) => {
                    let (config_bytes, config) = self.config(&pinned, &manifest, known)?;
                    return Ok(ResolvedManifest {
                        pinned,
                        index,
                        descriptor,
                        bytes,
                        manifest: *manifest,
                        config_bytes,
                        config,
                    });
                }
                Document::Index(parsed) => {
                    let chosen =
                        choose(&parsed, platform).ok_or_else(|| RegistryError::NoPlatform {
                            reference: Box::new(reference.clone()),
                            platform: Box::new(platform.clone()),
                            offered: offered(&parsed),
                        })?;
                    let next = self.document(&pinned, chosen, known)?;
                    let outer = (descriptor, std::mem::replace(&mut bytes, next));
                    descriptor = chosen.clone();
                    index = index.or(Some(outer));
                }
            }
        }
        Err(RegistryError::unacceptable(
            shown(&pinned),
            Unacceptable::Nested(DEPTH_MAX),
        ))
    }

    fn top(
        &self,
        reference: &Reference,
        known: &dyn Known,
    ) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        let verified = |digest: &Digest| {
            let bytes = known.bytes(digest)?;
            check_digest(*digest, &bytes).ok().map(|()| bytes)
        };
        if let Some(digest) = &reference.digest {
            if let Some(bytes) = verified(digest)
                && let Ok((media_type, _)) = parse_document(&bytes, None)
            {
                let size = bytes.len() as u64;
                return Ok((Descriptor::new(media_type.as_str(), *digest, size), bytes));
            }
        } else if let Some(last) = known.last(reference)
            && let Some(bytes) = verified(&last.digest)
            && self.resolve(reference)?.digest == last.digest
        {
            return Ok((last, bytes));
        }
        self.manifest(reference)
    }

    /// A manifest or index that an index names.
    fn document(
        &self,
        pinned: &Reference,
        descriptor: &Descriptor,
        known: &dyn Known,
    ) -> Result<Vec<u8>, RegistryError> {
        if let Some(bytes) = known.bytes(&descriptor.digest)
            && check_digest(descriptor.digest, &bytes).is_ok()
        {
            return Ok(bytes);
        }
        let reference = pinned.at(descriptor.digest);
        if descriptor.size > MANIFEST_BYTES_MAX {
            return Err(RegistryError::unacceptable(
                shown(&reference),
                Unacceptable::TooLarge {
                    max: MANIFEST_BYTES_MAX,
                },
            ));
        }
        let (fetched, bytes) = self.manifest(&reference)?;
        let reason = if fetched.size != descriptor.size {
            Unacceptable::Size {
                expected: descriptor.size,
                actual: fetched.size,
            }
        } else if fetched.media_type != descriptor.media_type {
            Unacceptable::Ambiguous("its type is not the one that the index states")
        } else {
            return Ok(bytes);
        };
        Err(RegistryError::unacceptable(shown(&reference), reason))
    }

    fn config(
        &self,
        pinned: &Reference,
        manifest: &Manifest,
        known: &dyn Known,
    ) -> Result<(Vec<u8>, ImageConfig), RegistryError> {
        let digest = manifest.config.digest;
        let reference = pinned.at(digest);
        let unacceptable = |reason| RegistryError::unacceptable(shown(&reference), reason);
        let known = known
            .bytes(&digest)
            .filter(|bytes| check_digest(digest, bytes).is_ok());
        let bytes = match known {
            Some(bytes) => bytes,
            None if manifest.config.size > CONFIG_BYTES_MAX => {
                return Err(unacceptable(Unacceptable::TooLarge {
                    max: CONFIG_BYTES_MAX,
                }));
            }
            None => read_config(self, pinned, &manifest.config)?,
        };
        if MediaType::parse(&manifest.config.media_type).is_none() {
            let media_type = super::message::printable(&manifest.config.media_type, 100);
            return Err(unacceptable(Unacceptable::MediaType(media_type)));
        }
        let config = serde_json::from_slice(&bytes)
            .map_err(|error| unacceptable(Unacceptable::Json(error.to_string())))?;
        Ok((bytes, config))
    }
}

/// How messages name a document that was not necessarily fetched just now.
fn shown(reference: &Reference) -> Request {
    Request {
        method: "GET".to_owned(),
        url: reference.to_string(),
    }
}

/// The entry of an index for a platform: among those that suit, one whose variant is the wanted
/// one, else the first. Attestations and entries of other kinds are no candidates.
pub fn choose<'a>(index: &'a Index, platform: &Platform) -> Option<&'a Descriptor> {
    let wanted = platform.clone().normalized();
    let suits = |descriptor: &&Descriptor| {
        let is_image = MediaType::parse(&descriptor.media_type).is_some();
        let offered = descriptor.platform.as_ref();
        is_image && offered.is_some_and(|offered| wanted.accepts(offered))
    };
    let exact = |descriptor: &&Descriptor| {
        let offered = descriptor.platform.clone().map(Platform::normalized);
        offered.is_some_and(|offered| {
            offered.variant == wanted.variant
                && (wanted.os_version.is_none() || offered.os_version == wanted.os_version)
        })
    };
    let candidates = || index.manifests.iter().filter(suits);
    if let Some(found) = candidates().find(exact).or_else(|| candidates().next()) {
        return Some(found);
    }
    // An index whose only image states no platform offers that one.
    let mut unstated = index.manifests.iter().filter(|descriptor| {
        descriptor.platform.is_none() && MediaType::parse(&descriptor.media_type).is_some()
    });
    let only = unstated.next()?;
    (unstated.next().is_none() && index.manifests.len() == 1).then_some(only)
}

fn offered(index: &Index) -> Vec<Platform> {
    let platforms = index
        .manifests
        .iter()
        .filter_map(|entry| entry.platform.clone());
    platforms
        .filter(|platform| platform.os != "unknown")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[Option<&str>]) -> Index {
        let manifests = platforms.iter().enumerate().map(|(number, platform)| {
            let digest = Digest::of(&[u8::try_from(number).unwrap()]);
            let mut descriptor = Descriptor::new(MediaType::OciManifest.as_str(), digest, 1);
            descriptor.platform = platform.map(|text| {
                let parts: Vec<&str> = text.split('/').collect();
                Platform::new(parts[0], parts[1], parts.get(2).copied())
            });
            descriptor
        });
        Index {
            schema_version: 2,
            media_type: None,
            manifests: manifests.collect(),
            annotations: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn the_platform_that_suits_best_is_chosen() {
        let all = [
            Some("unknown/unknown"),
            Some("linux/arm/v5"),
            Some("linux/arm/v7"),
            Some("linux/arm64/v8"),
            Some("linux/amd64"),
        ];
        for (wanted, expected) in [
            ("linux/arm/v7", Some(2)),
            ("linux/arm/v5", Some(1)),
            ("linux/arm64", Some(3)),
            ("linux/amd64", Some(4)),
            ("linux/amd64/v3", Some(4)),
            ("linux/s390x", None),
            ("windows/amd64", None),
        ] {
            let index = index(&all);
            let chosen = choose(&index, &wanted.parse().unwrap());
            let expected = expected.map(|number: usize| &index.manifests[number]);
            assert_eq!(chosen, expected, "{wanted}");
        }
    }

    #[test]
    fn an_index_of_one_image_without_platform_offers_it() {
        let platform: Platform = "linux/amd64".parse().unwrap();
        assert!(choose(&index(&[None]), &platform).is_some());
        assert!(choose(&index(&[None, None]), &platform).is_none());
        assert!(choose(&index(&[]), &platform).is_none());
    }
}
