//! Manifests and indexes: fetched, verified, and told apart without doubt.

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};

use super::MANIFEST_BYTES_MAX;
use super::auth::Access;
use super::client::{Client, Inner};
use super::endpoint::Endpoint;
use super::error::{RegistryError, Unacceptable};
use super::json::object_names;
use super::message::printable;
use super::transport::{Call, Reply};
use crate::digest::Digest;
use crate::image::{Descriptor, Index, Manifest, MediaType};
use crate::reference::Reference;

const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest or an index, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Document {
    Manifest(Box<Manifest>),
    Index(Index),
}

/// All types that are understood, as an `Accept` header.
fn accept_header() -> String {
    [
        MediaType::OciIndex,
        MediaType::DockerIndex,
        MediaType::OciManifest,
        MediaType::DockerManifest,
    ]
    .map(MediaType::as_str)
    .join(", ")
}

fn path(repository: &str, reference: &Reference) -> String {
    let name = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(tag)) => tag.clone(),
        (None, None) => "latest".to_owned(),
    };
    format!("{repository}/manifests/{name}")
}

impl Client {
    /// Fetches the manifest or index that `reference` names, from mirrors first. The bytes are
    /// verified against the reference's digest, or else the digest is computed from them; they are
    /// one manifest or one index, of at most [`MANIFEST_BYTES_MAX`] bytes, and the descriptor says
    /// which.
    pub fn manifest(&self, reference: &Reference) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        self.inner.try_places(reference, |place| {
            self.inner.fetch_manifest(place, reference)
        })
    }

    /// Asks what `reference` names now, without fetching it (`HEAD`). Does nothing but check if the
    /// answer is complete; registries that answer `HEAD` incompletely are asked with `GET`.
    pub fn resolve(&self, reference: &Reference) -> Result<Descriptor, RegistryError> {
        self.inner.try_places(reference, |place| {
            match self
                .inner
                .head_manifest(place, reference, &Access::pull(&place.repository))?
            {
                Some(descriptor) => Ok(descriptor),
                None => Ok(self.inner.fetch_manifest(place, reference)?.0),
            }
        })
    }
}

impl Inner {
    /// Tries each place that has the repository; the error of the last one, the registry itself,
    /// is the one reported.
    pub(super) fn try_places<T>(
        &self,
        reference: &Reference,
        ask: impl Fn(&Endpoint) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let places = self.places(reference)?;
        let mut result = Err(RegistryError::not_found(reference));
        for place in &places {
            result = ask(place).map_err(|error| not_found(error, reference));
            match &result {
                Err(error) if error.is_place_at_fault() => {
                    tracing::debug!(host = %place.host, %error, "place failed");
                }
                _ => return result,
            }
        }
        result
    }

    fn fetch_manifest(
        &self,
        place: &Endpoint,
        reference: &Reference,
    ) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        let access = Access::pull(&place.repository);
        let mut call = Call::new(
            Method::GET,
            place,
            path(&place.repository, reference),
            &access,
        );
        call.headers.push((ACCEPT, accept_header()));
        let (reply, body) = self.call_body(&call, MANIFEST_BYTES_MAX)?;
        let actual = Digest::of(&body);
        let promised = match reference.digest {
            Some(digest) => Some(digest),
            None => promised_digest(&reply)?,
        };
        if let Some(expected) = promised.filter(|expected| *expected != actual) {
            return Err(reply.unacceptable(Unacceptable::Digest { expected, actual }));
        }
        let (media_type, _) = parse_document(&body, reply.header(CONTENT_TYPE))
            .map_err(|reason| reply.unacceptable(reason))?;
        let descriptor = Descriptor::new(media_type.as_str(), actual, body.len() as u64);
        Ok((descriptor, body))
    }

    /// `HEAD` of a manifest; `None` if the answer lacks a header.
    pub(super) fn head_manifest(
        &self,
        place: &Endpoint,
        reference: &Reference,
        access: &Access,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let mut call = Call::new(
            Method::HEAD,
            place,
            path(&place.repository, reference),
            access,
        );
        call.headers.push((ACCEPT, accept_header()));
        let reply = self.call(&call)?;
        let digest = promised_digest(&reply)?;
        if let (Some(expected), Some(actual)) = (reference.digest, digest)
            && expected != actual
        {
            return Err(reply.unacceptable(Unacceptable::Digest { expected, actual }));
        }
        let media_type = reply.header(CONTENT_TYPE).and_then(MediaType::parse);
        let size = reply
            .header("content-length")
            .and_then(|text| text.parse::<u64>().ok());
        Ok(match (digest, media_type, size) {
            (Some(digest), Some(media_type), Some(size)) if size > 0 => {
                Some(Descriptor::new(media_type.as_str(), digest, size))
            }
            _ => None,
        })
    }
}

/// Puts the sentence that people know in place of a bare 404.
fn not_found(error: RegistryError, reference: &Reference) -> RegistryError {
    match error.status() {
        Some(404) => RegistryError::not_found(reference),
        _ => error,
    }
}

/// The digest that the registry states. One that is no SHA-256 digest is refused, not passed over.
fn promised_digest(reply: &Reply) -> Result<Option<Digest>, RegistryError> {
    match reply.header(CONTENT_DIGEST) {
        None => Ok(None),
        Some(text) => text
            .parse()
            .map(Some)
            .map_err(|_| reply.unacceptable(Unacceptable::Header("Docker-Content-Digest"))),
    }
}

/// Parses a document and tells what it is. What could be read as something else is refused: both
/// kinds of lists in it, a type inside that is not the type outside, duplicate names.
pub(super) fn parse_document(
    body: &[u8],
    content_type: Option<&str>,
) -> Result<(MediaType, Document), Unacceptable> {
    let names = object_names(body).map_err(|error| {
        let start = body.iter().find(|byte| !byte.is_ascii_whitespace());
        if start == Some(&b'{') {
            Unacceptable::Json(error.to_string())
        } else {
            let shown = String::from_utf8_lossy(&body[..body.len().min(400)]);
            Unacceptable::Unexpected(printable(shown.trim(), 200))
        }
    })?;
    let is_index = names.contains("manifests");
    let is_manifest = names.contains("layers") || names.contains("config");
    if names.contains("fsLayers") || names.contains("signatures") {
        return Err(Unacceptable::MediaType(
            "Docker manifest schema 1".to_owned(),
        ));
    }
    let json = |error: serde_json::Error| Unacceptable::Json(error.to_string());
    let (document, stated) = match (is_manifest, is_index) {
        (true, true) => return Err(Unacceptable::Ambiguous("it has both layers and manifests")),
        (false, false) => {
            return Err(Unacceptable::Ambiguous(
                "it has neither layers nor manifests",
            ));
        }
        (true, false) => {
            let manifest: Manifest = serde_json::from_slice(body).map_err(json)?;
            let stated = manifest.media_type.clone();
            check_sizes(manifest.layers.iter().chain([&manifest.config]))?;
            (Document::Manifest(Box::new(manifest)), stated)
        }
        (false, true) => {
            let index: Index = serde_json::from_slice(body).map_err(json)?;
            let stated = index.media_type.clone();
            check_sizes(&index.manifests)?;
            (Document::Index(index), stated)
        }
    };
    let media_type = media_type_of(stated.as_deref(), content_type, is_index)?;
    let type_is_index = matches!(media_type, MediaType::OciIndex | MediaType::DockerIndex);
    if type_is_index != is_index {
        return Err(Unacceptable::Ambiguous("its type is not its content's"));
    }
    Ok((media_type, document))
}

/// The type that the document and the header agree on.
fn media_type_of(
    stated: Option<&str>,
    content_type: Option<&str>,
    is_index: bool,
) -> Result<MediaType, Unacceptable> {
    let unsupported = |text: &str| Unacceptable::MediaType(printable(text, 100));
    let known = |text: &str| MediaType::parse(text).ok_or_else(|| unsupported(text));
    let stated = stated
        .filter(|text| !text.is_empty())
        .map(known)
        .transpose()?;
    // Caches and file servers in the middle know no better than these.
    let bare = content_type.map(|text| text.split(';').next().unwrap_or(text).trim());
    let vague = [
        "",
        "application/json",
        "application/octet-stream",
        "text/plain",
    ];
    let header = bare
        .filter(|text| !vague.contains(text))
        .map(known)
        .transpose()?;
    match (stated, header) {
        (Some(stated), Some(header)) if stated != header => {
            Err(Unacceptable::Ambiguous("its type is not the header's"))
        }
        (Some(media_type), _) | (None, Some(media_type)) => Ok(media_type),
        (None, None) if is_index => Ok(MediaType::OciIndex),
        (None, None) => Ok(MediaType::OciManifest),
    }
}

fn check_sizes<'a>(
    descriptors: impl IntoIterator<Item = &'a Descriptor>,
) -> Result<(), Unacceptable> {
    let too_large = |descriptor: &Descriptor| i64::try_from(descriptor.size).is_err();
    if descriptors.into_iter().any(too_large) {
        return Err(Unacceptable::Json("a size is beyond 2^63".to_owned()));
    }
    Ok(())
}

/// A reply whose body is not what its digest says, for callers outside this file.
pub(super) fn check_digest(expected: Digest, bytes: &[u8]) -> Result<(), Unacceptable> {
    let actual = Digest::of(bytes);
    if actual == expected {
        return Ok(());
    }
    Err(Unacceptable::Digest { expected, actual })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn manifest(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion": 2{extra}, "config": {{"mediaType": "c", "digest": "{DIGEST}", "size": 1}}, "layers": []}}"#
        )
    }

    #[test]
    fn a_document_has_one_meaning_or_none() {
        let oci = MediaType::OciManifest.as_str();
        let docker = MediaType::DockerManifest.as_str();
        let index = MediaType::OciIndex.as_str();
        let plain = manifest("");
        let typed = manifest(&format!(r#", "mediaType": "{oci}""#));
        let empty_index = r#"{"schemaVersion": 2, "manifests": []}"#;
        let parse =
            |body: &str, header| parse_document(body.as_bytes(), header).map(|(kind, _)| kind);
        assert_eq!(parse(&plain, Some(docker)), Ok(MediaType::DockerManifest));
        assert_eq!(
            parse(&plain, Some("application/json")),
            Ok(MediaType::OciManifest)
        );
        assert_eq!(parse(&typed, None), Ok(MediaType::OciManifest));
        let with_charset = format!("{oci}; charset=utf-8");
        assert_eq!(
            parse(&typed, Some(&with_charset)),
            Ok(MediaType::OciManifest)
        );
        assert_eq!(parse(empty_index, Some(index)), Ok(MediaType::OciIndex));
        for (body, header) in [
            (typed.as_str(), Some(docker)),
            (typed.as_str(), Some(index)),
            (plain.as_str(), Some(index)),
            (empty_index, Some(oci)),
            (&manifest(r#", "manifests": []"#), Some(oci)),
            (&manifest(r#", "schemaVersion": 2"#), Some(oci)),
            (&manifest(r#", "mediaType": "text/html""#), None),
            (&format!("{plain}{plain}"), Some(oci)),
            ("<html>log in</html>", Some("text/html")),
            (
                &plain,
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
            ),
            (r#"{"schemaVersion": 1, "fsLayers": []}"#, None),
            (r#"{"schemaVersion": 2}"#, Some(oci)),
            (&plain.replace("\"size\": 1", "\"size\": -1"), Some(oci)),
            (
                &plain.replace("\"size\": 1", "\"size\": 9223372036854775808"),
                Some(oci),
            ),
            (&plain.replace(DIGEST, "sha256:../../etc/passwd"), Some(oci)),
            (&plain.replace("sha256:a", "sha256:A"), Some(oci)),
        ] {
            assert!(parse(body, header).is_err(), "{header:?} {body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_document_makes_it_panic(cut in 0_usize..400, byte: u8, at in 0_usize..400) {
            let mut body = manifest(r#", "annotations": {"a": "b"}"#).into_bytes();
            body.truncate(cut);
            if let Some(place) = body.get_mut(at) {
                *place = byte;
            }
            let _ = parse_document(&body, None);
            let _ = super::super::message::parse_errors(&body);
        }
    }
}
